#include "media/coding.h"
#include "media/av_memory.h"
#include "base/memory.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <string.h>

// Pictures and the containers that clips come in. Formats that name other files (playlists, scripts) are left out, and
// audio formats are in so that they can be told apart from noise.
static const char formats[] =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,png_pipe,jpeg_pipe,bmp_pipe,tiff_pipe,"
    "ppm_pipe,pgm_pipe,mpeg,mpegts,mpegvideo,ogg,flv,asf,ivf,yuv4mpegpipe,h264,hevc,obu,"
    "wav,mp3,flac,aac";

typedef struct reader {
    lm_clip_builder frames;
    lm_bytes bytes; // not owned, only read
    lm_av_stream source;
    AVIOContext *io;
    AVFormatContext *format;
    AVStream *stream;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame, *rgb; // as decoded; as RGB24 or RGBA
    struct SwsContext *scaler;
    int64_t duration; // of the packets decoded, in the stream's time base
} reader;

static lm_status av_failure(lm_error *e, const reader *r, const char *what, int code) {
    char reason[AV_ERROR_MAX_STRING_SIZE] = "";
    if (code == AVERROR(ENOMEM)) return lm_media_no_memory(e, r->frames.name);
    av_strerror(code, reason, sizeof reason);
    return lm_fail(e, LM_MEDIA, "%.200s: %s (%s)", r->frames.name, what, reason);
}

// Files that a file names are never opened.
static int refuse_open(AVFormatContext *s, AVIOContext **pb, const char *url, int flags, AVDictionary **options) {
    (void)s, (void)url, (void)flags, (void)options;
    *pb = NULL;
    return AVERROR(EACCES);
}

static lm_status open_container(lm_error *e, reader *r) {
    r->source.bytes = &r->bytes;
    r->io = lm_av_open(&r->source, false);
    r->format = avformat_alloc_context();
    AVDictionary *options = NULL;
    if (!r->io || !r->format || av_dict_set(&options, "format_whitelist", formats, 0) < 0)
        return lm_media_no_memory(e, "reading media");
    r->format->pb = r->io;
    r->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    r->format->io_open = refuse_open;
    int code = avformat_open_input(&r->format, "", NULL, &options);
    av_dict_free(&options);
    if (code < 0) return av_failure(e, r, "not a picture or video that can be read, or cut off at its start", code);
    for (unsigned i = 0; i < r->format->nb_streams; i++) {
        const AVCodecParameters *p = r->format->streams[i]->codecpar;
        if (p->codec_type == AVMEDIA_TYPE_VIDEO && (p->width || p->height))
            LM_TRY(lm_media_check_size(e, r->frames.name, p->width, p->height));
    }
    return LM_OK;
}

