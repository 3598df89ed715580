#include "store/json_text.h"

#include "base/memory.h"

#include <stdbool.h>
#include <string.h>

// Jansson 2.14 drops characters of a text, or calls it wrong, when memory is short while its buffer grows. So
// everything is done twice: what is wrong with the text is wrong both times, and any difference is the shortage.
lm_status lm_json_parse(const char *text, size_t size, json_t **out, json_error_t *why) {
    json_error_t second;
    json_t *again = json_loadb(text, size, JSON_REJECT_DUPLICATES, &second);
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, why);
    const bool same =
        *out ? json_equal(*out, again)
             : !again && why->text[0] && why->position == second.position && !strcmp(why->text, second.text);
    json_decref(again);
    if (same) return *out ? LM_OK : LM_FAILED;
    json_decref(*out);
    *out = NULL;
    return LM_MEMORY;
}

lm_status lm_json_read(lm_error *e, const char *file, const char *text, size_t size, json_t **out) {
    json_error_t why;
    const lm_status status = lm_json_parse(text, size, out, &why);
    if (status == LM_OK) return LM_OK;
    if (status == LM_MEMORY) return lm_fail_memory(e, (double)size, file);
    return lm_fail(e, LM_MODEL, "'%.200s': line %d, column %d: %s", file, why.line, why.column, why.text);
}

lm_status lm_json_write_as(lm_error *e, const json_t *value, size_t flags, char **out) {
    char *text = json_dumps(value, flags);
    json_t *again = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool same = again && json_equal(again, value);
    json_decref(again);
    *out = same ? lm_strdup(text) : NULL;
    json_malloc_t take;
    json_free_t give; // the program may have given jansson an allocator of its own
    json_get_alloc_funcs(&take, &give);
    if (text) give(text);
    return *out ? LM_OK : lm_fail_memory(e, 0, "a text in JSON");
}

lm_status lm_json_write(lm_error *e, const json_t *value, char **out) {
    return lm_json_write_as(e, value, JSON_COMPACT, out);
}
