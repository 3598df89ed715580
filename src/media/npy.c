#include "media/coding.h"
#include "base/memory.h"
#include <limits.h>
#include <stdio.h>
#include <string.h>

// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
enum { MAGIC_BYTES = 6, ALIGNMENT = 64 };
static const char magic[] = "\x93NUMPY";

typedef struct npy_header {
    bool has_type, has_order, has_shape;
    int64_t shape[4]; // frames, height, width, 3
} npy_header;

bool lm_npy_is(const uint8_t *bytes, size_t size) {
    return size >= MAGIC_BYTES && !memcmp(bytes, magic, MAGIC_BYTES);
}

// Steps over spaces and then text; false and no step when it isn't there.
static bool skip_text(const char **at, const char *text) {
    const char *p = *at;
    while (*p == ' ') p++;
    size_t n = strlen(text);
    if (strncmp(p, text, n)) return false;
    *at = p + n;
    return true;
}

static bool parse_number(const char **at, int64_t *out) {
    while (**at == ' ') ++*at;
    if (**at < '0' || **at > '9') return false;
    int64_t v = 0;
    for (; **at >= '0' && **at <= '9'; ++*at)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, **at - '0', &v)) return false;
    *out = v;
    return true;
}

static lm_status parse_shape(lm_error *e, const char *name, const char **at, npy_header *h) {
    bool ok = !h->has_shape && skip_text(at, "(");
    for (int i = 0; ok && i < 4; i++) ok = parse_number(at, &h->shape[i]) && (i == 3 || skip_text(at, ","));
    if (ok) skip_text(at, ",");
    h->has_shape = true;
    if (ok && skip_text(at, ")")) return LM_OK;
    return lm_fail(e, LM_MEDIA, "%.200s: its npy shape is not (frames, height, width, 3)", name);
}

static lm_status parse_entry(lm_error *e, const char *name, const char **at, npy_header *h) {
    if (skip_text(at, "'descr'") && skip_text(at, ":") && !h->has_type) {
        h->has_type = skip_text(at, "'|u1'");
        return h->has_type ? LM_OK : lm_fail(e, LM_MEDIA, "%.200s: its npy type is not uint8 ('|u1')", name);
    }
    if (skip_text(at, "'fortran_order'") && skip_text(at, ":") && !h->has_order) {
        h->has_order = skip_text(at, "False");
        return h->has_order ? LM_OK
                            : lm_fail(e, LM_MEDIA, "%.200s: its npy order is Fortran's; save it in C order", name);
    }
    if (skip_text(at, "'shape'") && skip_text(at, ":")) return parse_shape(e, name, at, h);
    return lm_fail(e, LM_MEDIA, "%.200s: a damaged npy header", name);
}

static lm_status parse_header(lm_error *e, const char *name, const char *text, int most, npy_header *h) {
    bool open = skip_text(&text, "{");
    while (open && !skip_text(&text, "}")) {
        LM_TRY(parse_entry(e, name, &text, h));
        if (skip_text(&text, ",")) continue;
        open = skip_text(&text, "}");
        break;
    }
    while (*text == ' ') text++;
    if (!open || strcmp(text, "\n") || !h->has_type || !h->has_order || !h->has_shape)
        return lm_fail(e, LM_MEDIA, "%.200s: a damaged npy header", name);
    if (h->shape[3] != 3)
        return lm_fail(e, LM_MEDIA, "%.200s: %lld npy channels; 3 are needed", name, (long long)h->shape[3]);
    if (h->shape[0] < 1 || h->shape[0] > most)
        return lm_fail(e, LM_MEDIA, "%.200s: %lld npy frames; from 1 to %d can be read", name, (long long)h->shape[0],
                       most);
    return lm_media_check_size(e, name, h->shape[2], h->shape[1]);
}

// The header's text starts at *start and *length bytes follow.
static lm_status find_header(lm_error *e, const char *name, const uint8_t *b, size_t size, size_t *start,
                             size_t *length) {
    int version = size > 7 ? b[6] : 0;
    if (version < 1 || version > 3 || b[7] != 0)
        return lm_fail(e, LM_MEDIA, "%.200s: an npy version that can't be read; 1.0 to 3.0 can", name);
    *start = version == 1 ? 10 : 12;
    if (size < *start) return lm_fail(e, LM_MEDIA, "%.200s: an npy file cut off in its header", name);
    *length = (size_t)b[8] | (size_t)b[9] << 8;
    if (version > 1) *length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (*length > size - *start) return lm_fail(e, LM_MEDIA, "%.200s: an npy file cut off in its header", name);
    return LM_OK;
}

// The header of a file of at most so many frames, whose pixels begin at *data and are all there.
static lm_status open_npy(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int most, npy_header *out,
                          size_t *data) {
    size_t start = 0, length = 0;
    char text[512];
    npy_header h = {0};
    LM_TRY(find_header(e, name, bytes, size, &start, &length));
    if (length >= sizeof text || memchr(bytes + start, 0, length))
        return lm_fail(e, LM_MEDIA, "%.200s: a damaged npy header", name);
    memcpy(text, bytes + start, length);
    text[length] = 0;
    LM_TRY(parse_header(e, name, text, most, &h));
    // at most 2^31 x 2^13 x 2^13 x 3 bytes: no overflow
    size_t frame = (size_t)h.shape[1] * (size_t)h.shape[2] * 3, wanted = frame * (size_t)h.shape[0];
    if (size - start - length != wanted)
        return lm_fail(e, LM_MEDIA, "%.200s: %zu bytes of npy data; its shape needs %zu", name, size - start - length,
                       wanted);
    *out = h;
    *data = start + length;
    return LM_OK;
}

lm_status lm_npy_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames, lm_clip *out) {
    npy_header h;
    size_t data;
    LM_TRY(open_npy(e, name, bytes, size, LM_MAX_READ_FRAMES, &h, &data));
    int frames = max_frames && max_frames < h.shape[0] ? max_frames : (int)h.shape[0];
    LM_TRY(lm_clip_alloc(e, frames, (int)h.shape[2], (int)h.shape[1], 3, out));
    memcpy(out->data, bytes + data, (size_t)frames * lm_clip_frame_bytes(out));
    return LM_OK;
}

lm_status lm_npy_look(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_clip_facts *out) {
    npy_header h;
    size_t data;
    LM_TRY(open_npy(e, name, bytes, size, INT_MAX, &h, &data));
    *out = (lm_clip_facts){.frames = (int)h.shape[0], .width = (int)h.shape[2], .height = (int)h.shape[1]};
    return LM_OK;
}

// As numpy.save writes it, version 1.0. clip has three channels.
lm_status lm_npy_write(lm_error *e, const lm_clip *clip, lm_bytes *out) {
    char header[2 * ALIGNMENT + 2];
    int n = snprintf(header, sizeof header,
                     "%s%c%c%c%c{'descr': '|u1', 'fortran_order': False, 'shape': (%d, %d, %d, 3), }", magic, 1, 0, 0,
                     0, clip->frames, clip->height, clip->width);
    size_t used = (size_t)n, whole = (used + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memset(header + used, ' ', whole - used);
    header[whole - 1] = '\n';
    header[8] = (char)(whole - 10);
    header[9] = 0;
    LM_TRY(lm_bytes_write(e, out, 0, header, whole));
    return lm_bytes_write(e, out, whole, clip->data, (size_t)clip->frames * lm_clip_frame_bytes(clip));
}
