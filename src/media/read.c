#include "media/coding.h"
#include "base/files.h"
#include "base/memory.h"
#include <string.h>
#include <sys/stat.h>

// libavcodec refuses such a header without saying why.
static lm_status check_png_header(lm_error *e, const char *name, const uint8_t *b, size_t size) {
    if (size < 24 || !lm_png_is(b, size) || memcmp(b + 12, "IHDR", 4)) return LM_OK;
    uint32_t width = (uint32_t)b[16] << 24 | (uint32_t)b[17] << 16 | (uint32_t)b[18] << 8 | b[19];
    uint32_t height = (uint32_t)b[20] << 24 | (uint32_t)b[21] << 16 | (uint32_t)b[22] << 8 | b[23];
    return lm_media_check_size(e, name, width, height);
}

lm_status lm_media_read_memory(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames,
                               lm_clip *out) {
    *out = (lm_clip){0};
    if (max_frames < 0) return lm_fail(e, LM_USAGE, "%.200s: asked for %d frames", name, max_frames);
    if (!size) return lm_fail(e, LM_MEDIA, "%.200s: is empty", name);
    LM_TRY(check_png_header(e, name, bytes, size));
    if (lm_webp_is(bytes, size)) return lm_webp_read(e, name, bytes, size, max_frames, out);
    if (lm_npy_is(bytes, size)) return lm_npy_read(e, name, bytes, size, max_frames, out);
    return lm_av_read(e, name, bytes, size, max_frames, out);
}

lm_status lm_media_read(lm_error *e, const char *path, int max_frames, lm_clip *out) {
    *out = (lm_clip){0};
    struct stat info;
    if (!stat(path, &info) && S_ISDIR(info.st_mode)) return lm_folder_read(e, path, max_frames, out);
    uint8_t *bytes;
    size_t size;
    LM_TRY(lm_file_read(e, path, LM_MAX_FILE_BYTES, LM_MEDIA, &bytes, &size));
    lm_status status = lm_media_read_memory(e, path, bytes, size, max_frames, out);
    lm_free(bytes);
    return status;
}