static lm_status open_decoder(lm_error *e, reader *r) {
    int code = avformat_find_stream_info(r->format, NULL);
    if (code < 0) return av_failure(e, r, "can't be decoded", code);
    const AVCodec *decoder = NULL;
    int index = av_find_best_stream(r->format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
    if (index == AVERROR_DECODER_NOT_FOUND)
        return lm_fail(e, LM_MEDIA, "%.200s: its video is of a kind that can't be decoded here", r->frames.name);
    if (index < 0) return lm_fail(e, LM_MEDIA, "%.200s: holds no picture or video", r->frames.name);
    for (unsigned i = 0; i < r->format->nb_streams; i++)
        if ((int)i != index) r->format->streams[i]->discard = AVDISCARD_ALL;
    r->stream = r->format->streams[index];
    r->codec = avcodec_alloc_context3(decoder);
    r->packet = av_packet_alloc();
    r->frame = av_frame_alloc();
    r->rgb = av_frame_alloc();
    if (!r->codec || !r->packet || !r->frame || !r->rgb) return lm_media_no_memory(e, "reading media");
    code = avcodec_parameters_to_context(r->codec, r->stream->codecpar);
    r->codec->pkt_timebase = r->stream->time_base;
    r->codec->thread_count = 1;
    r->codec->log_level_offset = LM_AV_LOG_OFFSET;
    r->codec->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;
    r->codec->max_pixels = (int64_t)LM_MAX_SIDE * LM_MAX_SIDE;
    if (code >= 0) code = avcodec_open2(r->codec, decoder, NULL);
    return code < 0 ? av_failure(e, r, "can't be decoded", code) : LM_OK;
}

static bool is_full_range(const AVFrame *f) {
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    return f->color_range == AVCOL_RANGE_JPEG || !strncmp(d->name, "yuvj", 4) || d->nb_components < 3;
}

// r->frame to r->rgb. Video that says nothing about its colours is BT.601.
static lm_status to_rgb(lm_error *e, reader *r, bool alpha) {
    const AVFrame *f = r->frame;
    enum AVPixelFormat format = alpha ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24;
    AVFrame *rgb = r->rgb;
    if (rgb->width != f->width || rgb->height != f->height || rgb->format != format) {
        av_frame_unref(rgb);
        rgb->width = f->width, rgb->height = f->height, rgb->format = format;
        if (av_frame_get_buffer(rgb, 0) < 0) return lm_media_no_memory(e, "frames");
    }
    int flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT;
    r->scaler = sws_getCachedContext(r->scaler, f->width, f->height, f->format, f->width, f->height, format, flags,
                                     NULL, NULL, NULL);
    if (!r->scaler) return lm_fail(e, LM_MEDIA, "%.200s: its pixels can't be converted to RGB", r->frames.name);
    int space = f->colorspace == AVCOL_SPC_UNSPECIFIED ? SWS_CS_ITU601 : (int)f->colorspace;
    sws_setColorspaceDetails(r->scaler, sws_getCoefficients(space), is_full_range(f),
                             sws_getCoefficients(SWS_CS_ITU601), 1, 0, 1 << 16, 1 << 16);
    int rows =
        sws_scale(r->scaler, (const uint8_t *const *)f->data, f->linesize, 0, f->height, rgb->data, rgb->linesize);
    return rows == f->height ? LM_OK
                             : lm_fail(e, LM_MEDIA, "%.200s: its pixels can't be converted to RGB", r->frames.name);
}

// How decoded pixel (x, y) goes to the shown picture: first swapped, then mirrored.
typedef struct turn {
    bool swap, mirror_x, mirror_y;
} turn;

// The container's display matrix, or NULL.
static const uint8_t *stream_matrix(const AVStream *s, size_t *size) {
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 100) // FFmpeg 6.1
    const AVCodecParameters *p = s->codecpar;
    const AVPacketSideData *side =
        av_packet_side_data_get(p->coded_side_data, p->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    *size = side ? side->size : 0;
    return side ? side->data : NULL;
#else
    return av_stream_get_side_data(s, AV_PKT_DATA_DISPLAYMATRIX, size);
#endif
}

static turn find_turn(const reader *r) {
    const AVFrameSideData *side = av_frame_get_side_data(r->frame, AV_FRAME_DATA_DISPLAYMATRIX);
    size_t size = side ? side->size : 0;
    const uint8_t *bytes = side ? side->data : stream_matrix(r->stream, &size);
    int32_t m[9];
    if (!bytes || size < sizeof m) return (turn){0};
    memcpy(m, bytes, sizeof m);
    bool swap = llabs((int64_t)m[1]) > llabs((int64_t)m[0]);
    return (turn){swap, (swap ? m[3] : m[0]) < 0, (swap ? m[1] : m[4]) < 0};
}

static void place(const AVFrame *f, int channels, turn t, uint8_t *out) {
    int width = t.swap ? f->height : f->width, height = t.swap ? f->width : f->height;
    for (int y = 0; y < height; y++) {
        int v = t.mirror_y ? height - 1 - y : y;
        if (!t.swap && !t.mirror_x) {
            memcpy(out, f->data[0] + (ptrdiff_t)v * f->linesize[0], (size_t)width * (size_t)channels);
            out += (size_t)width * (size_t)channels;
            continue;
        }
        for (int x = 0; x < width; x++, out += channels) {
            int u = t.mirror_x ? width - 1 - x : x;
            int row = t.swap ? u : v, column = t.swap ? v : u;
            memcpy(out, f->data[0] + (ptrdiff_t)row * f->linesize[0] + (ptrdiff_t)column * channels, (size_t)channels);
        }
    }
}

static lm_status take_frame(lm_error *e, reader *r) {
    const AVFrame *f = r->frame;
    if (f->decode_error_flags || (f->flags & AV_FRAME_FLAG_CORRUPT))
        return lm_fail(e, LM_MEDIA, "%.200s: frame %d is damaged", r->frames.name, r->frames.clip.frames + 1);
    LM_TRY(lm_media_check_size(e, r->frames.name, f->width, f->height));
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    if (!d) return lm_fail(e, LM_MEDIA, "%.200s: pixels of an unknown kind", r->frames.name);
    bool alpha = r->frames.clip.frames ? r->frames.clip.channels == 4 : (d->flags & AV_PIX_FMT_FLAG_ALPHA) != 0;
    LM_TRY(to_rgb(e, r, alpha));
    turn t = find_turn(r);
    uint8_t *out;
    LM_TRY(lm_builder_next(e, &r->frames, t.swap ? f->height : f->width, t.swap ? f->width : f->height, alpha ? 4 : 3,
                           &out));
    place(r->rgb, alpha ? 4 : 3, t, out);
    return LM_OK;
}

// Feeds one packet (NULL: the end) and takes what comes out.
static lm_status decode(lm_error *e, reader *r, const AVPacket *packet) {
    int code = avcodec_send_packet(r->codec, packet);
    if (code == AVERROR_EOF) return LM_OK;
    while (code >= 0 && !lm_builder_full(&r->frames)) {
        code = avcodec_receive_frame(r->codec, r->frame);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return LM_OK;
        if (code >= 0) LM_TRY(take_frame(e, r));
    }
    if (code >= 0) return LM_OK;
    // decoders don't tell a size beyond max_pixels from other nonsense
    return av_failure(e, r, r->frames.clip.frames ? "is damaged or truncated" : "is damaged, truncated or too large",
                      code);
}

static lm_status decode_all(lm_error *e, reader *r) {
    int code = 0;
    while (!lm_builder_full(&r->frames) && (code = av_read_frame(r->format, r->packet)) >= 0) {
        lm_status status = LM_OK;
        if (r->packet->stream_index == r->stream->index) {
            if (r->packet->flags & AV_PKT_FLAG_CORRUPT)
                status = lm_fail(e, LM_MEDIA, "%.200s: is truncated", r->frames.name);
            else
                status = decode(e, r, r->packet);
            r->duration += r->packet->duration;
        }
        av_packet_unref(r->packet);
        if (status != LM_OK) return status;
    }
    if (code < 0 && code != AVERROR_EOF) return av_failure(e, r, "is damaged or truncated", code);
    return lm_builder_full(&r->frames) ? LM_OK : decode(e, r, NULL);
}

static double find_rate(const reader *r, int frames) {
    const char *kind = r->format->iformat->name;
    if (strstr(kind, "_pipe") && strcmp(kind, "yuv4mpegpipe")) return 0;
    if (strcmp(kind, "gif") && strcmp(kind, "apng")) return av_q2d(av_guess_frame_rate(r->format, r->stream, NULL));
    if (frames == 1) return 0;
    double tick = av_q2d(r->stream->time_base), seconds = (double)r->duration * tick;
    // each frame's duration of an APNG is rounded by itself, a GIF's were rounded to add up
    double tolerance = strcmp(kind, "apng") ? tick : tick * frames;
    return lm_media_rate(frames, seconds, tolerance);
}

// No more frames than seconds hold, where the rate is known before they are read.
static void limit_frames(reader *r, double seconds) {
    const char *kind = r->format->iformat->name;
    if (!(seconds > 0) || !strcmp(kind, "gif") || !strcmp(kind, "apng")) return;
    double frames = ceil(seconds * find_rate(r, 0));
    if (frames > 0 && frames < LM_MAX_READ_FRAMES) r->frames.wanted = (int)frames;
}

static lm_status read_all(lm_error *e, reader *r, double seconds) {
    LM_TRY(open_container(e, r));
    LM_TRY(open_decoder(e, r));
    limit_frames(r, seconds);
    LM_TRY(decode_all(e, r));
    r->frames.clip.fps = find_rate(r, r->frames.clip.frames);
    // decoded with alpha (CMYK in the case of MJPEG) whether or not they use it
    enum AVCodecID id = r->codec->codec_id;
    if (r->codec->pix_fmt == AV_PIX_FMT_PAL8 || id == AV_CODEC_ID_GIF || id == AV_CODEC_ID_MJPEG)
        lm_clip_drop_unused_alpha(&r->frames.clip);
    return LM_OK;
}

static void close_reader(reader *r) {
    sws_freeContext(r->scaler);
    av_frame_free(&r->rgb);
    av_frame_free(&r->frame);
    av_packet_free(&r->packet);
    avcodec_free_context(&r->codec);
    avformat_close_input(&r->format);
    lm_av_close(&r->io);
}

// Whatever libavformat and libavcodec read of the formats above. Decodes on the calling thread.
lm_status lm_av_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames, double seconds,
                     lm_clip *out) {
    reader r = {.frames = {.name = name, .wanted = max_frames}, .bytes = {(uint8_t *)bytes, size, size}};
    lm_status status = read_all(e, &r, seconds);
    close_reader(&r);
    return lm_builder_finish(e, &r.frames, status, out);
}

