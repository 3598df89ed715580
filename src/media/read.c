#include "media/coding.h"
#include "base/files.h"
#include "base/memory.h"
#include <sys/stat.h>

static lm_status read_file(lm_error *e, const char *path, int max_frames, double seconds, lm_clip *out) {
    uint8_t *bytes;
    size_t size;
    LM_TRY(lm_file_read(e, path, LM_MAX_FILE_BYTES, LM_MEDIA, &bytes, &size));
    lm_status status = lm_media_read_bytes(e, path, bytes, size, max_frames, seconds, out);
    lm_free(bytes);
    return status;
}

static lm_status read_path(lm_error *e, const char *path, int max_frames, double seconds, lm_clip *out) {
    *out = (lm_clip){0};
    struct stat info;
    bool folder = !stat(path, &info) && S_ISDIR(info.st_mode);
    LM_TRY(folder ? lm_folder_read(e, path, max_frames, out) : read_file(e, path, max_frames, seconds, out));
    if (out->fps > 0 || out->frames == 1) return LM_OK;
    lm_status status = lm_recipe_rate(e, path, &out->fps);
    out->fps_beside = out->fps > 0;
    if (status != LM_OK) lm_clip_free(out);
    return status;
}

lm_status lm_media_read(lm_error *e, const char *path, int max_frames, lm_clip *out) {
    return read_path(e, path, max_frames, 0, out);
}

lm_status lm_media_read_start(lm_error *e, const char *path, double seconds, lm_clip *out) {
    return read_path(e, path, 0, seconds, out);
}

static lm_status look_at_file(lm_error *e, const char *path, lm_clip_facts *out, char **recipe) {
    uint8_t *bytes;
    size_t size;
    LM_TRY(lm_file_read(e, path, LM_MAX_FILE_BYTES, LM_MEDIA, &bytes, &size));
    lm_status status = lm_media_look_memory(e, path, bytes, size, out);
    if (status == LM_OK) status = lm_recipe_of(e, path, bytes, size, recipe);
    lm_free(bytes);
    return status;
}

static lm_status look_at_folder(lm_error *e, const char *path, lm_clip_facts *out, char **recipe) {
    LM_TRY(lm_folder_look(e, path, out));
    return lm_recipe_of(e, path, NULL, 0, recipe);
}

lm_status lm_media_look(lm_error *e, const char *path, lm_clip_facts *out, char **recipe) {
    *out = (lm_clip_facts){0};
    *recipe = NULL;
    struct stat info;
    bool folder = !stat(path, &info) && S_ISDIR(info.st_mode);
    LM_TRY(folder ? look_at_folder(e, path, out, recipe) : look_at_file(e, path, out, recipe));
    if (out->fps > 0 || out->frames == 1) return LM_OK;
    lm_status status = lm_recipe_rate(e, path, &out->fps);
    if (out->fps > 0) out->seconds = out->frames / out->fps;
    if (status == LM_OK) return LM_OK;
    lm_free(*recipe);
    *recipe = NULL;
    return status;
}
