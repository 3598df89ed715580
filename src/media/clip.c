#include "media/coding.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

enum { CHECKED_BYTES = 64 << 20 }; // allocations above this are compared with the memory that is left

lm_status lm_media_no_memory(lm_error *e, const char *what) {
    return lm_fail(e, LM_MEMORY, "no memory: %.200s needs more", what);
}

static lm_status clip_bytes(lm_error *e, int frames, int width, int height, int channels, size_t *bytes) {
    size_t n = (size_t)frames;
    if (!lm_mul_size(n, (size_t)width, &n) || !lm_mul_size(n, (size_t)height, &n) ||
        !lm_mul_size(n, (size_t)channels, &n))
        return lm_fail_memory(e, (double)frames * width * height * channels, "frames");
    if (n > CHECKED_BYTES && n > lm_memory_available()) return lm_fail_memory(e, (double)n, "frames");
    *bytes = n;
    return LM_OK;
}

lm_status lm_clip_alloc(lm_error *e, int frames, int width, int height, int channels, lm_clip *out) {
    *out = (lm_clip){0};
    if (frames < 1 || width < 1 || height < 1 || (channels != 3 && channels != 4))
        return lm_fail(e, LM_USAGE, "a clip of %d frames of %d x %d with %d channels makes no sense", frames, width,
                       height, channels);
    size_t bytes;
    LM_TRY(clip_bytes(e, frames, width, height, channels, &bytes));
    uint8_t *data = lm_alloc(bytes, 1);
    if (!data) return lm_fail_memory(e, (double)bytes, "frames");
    *out = (lm_clip){.frames = frames, .width = width, .height = height, .channels = channels, .data = data};
    return LM_OK;
}

size_t lm_clip_frame_bytes(const lm_clip *c) {
    return (size_t)c->width * (size_t)c->height * (size_t)c->channels;
}

void lm_clip_free(lm_clip *c) {
    lm_free(c->data);
    *c = (lm_clip){0};
}

void lm_clip_drop_unused_alpha(lm_clip *c) {
    if (c->channels != 4) return;
    size_t pixels = (size_t)c->frames * (size_t)c->width * (size_t)c->height;
    for (size_t i = 0; i < pixels; i++)
        if (c->data[i * 4 + 3] != 255) return;
    for (size_t i = 0; i < pixels; i++) memmove(c->data + i * 3, c->data + i * 4, 3);
    c->channels = 3;
}

lm_status lm_media_check_size(lm_error *e, const char *name, int64_t width, int64_t height) {
    if (width >= 1 && height >= 1 && width <= LM_MAX_SIDE && height <= LM_MAX_SIDE) return LM_OK;
    return lm_fail(e, LM_MEDIA, "%.200s: pictures of %lld x %lld pixels; from 1 to %d a side are possible", name,
                   (long long)width, (long long)height, LM_MAX_SIDE);
}

double lm_media_rate(int frames, double seconds, double tolerance) {
    if (!(seconds > 0)) return 0;
    double rate = frames / seconds, whole = round(rate);
    return whole > 0 && fabs(frames / whole - seconds) <= tolerance ? whole : rate;
}

static lm_status builder_grow(lm_error *e, lm_clip_builder *b) {
    int capacity = b->capacity ? b->capacity * 2 : 1;
    if (b->wanted && capacity > b->wanted) capacity = b->wanted;
    size_t bytes;
    LM_TRY(clip_bytes(e, capacity, b->clip.width, b->clip.height, b->clip.channels, &bytes));
    uint8_t *data = lm_realloc(b->clip.data, bytes, 1);
    if (!data) return lm_fail_memory(e, (double)bytes, "frames");
    b->clip.data = data;
    b->capacity = capacity;
    return LM_OK;
}

lm_status lm_builder_next(lm_error *e, lm_clip_builder *b, int width, int height, int channels, uint8_t **frame) {
    lm_clip *c = &b->clip;
    if (!c->frames) {
        LM_TRY(lm_media_check_size(e, b->name, width, height));
        c->width = width, c->height = height, c->channels = channels;
    }
    if (width != c->width || height != c->height)
        return lm_fail(e, LM_MEDIA,
                       "%.200s: frame %d is %d x %d, those before it are %d x %d; all must be the same size", b->name,
                       c->frames + 1, width, height, c->width, c->height);
    if (channels != c->channels)
        return lm_fail(e, LM_MEDIA, "%.200s: frame %d has %d channels, those before it have %d", b->name, c->frames + 1,
                       channels, c->channels);
    if (c->frames == LM_MAX_READ_FRAMES)
        return lm_fail(e, LM_MEDIA, "%.200s: more than %d frames; cut it shorter", b->name, LM_MAX_READ_FRAMES);
    if (c->frames == b->capacity) LM_TRY(builder_grow(e, b));
    *frame = c->data + (size_t)c->frames * lm_clip_frame_bytes(c);
    c->frames++;
    return LM_OK;
}

bool lm_builder_full(const lm_clip_builder *b) {
    return b->wanted && b->clip.frames >= b->wanted;
}

lm_status lm_builder_finish(lm_error *e, lm_clip_builder *b, lm_status status, lm_clip *out) {
    lm_clip *c = &b->clip;
    if (status == LM_OK && !c->frames) status = lm_fail(e, LM_MEDIA, "%.200s: holds no frame", b->name);
    if (status != LM_OK) {
        lm_clip_free(c);
        return status;
    }
    size_t bytes = (size_t)c->frames * lm_clip_frame_bytes(c);
    uint8_t *fitted = lm_realloc(c->data, bytes, 1);
    if (fitted) c->data = fitted;
    *out = *c;
    *c = (lm_clip){0};
    return LM_OK;
}