// A frame that is decoded but not shown: VP8 keeps them in packets of their own (RFC 6386, 9.1), others in the packet
// of the next one. Packets before the beginning that an edit list sets are not shown either.
static bool is_hidden(const reader *r, const AVPacket *p) {
    bool unseen = r->codec->codec_id == AV_CODEC_ID_VP8 && p->size > 0 && !(p->data[0] & 0x10);
    return unseen || (p->flags & AV_PKT_FLAG_DISCARD);
}

// The number of frames to *frames. A JPEG's first one is decoded.
static lm_status count_frames(lm_error *e, reader *r, int *frames) {
    int code;
    r->frames.wanted = 1;
    while ((code = av_read_frame(r->format, r->packet)) >= 0) {
        lm_status status = LM_OK;
        if (r->packet->stream_index == r->stream->index) {
            if (r->packet->flags & AV_PKT_FLAG_CORRUPT)
                status = lm_fail(e, LM_MEDIA, "%.200s: is truncated", r->frames.name);
            else if (r->codec->codec_id == AV_CODEC_ID_MJPEG && !lm_builder_full(&r->frames))
                status = decode(e, r, r->packet);
            *frames += !is_hidden(r, r->packet); // at most a file's bytes
            r->duration += r->packet->duration;
        }
        av_packet_unref(r->packet);
        if (status != LM_OK) return status;
    }
    return code == AVERROR_EOF ? LM_OK : av_failure(e, r, "is damaged or truncated", code);
}

