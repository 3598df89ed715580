// What a path holds: a model folder, a weight file or a clip, as JSON.
#include "api/done.h"

#include "base/memory.h"
#include "base/plain_text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char *type_name(lm_store_type t) {
    switch (t) {
    case LM_ST_F32:
        return "F32";
    case LM_ST_F16:
        return "F16";
    case LM_ST_BF16:
        return "BF16";
    case LM_ST_I8:
        return "I8";
    case LM_ST_U8:
        return "U8";
    case LM_ST_I32:
        return "I32";
    case LM_ST_I64:
        return "I64";
    case LM_ST_F64:
        return "F64";
    }
    return "?";
}

// "F32 [32,3,3,3]"
static json_t *tensor_text(const lm_stored *t) {
    char text[200];
    size_t n = (size_t)snprintf(text, sizeof text, "%s [", type_name(t->type));
    for (int i = 0; i < t->rank; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld", i ? "," : "", (long long)t->dim[i]);
    snprintf(text + n, sizeof text - n, "]");
    return json_string(text);
}

// What a style's file says of itself; nothing of other weights.
static int describe_metadata(const lm_safetensors *s, json_t *out) {
    static const char *const keys[] = {"name", "licence", "made_from", "base_hash", "rank"};
    if (!lm_is_style(s)) return 0;
    int failed = json_object_set_new(out, "kind", json_string("style"));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = lm_safetensors_metadata(s, keys[i]);
        if (value) failed |= json_object_set_new(out, keys[i], json_string(value));
    }
    return failed;
}

// The numbers of a weight file; list: every tensor too.
static lm_status describe_weights(lm_error *e, const char *path, bool list, json_t *out) {
    lm_safetensors *s = NULL;
    LM_TRY(lm_safetensors_open(e, path, &s));
    json_t *tensors = json_object();
    json_int_t values = 0, bytes = 0;
    for (int i = 0; i < lm_safetensors_count(s); i++) {
        const lm_stored *t = lm_safetensors_at(s, i);
        json_int_t n = 1;
        for (int k = 0; k < t->rank; k++) n *= t->dim[k];
        values += n;
        bytes += (json_int_t)t->bytes;
        if (list) json_object_set_new(tensors, t->name, tensor_text(t));
    }
    int failed = list && describe_metadata(s, out);
    failed |= json_object_set_new(out, "tensors", json_integer(lm_safetensors_count(s)));
    failed |= json_object_set_new(out, "values", json_integer(values));
    failed |= json_object_set_new(out, "bytes", json_integer(bytes));
    if (list) failed |= json_object_set(out, "list", tensors);
    json_decref(tensors);
    lm_safetensors_free(&s);
    return failed ? lm_fail_memory(e, 4096, "a description") : LM_OK;
}

static lm_status describe_part(lm_error *e, const lm_model_folder *f, const char *name, json_t *parts) {
    const char *folder = lm_model_folder_part(f, name);
    if (!folder) return LM_OK;
    char *path = lm_format("%s/model.safetensors", folder);
    json_t *part = json_object();
    lm_status status = path && part ? describe_weights(e, path, false, part) : lm_fail_memory(e, 4096, "a description");
    if (status == LM_OK && json_object_set(parts, name, part)) status = lm_fail_memory(e, 4096, "a description");
    json_decref(part);
    lm_free(path);
    return status;
}

static json_t *describe_styles(const lm_model_folder *f) {
    json_t *styles = json_object();
    for (int i = 0; i < lm_model_folder_styles(f); i++) {
        const lm_model_style *s = lm_model_folder_style(f, i);
        json_object_set_new(
            styles, s->name,
            json_pack("{s:s, s:s, s:s}", "file", s->file, "licence", s->licence, "description", s->description));
    }
    return styles;
}

static lm_status describe_model(lm_error *e, const char *path, json_t *out) {
    static const char *const part_names[] = {"text", "base", "ssr"};
    lm_model_folder *f = NULL;
    char hash[17] = "";
    LM_TRY(lm_model_folder_open(e, path, &f));
    json_t *parts = json_object();
    lm_status status = parts ? lm_model_folder_hash(e, f, hash) : lm_fail_memory(e, 4096, "a description");
    for (int i = 0; i < 3 && status == LM_OK; i++) status = describe_part(e, f, part_names[i], parts);
    json_t *text =
        json_pack("{s:s, s:s, s:s, s:s, s:O}", "name", lm_model_folder_name(f), "version", lm_model_folder_version(f),
                  "licence", lm_model_folder_licence(f), "hash", hash, "parts", parts);
    if (status == LM_OK && (!text || json_object_update(out, text))) status = lm_fail_memory(e, 4096, "a description");
    if (status == LM_OK && lm_model_folder_styles(f) && json_object_set_new(out, "styles", describe_styles(f)))
        status = lm_fail_memory(e, 4096, "a description");
    json_decref(text);
    json_decref(parts);
    lm_model_folder_free(&f);
    return status;
}

static lm_status describe_clip(lm_error *e, const char *path, json_t *out) {
    lm_clip_facts clip;
    char *recipe;
    LM_TRY(lm_media_look(e, path, &clip, &recipe));
    json_t *parsed = recipe ? json_loads(recipe, 0, NULL) : NULL;
    json_t *text = json_pack("{s:i, s:i, s:i, s:f, s:f, s:O?}", "frames", clip.frames, "width", clip.width, "height",
                             clip.height, "fps", clip.fps, "seconds", clip.seconds, "recipe", parsed);
    bool failed = !text || (recipe && !parsed) || json_object_update(out, text);
    json_decref(text);
    json_decref(parsed);
    lm_free(recipe);
    return failed ? lm_fail_memory(e, 4096, "a description") : LM_OK;
}

// A file's name may be no UTF-8, which JSON must be.
static json_t *describe_path(const char *path) {
    json_t *text = json_string(path);
    size_t n = text ? 0 : lm_text_escape(NULL, 0, path);
    char *escaped = n ? lm_alloc(n + 1, 1) : NULL;
    if (!escaped) return text;
    lm_text_escape(escaped, n + 1, path);
    text = json_string(escaped);
    lm_free(escaped);
    return text;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static lm_status describe(lm_error *e, const char *path, json_t *out) {
    struct stat info;
    char *model = lm_format("%s/model.json", path);
    if (!model || !out) {
        lm_free(model);
        return lm_fail_memory(e, 4096, "a description");
    }
    bool is_model = !stat(model, &info), is_weights = !is_model && ends_with(path, ".safetensors");
    lm_free(model);
    json_object_set_new(out, "kind", json_string(is_model ? "model" : is_weights ? "weights" : "clip"));
    if (json_object_set_new(out, "path", describe_path(path))) return lm_fail_memory(e, 4096, "a description");
    if (is_model) return describe_model(e, path, out);
    return is_weights ? describe_weights(e, path, true, out) : describe_clip(e, path, out);
}

lumiere_status lumiere_describe(lumiere_context *c, const char *path, char **json) {
    lm_error e = {0};
    *json = NULL;
    json_t *out = json_object();
    lm_status status = describe(&e, path, out);
    char *text = status == LM_OK ? json_dumps(out, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    if (text) *json = lm_strdup(text);
    free(text);
    json_decref(out);
    if (status == LM_OK && !*json) status = lm_fail_memory(&e, 4096, "a description");
    return lm_api_done(c, status, &e);
}
