#include "media/av_memory.h"
#include "base/memory.h"
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>
#include <string.h>

enum { BUFFER_BYTES = 32 << 10 };

// libavformat and libswscale have no log level of their own, only the process-wide one, and what they print about a
// damaged file is no part of our messages. The level is changed only from the default: a program that sets any other
// level keeps it. Writing the same value twice from two threads is harmless.
void lm_av_quiet(void) {
    if (av_log_get_level() == AV_LOG_INFO) av_log_set_level(AV_LOG_QUIET);
}

static int64_t seek_to(size_t *position, size_t size, int64_t offset, int whence) {
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE) return (int64_t)size;
    int64_t base = whence == SEEK_CUR ? (int64_t)*position : whence == SEEK_END ? (int64_t)size : 0, target;
    if (__builtin_add_overflow(base, offset, &target) || target < 0) return AVERROR(EINVAL);
    *position = (size_t)target;
    return target;
}

static int source_read(void *opaque, uint8_t *out, int wanted) {
    lm_av_source *s = opaque;
    if (s->position >= s->size) return AVERROR_EOF;
    size_t n = s->size - s->position;
    if (n > (size_t)wanted) n = (size_t)wanted;
    memcpy(out, s->bytes + s->position, n);
    s->position += n;
    return (int)n;
}

static int64_t source_seek(void *opaque, int64_t offset, int whence) {
    lm_av_source *s = opaque;
    return seek_to(&s->position, s->size, offset, whence);
}

AVIOContext *lm_av_open_source(lm_av_source *s) {
    uint8_t *buffer = av_malloc(BUFFER_BYTES);
    if (!buffer) return NULL;
    AVIOContext *io = avio_alloc_context(buffer, BUFFER_BYTES, 0, s, source_read, NULL, source_seek);
    if (!io) av_free(buffer);
    return io;
}

void lm_av_close(AVIOContext **io) {
    if (!*io) return;
    av_freep(&(*io)->buffer);
    avio_context_free(io);
}
