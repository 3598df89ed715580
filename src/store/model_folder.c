#include "store/model_folder.h"

#include "base/files.h"
#include "base/memory.h"
#include "store/file_digest.h"
#include "store/json_text.h"
#include "store/style_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 1, MAX_JSON = 1 << 20, MAX_STYLES = 256 };

typedef struct part {
    const char *name, *folder;
} part;

struct lm_model_folder {
    lm_arena arena;
    const char *path, *name, *version, *licence;
    part *parts; // sorted by name
    int part_count;
    lm_model_style *styles;
    int style_count;
    json_t *defaults; // NULL when there are none
};

static lm_status copy_text(lm_error *e, lm_model_folder *m, const char *text, const char **out) {
    *out = lm_arena_strdup(&m->arena, text);
    return *out ? LM_OK : lm_fail_memory(e, (double)strlen(text), "model.json");
}

static lm_status read_text(lm_error *e, lm_model_folder *m, const json_t *root, const char *key, const char **out) {
    const char *text = json_string_value(json_object_get(root, key));
    if (!text || !*text)
        return lm_fail(e, LM_MODEL, "'%.200s/model.json': \"%s\" is missing or not a text", m->path, key);
    return copy_text(e, m, text, out);
}

static lm_status check_keys(lm_error *e, const lm_model_folder *m, json_t *root) {
    static const char *const known[] = {"format",      "name",  "version",  "licence",
                                        "description", "parts", "defaults", "styles"};
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0] && !found; i++) found = !strcmp(key, known[i]);
        if (!found) return lm_fail(e, LM_MODEL, "'%.200s/model.json': unknown key \"%.100s\"", m->path, key);
    }
    const json_t *format = json_object_get(root, "format"), *description = json_object_get(root, "description");
    if (!json_is_integer(format))
        return lm_fail(e, LM_MODEL, "'%.200s/model.json': \"format\" is missing or not a number; it should be %d",
                       m->path, FORMAT);
    if (json_integer_value(format) != FORMAT)
        return lm_fail(e, LM_MODEL, "'%.200s/model.json': format %lld is unknown; this program reads format %d",
                       m->path, (long long)json_integer_value(format), FORMAT);
    if (description && !json_is_string(description))
        return lm_fail(e, LM_MODEL, "'%.200s/model.json': \"description\" is not a text", m->path);
    return LM_OK;
}

static bool is_part_name(const char *name) {
    size_t n = strlen(name);
    return n > 0 && n <= 32 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

// Relative, and without a way out of the model's folder.
static bool is_inside(const char *folder) {
    for (const char *at = folder;;) {
        size_t n = strcspn(at, "/");
        if (n == 0 || (at[0] == '.' && (n == 1 || (n == 2 && at[1] == '.')))) return false;
        at += n;
        if (!*at++) return true;
    }
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const part *)a)->name, ((const part *)b)->name);
}

static lm_status copy_path(lm_error *e, lm_model_folder *m, const char *inside, const char **out) {
    char *whole = lm_format("%s/%s", m->path, inside);
    lm_status status = whole ? copy_text(e, m, whole, out) : lm_fail_memory(e, 0, "model.json");
    lm_free(whole);
    return status;
}

static lm_status read_parts(lm_error *e, lm_model_folder *m, json_t *from) {
    if (json_object_size(from) == 0)
        return lm_fail(e, LM_MODEL, "'%.200s/model.json': \"parts\" is missing; it should name a folder for each part",
                       m->path);
    m->parts = lm_arena_alloc(&m->arena, json_object_size(from) * sizeof *m->parts);
    if (!m->parts) return lm_fail_memory(e, (double)json_object_size(from) * sizeof *m->parts, "model.json");
    const char *name;
    json_t *value;
    json_object_foreach(from, name, value) {
        if (!is_part_name(name))
            return lm_fail(e, LM_MODEL,
                           "'%.200s/model.json': a part can't be called '%.100s'; a-z, 0-9 and _ are allowed", m->path,
                           name);
        const char *folder = json_string_value(value);
        if (!folder) return lm_fail(e, LM_MODEL, "'%.200s/model.json': part '%s' is not a text", m->path, name);
        if (!is_inside(folder))
            return lm_fail(e, LM_MODEL,
                           "'%.200s/model.json': part '%s' is in '%.100s'; it should be a folder in the model's",
                           m->path, name, folder);
        part *p = &m->parts[m->part_count++];
        LM_TRY(copy_text(e, m, name, &p->name));
        LM_TRY(copy_path(e, m, folder, &p->folder));
    }
    qsort(m->parts, (size_t)m->part_count, sizeof *m->parts, by_name);
    return LM_OK;
}