static double find_seconds(const reader *r, const lm_clip_facts *f) {
    const char *kind = r->format->iformat->name;
    double tick = av_q2d(r->stream->time_base);
    if (!(f->fps > 0)) return 0;
    if (!strcmp(kind, "gif") || !strcmp(kind, "apng")) return (double)r->duration * tick;
    return r->stream->duration > 0 ? (double)r->stream->duration * tick : f->frames / f->fps;
}

static lm_status look(lm_error *e, reader *r, lm_clip_facts *out) {
    LM_TRY(open_container(e, r));
    LM_TRY(open_decoder(e, r));
    LM_TRY(count_frames(e, r, &out->frames));
    if (!out->frames) return lm_fail(e, LM_MEDIA, "%.200s: holds no frame", r->frames.name);
    const AVCodecParameters *p = r->stream->codecpar;
    turn t = find_turn(r);
    out->width = t.swap ? p->height : p->width;
    out->height = t.swap ? p->width : p->height;
    out->fps = find_rate(r, out->frames);
    out->seconds = find_seconds(r, out);
    return lm_media_check_size(e, r->frames.name, out->width, out->height);
}

lm_status lm_av_look(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_clip_facts *out) {
    reader r = {.frames = {.name = name}, .bytes = {(uint8_t *)bytes, size, size}};
    lm_status status = look(e, &r, out);
    lm_clip_free(&r.frames.clip);
    close_reader(&r);
    return status;
}

lm_status lm_av_read_comment(lm_error *e, const char *name, const uint8_t *bytes, size_t size, char **comment) {
    *comment = NULL;
    reader r = {.frames = {.name = name}, .bytes = {(uint8_t *)bytes, size, size}};
    lm_status status = open_container(e, &r);
    const AVDictionaryEntry *entry = status == LM_OK ? av_dict_get(r.format->metadata, "comment", NULL, 0) : NULL;
    if (entry && !(*comment = lm_strdup(entry->value)))
        status = lm_fail_memory(e, (double)strlen(entry->value), "a comment");
    close_reader(&r);
    return status;
}
