#include "media/av_memory.h"
#include "base/memory.h"
#include <libavformat/version.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <libavutil/mem.h>
#include <string.h>

enum { BUFFER_BYTES = 32 << 10 };

void lm_media_silence_ffmpeg(void) {
    av_log_set_level(AV_LOG_QUIET);
}

static int read_some(void *opaque, uint8_t *out, int wanted) {
    lm_av_stream *s = opaque;
    if (s->position >= s->bytes->size) return AVERROR_EOF;
    size_t n = s->bytes->size - s->position;
    if (n > (size_t)wanted) n = (size_t)wanted;
    memcpy(out, s->bytes->data + s->position, n);
    s->position += n;
    return (int)n;
}

#if LIBAVFORMAT_VERSION_MAJOR < 61 // FFmpeg 7
typedef uint8_t written_byte;
#else
typedef const uint8_t written_byte;
#endif

static int write_some(void *opaque, written_byte *data, int size) {
    lm_av_stream *s = opaque;
    if (lm_bytes_write(NULL, s->bytes, s->position, data, (size_t)size) != LM_OK) return AVERROR(ENOMEM);
    s->position += (size_t)size;
    return size;
}

static int64_t seek_to(void *opaque, int64_t offset, int whence) {
    lm_av_stream *s = opaque;
    int64_t size = (int64_t)s->bytes->size, target;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE) return size;
    int64_t base = whence == SEEK_CUR ? (int64_t)s->position : whence == SEEK_END ? size : 0;
    if (__builtin_add_overflow(base, offset, &target) || target < 0) return AVERROR(EINVAL);
    s->position = (size_t)target;
    return target;
}

AVIOContext *lm_av_open(lm_av_stream *s, bool write) {
    uint8_t *buffer = av_malloc(BUFFER_BYTES);
    if (!buffer) return NULL;
    AVIOContext *io = avio_alloc_context(buffer, BUFFER_BYTES, write, s, write ? NULL : read_some,
                                         write ? write_some : NULL, seek_to);
    if (!io) av_free(buffer);
    return io;
}

void lm_av_close(AVIOContext **io) {
    if (!*io) return;
    av_freep(&(*io)->buffer);
    avio_context_free(io);
}
