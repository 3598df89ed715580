#include "media/coding.h"
#include "base/files.h"
#include "base/memory.h"
#include "store/json_text.h"
#include <string.h>
#include <sys/stat.h>

enum { MAX_RECIPE_BYTES = 1 << 20 };
static const double LEAST_RATE = 0.01, MOST_RATE = 1000; // frames a second

// *object is NULL when text isn't a JSON object. LM_MEMORY at most.
static lm_status parse(lm_error *e, const char *text, json_t **object) {
    json_error_t why;
    if (lm_json_parse(text, strlen(text), object, &why) == LM_MEMORY) return lm_media_no_memory(e, "a recipe");
    if (json_is_object(*object)) return LM_OK;
    json_decref(*object);
    *object = NULL;
    return LM_OK;
}

static lm_status parse_recipe(lm_error *e, const char *recipe, json_t **object) {
    LM_TRY(parse(e, recipe, object));
    return *object ? LM_OK : lm_fail(e, LM_USAGE, "a recipe must be a JSON object, not '%.80s'", recipe);
}

lm_status lm_recipe_check(lm_error *e, const char *recipe) {
    json_t *object;
    LM_TRY(parse_recipe(e, recipe, &object));
    json_decref(object);
    return LM_OK;
}

lm_status lm_recipe_write_beside(lm_error *e, const char *path, const char *recipe) {
    json_t *object;
    char *text;
    lm_bytes bytes = {0};
    LM_TRY(parse_recipe(e, recipe, &object));
    lm_status status = lm_json_write_as(e, object, JSON_INDENT(2), &text);
    json_decref(object);
    if (status == LM_OK) status = lm_bytes_write(e, &bytes, 0, text, strlen(text));
    if (status == LM_OK) status = lm_bytes_write(e, &bytes, bytes.size, "\n", 1);
    if (status == LM_OK) status = lm_media_store(e, path, &bytes);
    lm_bytes_free(&bytes);
    lm_free(text);
    return status;
}

lm_status lm_recipe_find(lm_error *e, const char *path, const uint8_t *bytes, size_t size, char **text) {
    *text = NULL;
    if (lm_npy_is(bytes, size)) return LM_OK;
    if (lm_png_is(bytes, size)) return lm_png_find_comment(e, bytes, size, text);
    if (!lm_webp_is(bytes, size)) return lm_av_read_comment(e, path, bytes, size, text);
    char *xmp;
    LM_TRY(lm_webp_read_xmp(e, bytes, size, &xmp));
    lm_status status = xmp ? lm_xmp_find(e, xmp, text) : LM_OK;
    lm_free(xmp);
    return status;
}

static lm_status read_beside(lm_error *e, const char *path, char **text) {
    *text = NULL;
    struct stat info;
    if (stat(path, &info) || !S_ISREG(info.st_mode)) return LM_OK; // a pipe would hold us up
    size_t size;
    return lm_file_read(e, path, MAX_RECIPE_BYTES, LM_MEDIA, (uint8_t **)text, &size);
}

// text as compact JSON, NULL when it isn't a recipe. Frees text.
static lm_status compact(lm_error *e, char *text, char **out) {
    *out = NULL;
    json_t *object = NULL;
    lm_status status = text ? parse(e, text, &object) : LM_OK;
    lm_free(text);
    if (object) status = lm_json_write(e, object, out);
    json_decref(object);
    return status;
}

static char *path_beside(const char *path, bool folder) {
    return lm_format(folder ? "%s/recipe.json" : "%s.json", path);
}

lm_status lm_recipe_rate(lm_error *e, const char *path, double *fps) {
    struct stat info;
    char *beside = path_beside(path, !stat(path, &info) && S_ISDIR(info.st_mode)), *text = NULL;
    if (!beside) return lm_media_no_memory(e, "a path");
    lm_error unreadable = {0}; // a recipe isn't needed to read a clip
    lm_status status = read_beside(&unreadable, beside, &text);
    lm_free(beside);
    if (status == LM_MEMORY) return lm_fail(e, status, "%s", unreadable.text);
    json_t *object = NULL;
    status = text ? parse(e, text, &object) : LM_OK;
    double rate = json_number_value(json_object_get(object, "fps"));
    *fps = rate >= LEAST_RATE && rate <= MOST_RATE ? rate : 0;
    json_decref(object);
    lm_free(text);
    return status;
}

// A comment that isn't a JSON object is somebody else's, and the file beside is looked at.
lm_status lm_recipe_of(lm_error *e, const char *path, const uint8_t *bytes, size_t size, char **json) {
    *json = NULL;
    char *text = NULL;
    if (size) LM_TRY(lm_recipe_find(e, path, bytes, size, &text));
    LM_TRY(compact(e, text, json));
    if (*json) return LM_OK;
    char *beside = path_beside(path, !bytes);
    if (!beside) return lm_media_no_memory(e, "a path");
    lm_status status = read_beside(e, beside, &text);
    bool found = status == LM_OK && text;
    if (found) status = compact(e, text, json);
    if (found && status == LM_OK && !*json)
        status = lm_fail(e, LM_MEDIA, "'%.200s' is no recipe: it must hold a JSON object", beside);
    lm_free(beside);
    return status;
}

lm_status lm_media_read_recipe(lm_error *e, const char *path, char **json) {
    *json = NULL;
    struct stat info;
    if (stat(path, &info)) return lm_fail(e, LM_MEDIA, "can't read '%.200s': %m", path);
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (!S_ISDIR(info.st_mode)) LM_TRY(lm_file_read(e, path, LM_MAX_FILE_BYTES, LM_MEDIA, &bytes, &size));
    lm_status status = lm_recipe_of(e, path, bytes, size, json);
    lm_free(bytes);
    return status;
}
