// libavformat's byte streams over memory.
#pragma once
#include "media/coding.h"
#include <libavformat/avio.h>
#include <libavutil/log.h>

typedef struct lm_av_stream {
    lm_bytes *bytes;
    size_t position;
} lm_av_stream;
AVIOContext *lm_av_open(lm_av_stream *s, bool write); // NULL when memory is short
void lm_av_close(AVIOContext **io);                   // frees the stream, not the bytes

// A codec's messages are this much less urgent to FFmpeg's log, so that none is printed at its usual level,
// AV_LOG_INFO.
enum { LM_AV_LOG_OFFSET = AV_LOG_INFO };