// Whether a default that is read has the type it is read as; others are anybody's.
static bool default_fits(const char *key, const json_t *value) {
    static const char *const numbers[] = {"frames",    "width",  "height",        "fps",           "steps",
                                          "cfg_scale", "refine", "upscale_steps", "upscale_noise", NULL};
    for (const char *const *n = numbers; *n; n++)
        if (!strcmp(*n, key)) return json_is_number(value);
    return strcmp(key, "sampler") != 0 || json_is_string(value);
}

static lm_status read_defaults(lm_error *e, lm_model_folder *m, json_t *from) {
    if (!from) return LM_OK;
    if (!json_is_object(from))
        return lm_fail(e, LM_MODEL, "'%.200s/model.json': \"defaults\" is not an object", m->path);
    const char *key;
    json_t *value;
    json_object_foreach(from, key, value) {
        if (!json_is_number(value) && !json_is_string(value))
            return lm_fail(e, LM_MODEL, "'%.200s/model.json': default \"%.100s\" is not a number or a text", m->path,
                           key);
        if (!default_fits(key, value))
            return lm_fail(e, LM_MODEL, "'%.200s/model.json': default \"%s\" must be a %s", m->path, key,
                           strcmp(key, "sampler") ? "number" : "text");
    }
    m->defaults = json_incref(from);
    return LM_OK;
}

static lm_status read_style(lm_error *e, lm_model_folder *m, json_t *from, lm_model_style *out) {
    static const char *const known[] = {"name", "file", "licence", "description"};
    const char *values[4] = {NULL, NULL, NULL, ""}, *key;
    json_t *value;
    json_object_foreach(from, key, value) {
        int i = 0;
        while (i < 4 && strcmp(key, known[i]) != 0) i++;
        if (i == 4) return lm_fail(e, LM_MODEL, "'%.200s/model.json': unknown key \"%.100s\" of a style", m->path, key);
        values[i] = json_string_value(value);
        if (!values[i] || (!*values[i] && i < 3))
            return lm_fail(e, LM_MODEL, "'%.200s/model.json': \"%s\" of a style is not a text", m->path, key);
    }
    for (int i = 0; i < 3; i++)
        if (!values[i]) return lm_fail(e, LM_MODEL, "'%.200s/model.json': a style has no \"%s\"", m->path, known[i]);
    if (!lm_style_name_ok(values[0]))
        return lm_fail(e, LM_MODEL,
                       "'%.200s/model.json': a style can't be called '%.100s'; a-z, 0-9, _ and - are allowed", m->path,
                       values[0]);
    if (lm_model_folder_find_style(m, values[0]))
        return lm_fail(e, LM_MODEL, "'%.200s/model.json': two styles are called '%.100s'", m->path, values[0]);
    if (!is_inside(values[1]))
        return lm_fail(e, LM_MODEL,
                       "'%.200s/model.json': style '%s' is in '%.100s'; it should be a file in the model's folder",
                       m->path, values[0], values[1]);
    LM_TRY(copy_text(e, m, values[0], &out->name));
    LM_TRY(copy_path(e, m, values[1], &out->file));
    LM_TRY(copy_text(e, m, values[2], &out->licence));
    return copy_text(e, m, values[3], &out->description);
}

