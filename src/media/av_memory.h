// libavformat's byte streams over memory.
#pragma once
#include <libavformat/avio.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lm_av_source {
    const uint8_t *bytes;
    size_t size, position;
} lm_av_source;
AVIOContext *lm_av_open_source(lm_av_source *s); // NULL when memory is short
void lm_av_close(AVIOContext **io);              // frees the stream, not the bytes

// Silences libav, see av_memory.c.
void lm_av_quiet(void);
