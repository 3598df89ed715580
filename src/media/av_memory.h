// libavformat's byte streams over memory.
#pragma once
#include "media/coding.h"
#include <libavformat/avio.h>

typedef struct lm_av_stream {
    lm_bytes *bytes;
    size_t position;
} lm_av_stream;
AVIOContext *lm_av_open(lm_av_stream *s, bool write); // NULL when memory is short
void lm_av_close(AVIOContext **io);                   // frees the stream, not the bytes

void lm_av_quiet(void); // keeps libav from printing