static lm_status read_styles(lm_error *e, lm_model_folder *m, json_t *from) {
    size_t n = json_array_size(from);
    if (!from) return LM_OK;
    if (!json_is_array(from) || n > MAX_STYLES)
        return lm_fail(e, LM_MODEL, "'%.200s/model.json': \"styles\" is not a list of at most %d styles", m->path,
                       MAX_STYLES);
    m->styles = lm_arena_alloc(&m->arena, n * sizeof *m->styles);
    if (!m->styles) return lm_fail_memory(e, (double)n * sizeof *m->styles, "model.json");
    for (size_t i = 0; i < n; i++) {
        json_t *style = json_array_get(from, i);
        if (!json_is_object(style))
            return lm_fail(e, LM_MODEL, "'%.200s/model.json': style %zu of \"styles\" is not an object", m->path, i);
        LM_TRY(read_style(e, m, style, &m->styles[i]));
        m->style_count++;
    }
    return LM_OK;
}

static lm_status read_root(lm_error *e, lm_model_folder *m, json_t *root) {
    if (!json_is_object(root)) return lm_fail(e, LM_MODEL, "'%.200s/model.json': not an object", m->path);
    LM_TRY(check_keys(e, m, root));
    LM_TRY(read_text(e, m, root, "name", &m->name));
    LM_TRY(read_text(e, m, root, "version", &m->version));
    LM_TRY(read_text(e, m, root, "licence", &m->licence));
    LM_TRY(read_parts(e, m, json_object_get(root, "parts")));
    LM_TRY(read_styles(e, m, json_object_get(root, "styles")));
    return read_defaults(e, m, json_object_get(root, "defaults"));
}

lm_status lm_model_folder_parse(lm_error *e, const char *name, const uint8_t *json, size_t size,
                                lm_model_folder **out) {
    *out = NULL;
    char *file = lm_format("%s/model.json", name);
    if (!file) return lm_fail_memory(e, (double)strlen(name), "a model folder");
    json_t *root;
    lm_status status = lm_json_read(e, file, (const char *)json, size, &root);
    lm_free(file);
    LM_TRY(status);
    lm_model_folder *m = lm_alloc_zero(1, sizeof *m);
    status = m ? copy_text(e, m, name, &m->path) : lm_fail_memory(e, sizeof *m, "model.json");
    if (status == LM_OK) status = read_root(e, m, root);
    json_decref(root);
    if (status == LM_OK)
        *out = m;
    else
        lm_model_folder_free(&m);
    return status;
}

static lm_status check_part(lm_error *e, const lm_model_folder *m, const part *p) {
    static const char *const files[] = {"config.json", "model.safetensors", "vocab.txt"};
    for (int i = 0; i < (strcmp(p->name, "text") ? 2 : 3); i++) {
        char *path = lm_format("%s/%s", p->folder, files[i]);
        if (!path) return lm_fail_memory(e, 0, "model.json");
        struct stat info;
        bool there = stat(path, &info) == 0 && S_ISREG(info.st_mode);
        lm_free(path);
        if (!there)
            return lm_fail(e, LM_MODEL, "model '%.200s': part '%s' has no file '%.200s/%s'", m->path, p->name,
                           p->folder, files[i]);
    }
    return LM_OK;
}

static lm_status check_styles(lm_error *e, const lm_model_folder *m) {
    for (int i = 0; i < m->style_count; i++) {
        struct stat info;
        if (stat(m->styles[i].file, &info) || !S_ISREG(info.st_mode))
            return lm_fail(e, LM_MODEL, "model '%.200s': style '%s' has no file '%.200s'", m->path, m->styles[i].name,
                           m->styles[i].file);
    }
    return LM_OK;
}

