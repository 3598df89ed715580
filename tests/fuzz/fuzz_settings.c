// Any bytes as the JSON of a request or a recipe, and as the text of each setting: refused with a message that a line
// holds, or values within their bounds that set the same again.
#include "base/memory.h"
#include "settings/settings.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void require(int condition) {
    if (!condition) abort();
}

static void check_values(const lm_settings *s) {
    for (int i = 0; i < lm_setting_count(); i++) {
        const lm_setting *row = lm_setting_row(i);
        if (!lm_setting_takes(row, s->task) || !lm_settings_given(s, row->id)) continue;
        const lumiere_setting *f = &row->face;
        const double v = lm_settings_number(s, row->id);
        if ((f->kind == LUMIERE_WHOLE || f->kind == LUMIERE_NUMBER) && !f->list) require(v >= f->least && v <= f->most);
        if (f->kind == LUMIERE_SEED) require(lm_settings_whole(s, row->id) >= 0);
        if (f->kind == LUMIERE_CHOICE) require(lm_choice_name(row->id, lm_settings_choice(s, row->id)) != NULL);
        if (f->list) continue; // its text is a list of texts
        lm_settings again = {.task = s->task};
        char *text = lm_settings_print(s, row->id);
        require(text && lm_settings_set(NULL, &again, f->key, text) == LM_OK);
        char *same = lm_settings_print(&again, row->id);
        require(same && !strcmp(text, same));
        lm_free(text);
        lm_free(same);
        lm_settings_free(&again);
    }
}

static void expect_message(lm_status status, const lm_error *e) {
    require(status == e->status && (status == LM_OK || (status == LM_USAGE && e->text[0] && !strchr(e->text, '\n'))));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    json_t *object = json_loadb((const char *)input, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    char *text = malloc(size + 1);
    memcpy(text, input, size);
    text[size] = 0;
    for (int t = 0; t < LM_TASKS; t++) {
        for (int recipe = 0; recipe < 2 && object; recipe++) {
            lm_settings s = {.task = (lm_task_kind)t};
            lm_error e = {0};
            expect_message(lm_settings_set_json(&e, &s, object, recipe), &e);
            check_values(&s);
            lm_settings_free(&s);
        }
        lm_settings s = {.task = (lm_task_kind)t};
        for (int i = 0; i < lm_setting_count(); i++) {
            lm_error e = {0};
            if (lm_setting_takes(lm_setting_row(i), s.task))
                expect_message(lm_settings_set(&e, &s, lm_setting_row(i)->face.key, text), &e);
        }
        check_values(&s);
        lm_settings_free(&s);
    }
    free(text);
    json_decref(object);
    return 0;
}
