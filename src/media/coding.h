// Inside the media room: one reader and one writer per kind of file, all between memory and frames.
#pragma once
#include "media/media.h"

// Collects frames of one size. wanted 0: all, and more than LM_MAX_READ_FRAMES is a failure.
typedef struct lm_clip_builder {
    const char *name; // for messages
    int wanted, capacity;
    lm_clip clip;
} lm_clip_builder;
// Room for one more frame of the given size at *frame; LM_MEDIA when the size is beyond LM_MAX_SIDE or differs.
lm_status lm_builder_next(lm_error *e, lm_clip_builder *b, int width, int height, int channels, uint8_t **frame);
bool lm_builder_full(const lm_clip_builder *b);
// Moves the frames to *out when status is LM_OK, frees them otherwise; returns status, or LM_MEDIA for no frame at all.
lm_status lm_builder_finish(lm_error *e, lm_clip_builder *b, lm_status status, lm_clip *out);
lm_status lm_media_check_size(lm_error *e, const char *name, int64_t width, int64_t height);
// frames / seconds, or the whole number of frames a second that seconds, counted in ticks, was rounded from.
double lm_media_rate(int frames, double seconds, double tick);

bool lm_webp_is(const uint8_t *bytes, size_t size);
lm_status lm_webp_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames, lm_clip *out);

lm_status lm_av_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames, lm_clip *out);