lm_status lm_model_folder_open(lm_error *e, const char *path, lm_model_folder **out) {
    *out = NULL;
    struct stat info;
    if (stat(path, &info)) return lm_fail(e, LM_MODEL, "no model folder '%.200s': %m", path);
    if (!S_ISDIR(info.st_mode))
        return lm_fail(e, LM_MODEL, "'%.200s' is not a model folder; give the folder that holds model.json", path);
    char *file = lm_format("%s/model.json", path);
    if (!file) return lm_fail_memory(e, (double)strlen(path), "a model folder");
    uint8_t *json;
    size_t size;
    lm_status status = lm_file_read(e, file, MAX_JSON, LM_MODEL, &json, &size);
    lm_free(file);
    LM_TRY(status);
    status = lm_model_folder_parse(e, path, json, size, out);
    lm_free(json);
    for (int i = 0; status == LM_OK && i < (*out)->part_count; i++) status = check_part(e, *out, &(*out)->parts[i]);
    if (status == LM_OK) status = check_styles(e, *out);
    if (status != LM_OK) lm_model_folder_free(out);
    return status;
}

void lm_model_folder_free(lm_model_folder **m) {
    if (!*m) return;
    json_decref((*m)->defaults);
    lm_arena_free(&(*m)->arena);
    lm_free(*m);
    *m = NULL;
}

const char *lm_model_folder_path(const lm_model_folder *m) {
    return m->path;
}
const char *lm_model_folder_name(const lm_model_folder *m) {
    return m->name;
}
const char *lm_model_folder_licence(const lm_model_folder *m) {
    return m->licence;
}
const char *lm_model_folder_version(const lm_model_folder *m) {
    return m->version;
}

const char *lm_model_folder_part(const lm_model_folder *m, const char *name) {
    for (int i = 0; i < m->part_count; i++)
        if (!strcmp(m->parts[i].name, name)) return m->parts[i].folder;
    return NULL;
}

int lm_model_folder_styles(const lm_model_folder *m) {
    return m->style_count;
}

const lm_model_style *lm_model_folder_style(const lm_model_folder *m, int i) {
    return &m->styles[i];
}

const lm_model_style *lm_model_folder_find_style(const lm_model_folder *m, const char *name) {
    for (int i = 0; i < m->style_count; i++)
        if (!strcmp(m->styles[i].name, name)) return &m->styles[i];
    return NULL;
}

double lm_model_folder_default(const lm_model_folder *m, const char *key, double fallback) {
    const json_t *value = json_object_get(m->defaults, key);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

const char *lm_model_folder_default_text(const lm_model_folder *m, const char *key, const char *fallback) {
    const json_t *value = json_object_get(m->defaults, key);
    return json_is_string(value) ? json_string_value(value) : fallback;
}

// Adds "PART/FILE", a zero byte and the file's digest; a file that isn't there adds nothing.
static lm_status add_file(lm_error *e, const part *p, const char *name, lm_digest *all) {
    char *path = lm_format("%s/%s", p->folder, name);
    if (!path) return lm_fail_memory(e, (double)strlen(p->folder), "a model's hash");
    uint8_t digest[LM_DIGEST_BYTES];
    lm_status status = LM_OK;
    if (access(path, F_OK) == 0) {
        status = lm_file_digest(e, path, digest);
        lm_digest_add(all, p->name, strlen(p->name));
        lm_digest_add(all, "/", 1);
        lm_digest_add(all, name, strlen(name) + 1);
        if (status == LM_OK) lm_digest_add(all, digest, sizeof digest);
    }
    lm_free(path);
    return status;
}

lm_status lm_model_folder_hash(lm_error *e, const lm_model_folder *m, char out[17]) {
    static const char *const names[] = {"config.json", "model.safetensors", "vocab.txt"};
    lm_digest *all = lm_digest_begin();
    uint8_t digest[LM_DIGEST_BYTES];
    lm_status status = LM_OK;
    for (int i = 0; i < m->part_count; i++)
        for (int k = 0; k < 3 && status == LM_OK; k++) status = add_file(e, &m->parts[i], names[k], all);
    const lm_status ended = lm_digest_end(status == LM_OK ? e : NULL, &all, digest);
    if (status == LM_OK) status = ended;
    if (status == LM_OK) lm_digest_text(digest, out);
    return status;
}
