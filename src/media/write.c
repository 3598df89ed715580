#include "media/coding.h"
#include "base/files.h"
#include "base/memory.h"
#include <string.h>
#include <strings.h>

typedef enum output_kind { OUT_AV, OUT_WEBP, OUT_NPY, OUT_FOLDER } output_kind;

// Frames a second. Players show a GIF's delays of less than 2/100 s as 1/10 s.
static const double LEAST_FPS = 0.01, MOST_FPS = 1000, MOST_GIF_FPS = 50;

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

static lm_status unknown_ending(lm_error *e, const char *path) {
    return lm_fail(e, LM_USAGE,
                   "'%.200s' has no ending that says what to write; use .mp4 .webm .gif .png .apng .webp .npy, or / "
                   "for a folder of frames",
                   path);
}

// What a file of that ending can't hold; what is 0 isn't known yet.
static lm_status check_shape(lm_error *e, const char *path, const output *o, const lm_clip *c) {
    if (c->width || c->height) LM_TRY(lm_media_check_size(e, path, c->width, c->height));
    if (o->picture && c->frames > 1)
        return lm_fail(e, LM_USAGE, "'%.200s' holds one frame and the clip has %d; use .apng, or / for a folder", path,
                       c->frames);
    if (!o->alpha && c->channels == 4)
        return lm_fail(e, LM_USAGE, "'%.200s': %s holds no alpha; use .webp, .apng or / for a folder", path, o->ending);
    bool timed = (o->kind == OUT_AV && !o->picture) || o->kind == OUT_WEBP;
    if (!timed || c->frames == 1 || c->fps == 0) return LM_OK;
    if (!(c->fps >= LEAST_FPS && c->fps <= MOST_FPS))
        return lm_fail(e, LM_USAGE, "'%.200s': %g frames a second can't be written; from %g to %g can", path, c->fps,
                       LEAST_FPS, MOST_FPS);
    if (o->kind == OUT_AV && o->av == LM_AV_GIF && c->fps > MOST_GIF_FPS)
        return lm_fail(e, LM_USAGE,
                       "'%.200s': %g frames a second; a GIF counts time in 1/100 s and is shown at %g at most; use "
                       "--fps %g, or .webp, .apng, .mp4 or .webm",
                       path, c->fps, MOST_GIF_FPS, MOST_GIF_FPS);
    return LM_OK;
}

static lm_status check_clip(lm_error *e, const char *path, const output *o, const lm_clip *c) {
    if (!c->data || c->frames < 1 || (c->channels != 3 && c->channels != 4))
        return lm_fail(e, LM_USAGE, "'%.200s': there are no frames to write", path);
    LM_TRY(lm_media_check_size(e, path, c->width, c->height));
    LM_TRY(check_shape(e, path, o, c));
    bool timed = (o->kind == OUT_AV && !o->picture) || o->kind == OUT_WEBP;
    if (timed && c->frames > 1 && c->fps == 0)
        return lm_fail(e, LM_USAGE, "'%.200s': the clip has no rate; say how many frames a second", path);
    return LM_OK;
}

lm_status lm_media_check_output(lm_error *e, const char *path, const lm_clip *shape, bool recipe, bool again) {
    const output *o = find_output(path);
    if (!o) return unknown_ending(e, path);
    LM_TRY(check_shape(e, path, o, shape));
    if (o->kind == OUT_FOLDER && again)
        return lm_fail(e, LM_USAGE, "'%.200s': a folder of frames is written once and not again; name a file", path);
    bool encodes = o->kind == OUT_AV || o->kind == OUT_FOLDER, timed = o->kind == OUT_AV && shape->frames != 1;
    if (encodes) LM_TRY(lm_av_check(e, o->av, timed ? shape->fps : 0));
    if (o->kind == OUT_FOLDER) return lm_folder_check(e, path);
    LM_TRY(lm_file_check(e, path, LM_MEDIA));
    char *beside = recipe ? lm_format("%s.json", path) : NULL;
    lm_status status = LM_OK;
    if (recipe) status = beside ? lm_file_check(e, beside, LM_MEDIA) : lm_media_no_memory(e, "a path");
    lm_free(beside);
    return status;
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

static lm_status write_beside(lm_error *e, const char *path, const char *recipe) {
    lm_error why = {0};
    char *beside = lm_format("%s.json", path);
    lm_status status = beside ? lm_recipe_write_beside(&why, beside, recipe) : lm_media_no_memory(&why, "a path");
    lm_free(beside);
    if (status == LM_OK) return LM_OK;
    return lm_fail(e, status, "wrote '%.100s', which is whole, but not its recipe beside it: %s", path, why.text);
}

static lm_status write_file(lm_error *e, const char *path, const output *o, const lm_clip *clip, const char *recipe) {
    lm_bytes bytes = {0};
    lm_status status = encode(e, o, clip, recipe, &bytes);
    if (status == LM_OK) status = lm_media_store(e, path, &bytes);
    lm_bytes_free(&bytes);
    return status == LM_OK && recipe ? write_beside(e, path, recipe) : status;
}

lm_status lm_media_write(lm_error *e, const char *path, const lm_clip *clip, const char *recipe) {
    const output *o = find_output(path);
    if (!o) return unknown_ending(e, path);
    LM_TRY(check_clip(e, path, o, clip));
    if (recipe) LM_TRY(lm_recipe_check(e, recipe));
    return o->kind == OUT_FOLDER ? lm_folder_write(e, path, clip, recipe) : write_file(e, path, o, clip, recipe);
}
