// Clips in memory, whatever their kind: what is wrong with their beginning, and the reader that takes them.
#include "media/coding.h"
#include <string.h>

// libavcodec refuses such a header without saying why.
static lm_status check_png_header(lm_error *e, const char *name, const uint8_t *b, size_t size) {
    if (size < 24 || !lm_png_is(b, size) || memcmp(b + 12, "IHDR", 4)) return LM_OK;
    uint32_t width = (uint32_t)b[16] << 24 | (uint32_t)b[17] << 16 | (uint32_t)b[18] << 8 | b[19];
    uint32_t height = (uint32_t)b[20] << 24 | (uint32_t)b[21] << 16 | (uint32_t)b[22] << 8 | b[23];
    return lm_media_check_size(e, name, width, height);
}

// libav shows the frames before the place where a GIF or Matroska file was cut off, and says nothing.
static bool is_cut_gif(const uint8_t *b, size_t size) {
    if (size < 6 || memcmp(b, "GIF8", 4)) return false;
    while (size && !b[size - 1]) size--; // padding
    return b[size - 1] != 0x3b;          // the trailer
}

// An EBML number of up to eight bytes at *at; the length marker is kept in an id and taken out of a length.
static bool ebml_number(const uint8_t *b, size_t size, size_t *at, bool is_id, uint64_t *out) {
    if (*at >= size || !b[*at]) return false;
    int length = __builtin_clz(b[*at]) - 24 + 1;
    if ((size_t)length > size - *at) return false;
    uint64_t v = is_id ? b[*at] : b[*at] & (0xffU >> length);
    for (int i = 1; i < length; i++) v = v << 8 | b[*at + (size_t)i];
    if (!is_id && v == (UINT64_C(1) << 7 * length) - 1) v = 0; // unknown length
    *at += (size_t)length;
    *out = v;
    return true;
}

// Whether the Segment, which comes after the EBML header, is longer than the file.
static bool is_cut_matroska(const uint8_t *b, size_t size) {
    size_t at = 0;
    uint64_t id, length;
    if (!ebml_number(b, size, &at, true, &id) || id != 0x1a45dfa3) return false;
    if (!ebml_number(b, size, &at, false, &length) || length > size - at) return true;
    at += length;
    if (!ebml_number(b, size, &at, true, &id)) return true;
    return id == 0x18538067 && (!ebml_number(b, size, &at, false, &length) || length > size - at);
}

static lm_status check_start(lm_error *e, const char *name, const uint8_t *bytes, size_t size) {
    if (!size) return lm_fail(e, LM_MEDIA, "%.200s: is empty", name);
    LM_TRY(check_png_header(e, name, bytes, size));
    if (is_cut_gif(bytes, size) || is_cut_matroska(bytes, size))
        return lm_fail(e, LM_MEDIA, "%.200s: is truncated", name);
    return LM_OK;
}

lm_status lm_media_read_bytes(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames,
                              double seconds, lm_clip *out) {
    *out = (lm_clip){0};
    if (max_frames < 0) return lm_fail(e, LM_USAGE, "%.200s: asked for %d frames", name, max_frames);
    LM_TRY(check_start(e, name, bytes, size));
    if (lm_webp_is(bytes, size)) return lm_webp_read(e, name, bytes, size, max_frames, out);
    if (lm_npy_is(bytes, size)) return lm_npy_read(e, name, bytes, size, max_frames, out);
    return lm_av_read(e, name, bytes, size, max_frames, seconds, out);
}

lm_status lm_media_read_memory(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames,
                               lm_clip *out) {
    return lm_media_read_bytes(e, name, bytes, size, max_frames, 0, out);
}

lm_status lm_media_look_memory(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_clip_facts *out) {
    *out = (lm_clip_facts){0};
    LM_TRY(check_start(e, name, bytes, size));
    if (lm_webp_is(bytes, size)) return lm_webp_look(e, name, bytes, size, out);
    if (lm_npy_is(bytes, size)) return lm_npy_look(e, name, bytes, size, out);
    return lm_av_look(e, name, bytes, size, out);
}
