#include "media/coding.h"
#include "base/files.h"
#include "base/memory.h"
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum output_kind { OUT_AV, OUT_WEBP, OUT_NPY, OUT_FOLDER } output_kind;

typedef struct output {
    const char *ending;
    output_kind kind;
    lm_av_kind av;
    bool alpha, picture; // takes RGBA; takes one frame only
} output;

static const output outputs[] = {
    {".mp4", OUT_AV, LM_AV_MP4, false, false},  {".webm", OUT_AV, LM_AV_WEBM, false, false},
    {".gif", OUT_AV, LM_AV_GIF, true, false},   {".png", OUT_AV, LM_AV_PNG, true, true},
    {".apng", OUT_AV, LM_AV_APNG, true, false}, {".webp", OUT_WEBP, LM_AV_PNG, true, false},
    {".npy", OUT_NPY, LM_AV_PNG, false, false}, {"/", OUT_FOLDER, LM_AV_PNG, true, false},
};

static const output *find_output(const char *path) {
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        size_t n = strlen(outputs[i].ending);
        if (length > n && !strcasecmp(path + length - n, outputs[i].ending)) return &outputs[i];
    }
    return NULL;
}

static lm_status unknown_ending(lm_error *e, lm_status status, const char *path) {
    return lm_fail(e, status,
                   "'%.200s' has no ending that says what to write; use .mp4 .webm .gif .png .apng .webp .npy, or / "
                   "for a folder of frames",
                   path);
}

char *lm_path_parent(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    return n ? lm_format("%.*s", (int)n, path) : lm_strdup(".");
}

static lm_status check_parent(lm_error *e, const char *path) {
    char *parent = lm_path_parent(path);
    if (!parent) return lm_media_no_memory(e, "a path");
    struct stat info;
    lm_status status = LM_OK;
    if (stat(parent, &info))
        status = lm_fail(e, LM_MEDIA, "can't write '%.200s': the folder '%.200s': %m", path, parent);
    else if (!S_ISDIR(info.st_mode))
        status = lm_fail(e, LM_MEDIA, "can't write '%.200s': '%.200s' is not a folder", path, parent);
    else if (access(parent, W_OK | X_OK))
        status = lm_fail(e, LM_MEDIA, "can't write '%.200s': the folder '%.200s': %m", path, parent);
    lm_free(parent);
    return status;
}

lm_status lm_media_check_output(lm_error *e, const char *path) {
    const output *o = find_output(path);
    if (!o) return unknown_ending(e, LM_USAGE, path);
    LM_TRY(check_parent(e, path));
    if (o->kind == OUT_FOLDER) return lm_folder_check(e, path);
    struct stat info;
    if (!stat(path, &info) && S_ISDIR(info.st_mode))
        return lm_fail(e, LM_MEDIA, "can't write '%.200s': a folder has that name", path);
    return LM_OK;
}

static lm_status check_clip(lm_error *e, const char *path, const output *o, const lm_clip *c) {
    if (!c->data || c->frames < 1 || (c->channels != 3 && c->channels != 4))
        return lm_fail(e, LM_USAGE, "'%.200s': there are no frames to write", path);
    LM_TRY(lm_media_check_size(e, path, c->width, c->height));
    if (o->picture && c->frames > 1)
        return lm_fail(e, LM_USAGE, "'%.200s' holds one frame and the clip has %d; use .apng, or / for a folder", path,
                       c->frames);
    if (!o->alpha && c->channels == 4)
        return lm_fail(e, LM_USAGE, "'%.200s': %s holds no alpha; use .webp, .apng or / for a folder", path, o->ending);
    bool timed = (o->kind == OUT_AV && !o->picture) || o->kind == OUT_WEBP;
    if (timed && c->frames > 1 && !(c->fps >= 0.01 && c->fps <= 1000))
        return lm_fail(e, LM_USAGE, "'%.200s': %g frames a second can't be written; from 0.01 to 1000 can", path,
                       c->fps);
    return LM_OK;
}

static lm_status encode_webp(lm_error *e, const lm_clip *clip, const char *recipe, lm_bytes *out) {
    char *xmp = NULL;
    if (recipe) LM_TRY(lm_xmp_make(e, recipe, &xmp));
    lm_status status = lm_webp_write(e, clip, xmp, out);
    lm_free(xmp);
    return status;
}

static lm_status encode(lm_error *e, const output *o, const lm_clip *clip, const char *recipe, lm_bytes *out) {
    if (o->kind == OUT_WEBP) return encode_webp(e, clip, recipe, out);
    if (o->kind == OUT_NPY) return lm_npy_write(e, clip, out);
    LM_TRY(lm_av_write(e, o->av, clip, o->av == LM_AV_MP4 || o->av == LM_AV_WEBM ? recipe : NULL, out));
    if (!recipe) return LM_OK;
    if (o->av == LM_AV_GIF) return lm_gif_insert_comment(e, out, recipe);
    return o->av == LM_AV_PNG || o->av == LM_AV_APNG ? lm_png_insert_comment(e, out, recipe) : LM_OK;
}

lm_status lm_media_store(lm_error *e, const char *path, const lm_bytes *bytes) {
    lm_file_writer *w;
    LM_TRY(lm_file_create(e, path, LM_MEDIA, &w));
    lm_file_append(e, w, bytes->data, bytes->size); // a failure is kept until the commit
    return lm_file_commit(e, &w);
}

static lm_status write_file(lm_error *e, const char *path, const output *o, const lm_clip *clip, const char *recipe) {
    lm_bytes bytes = {0};
    lm_status status = encode(e, o, clip, recipe, &bytes);
    if (status == LM_OK) status = lm_media_store(e, path, &bytes);
    lm_bytes_free(&bytes);
    if (status != LM_OK || !recipe) return status;
    char *beside = lm_format("%s.json", path);
    status = beside ? lm_recipe_write_beside(e, beside, recipe) : lm_media_no_memory(e, "a path");
    lm_free(beside);
    return status;
}

lm_status lm_media_write(lm_error *e, const char *path, const lm_clip *clip, const char *recipe) {
    const output *o = find_output(path);
    if (!o) return unknown_ending(e, LM_MEDIA, path);
    LM_TRY(check_clip(e, path, o, clip));
    if (recipe) LM_TRY(lm_recipe_check(e, recipe));
    return o->kind == OUT_FOLDER ? lm_folder_write(e, path, clip, recipe) : write_file(e, path, o, clip, recipe);
}
