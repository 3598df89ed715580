#include "media/av_memory.h"
#include "media/palette.h"
#include "base/memory.h"
#include "base/plain_text.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <string.h>

typedef struct profile {
    const char *muxer, *encoder;
    enum AVPixelFormat format; // RGB24 stands for RGBA too when the clip has alpha
    const char *options, *muxer_options;
} profile;

// cpu-independent: without it x264's AVX-512 code reads memory that nothing was written to where a clip is narrow, and
// processors differ in the last bits.
static const profile profiles[] = {
    [LM_AV_MP4] = {"mp4", "libx264", AV_PIX_FMT_YUV420P, "preset=medium:crf=16:x264-params=cpu-independent=1",
                   "movflags=+faststart"},
    [LM_AV_WEBM] = {"webm", "libvpx-vp9", AV_PIX_FMT_YUV420P, "crf=16:deadline=good:cpu-used=3", ""},
    [LM_AV_GIF] = {"gif", "gif", AV_PIX_FMT_PAL8, "", "loop=0"},
    [LM_AV_PNG] = {"image2pipe", "png", AV_PIX_FMT_RGB24, "pred=mixed", ""},
    [LM_AV_APNG] = {"apng", "apng", AV_PIX_FMT_RGB24, "pred=mixed", "plays=0"},
};

typedef struct writer {
    const profile *profile;
    const lm_clip *clip;
    lm_bytes *out;
    lm_av_stream sink, again; // again: where the mp4 muxer reads what it wrote, to move the index to the front
    AVIOContext *io;
    AVFormatContext *format;
    AVStream *stream;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *source, *frame; // the clip's pixels; those of the encoder
    struct SwsContext *scaler;
    lm_palette *palette;
} writer;

static lm_status failure(lm_error *e, const writer *w, int code) {
    char reason[AV_ERROR_MAX_STRING_SIZE] = "";
    if (code == AVERROR(ENOMEM)) return lm_media_no_memory(e, "encoding");
    av_strerror(code, reason, sizeof reason);
    return lm_fail(e, LM_MEDIA, "encoding as %s failed (%s)", w->profile->muxer, reason);
}

static int open_again(AVFormatContext *s, AVIOContext **pb, const char *url, int flags, AVDictionary **options) {
    (void)url, (void)options;
    writer *w = s->opaque;
    *pb = NULL;
    if (flags & AVIO_FLAG_WRITE) return AVERROR(EACCES);
    w->again = (lm_av_stream){w->out, 0};
    *pb = lm_av_open(&w->again, false);
    return *pb ? 0 : AVERROR(ENOMEM);
}

static int close_again(AVFormatContext *s, AVIOContext *pb) {
    (void)s;
    lm_av_close(&pb);
    return 0;
}

// H.264 and VP9 are written as BT.709, limited range, the tags saying so.
static void set_colors(AVCodecContext *c) {
    c->color_range = AVCOL_RANGE_MPEG;
    c->colorspace = AVCOL_SPC_BT709;
    c->color_primaries = AVCOL_PRI_BT709;
    c->color_trc = AVCOL_TRC_BT709;
    c->chroma_sample_location = AVCHROMA_LOC_LEFT;
}

static int open_encoder(writer *w) {
    const profile *p = w->profile;
    const AVCodec *encoder = avcodec_find_encoder_by_name(p->encoder);
    if (!encoder) return AVERROR_ENCODER_NOT_FOUND;
    w->codec = avcodec_alloc_context3(encoder);
    if (!w->codec) return AVERROR(ENOMEM);
    AVCodecContext *c = w->codec;
    c->log_level_offset = LM_AV_LOG_OFFSET;
    bool h264 = p->format == AV_PIX_FMT_YUV420P && encoder->id == AV_CODEC_ID_H264;
    c->width = w->clip->width + (h264 ? w->clip->width % 2 : 0);
    c->height = w->clip->height + (h264 ? w->clip->height % 2 : 0);
    c->pix_fmt = p->format == AV_PIX_FMT_RGB24 && w->clip->channels == 4 ? AV_PIX_FMT_RGBA : p->format;
    c->framerate = av_d2q(w->clip->fps > 0 ? w->clip->fps : 16, 1001000);
    c->time_base = av_inv_q(c->framerate);
    c->thread_count = 1; // the same bytes on every machine
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    if (w->format->oformat->flags & AVFMT_GLOBALHEADER) c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (p->format == AV_PIX_FMT_YUV420P) set_colors(c);
    AVDictionary *options = NULL;
    int code = av_dict_parse_string(&options, p->options, "=", ":", 0);
    if (code >= 0) code = avcodec_open2(c, encoder, &options);
    av_dict_free(&options);
    return code;
}

// How long the last frame of a GIF is shown, in hundredths of a second: until the next one would come.
static int64_t last_delay(const writer *w) {
    double step = 100 / av_q2d(w->codec->framerate);
    return llround(step * w->clip->frames) - llround(step * (w->clip->frames - 1));
}

static int open_muxer(writer *w, const char *comment) {
    w->sink = (lm_av_stream){w->out, 0};
    w->io = lm_av_open(&w->sink, true);
    if (!w->io) return AVERROR(ENOMEM);
    int code = avformat_alloc_output_context2(&w->format, NULL, w->profile->muxer, "");
    if (code < 0) return code;
    AVFormatContext *f = w->format;
    f->pb = w->io;
    f->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    f->opaque = w;
    f->io_open = open_again;
    f->io_close2 = close_again;
    if ((code = open_encoder(w)) < 0) return code;
    w->stream = avformat_new_stream(f, NULL);
    if (!w->stream) return AVERROR(ENOMEM);
    w->stream->time_base = w->codec->time_base;
    w->stream->avg_frame_rate = w->codec->framerate;
    if ((code = avcodec_parameters_from_context(w->stream->codecpar, w->codec)) < 0) return code;
    if (comment && (code = av_dict_set(&f->metadata, "comment", comment, 0)) < 0) return code;
    AVDictionary *options = NULL;
    code = av_dict_parse_string(&options, w->profile->muxer_options, "=", ":", 0);
    if (code >= 0 && w->palette) code = av_dict_set_int(&options, "final_delay", last_delay(w), 0);
    if (code >= 0) code = avformat_write_header(f, &options);
    av_dict_free(&options);
    return code;
}

static int frame_buffer(AVFrame **frame, enum AVPixelFormat format, int width, int height) {
    *frame = av_frame_alloc();
    if (!*frame) return AVERROR(ENOMEM);
    (*frame)->format = format;
    (*frame)->width = width;
    (*frame)->height = height;
    return av_frame_get_buffer(*frame, 0);
}

static int open_frames(writer *w) {
    const AVCodecContext *c = w->codec;
    int code = frame_buffer(&w->frame, c->pix_fmt, c->width, c->height);
    if (code < 0 || w->profile->format != AV_PIX_FMT_YUV420P) return code;
    code = frame_buffer(&w->source, AV_PIX_FMT_RGB24, c->width, c->height);
    if (code < 0) return code;
    w->scaler = sws_getContext(c->width, c->height, AV_PIX_FMT_RGB24, c->width, c->height, c->pix_fmt,
                               SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP | SWS_BITEXACT, NULL, NULL, NULL);
    if (!w->scaler) return AVERROR(ENOMEM);
    const int *from = sws_getCoefficients(SWS_CS_DEFAULT), *to = sws_getCoefficients(SWS_CS_ITU709);
    return sws_setColorspaceDetails(w->scaler, from, 1, to, 0, 0, 1 << 16, 1 << 16);
}

// Copies frame i; H.264 with 4:2:0 colour needs even sides, so an odd one is made longer by its last row or column.
static void copy_frame(const writer *w, int i, AVFrame *to) {
    const lm_clip *c = w->clip;
    size_t row = (size_t)c->width * (size_t)c->channels;
    for (int y = 0; y < to->height; y++) {
        int from = y < c->height ? y : c->height - 1;
        uint8_t *out = to->data[0] + (ptrdiff_t)y * to->linesize[0];
        memcpy(out, c->data + (size_t)i * lm_clip_frame_bytes(c) + (size_t)from * row, row);
        if (to->width > c->width) memcpy(out + row, out + row - c->channels, (size_t)c->channels);
    }
}

static void fill_palette(const writer *w, int i, AVFrame *to) {
    const lm_clip *c = w->clip;
    const uint8_t *pixel = c->data + (size_t)i * lm_clip_frame_bytes(c);
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++, pixel += c->channels)
            to->data[0][(ptrdiff_t)y * to->linesize[0] + x] = lm_palette_entry(w->palette, pixel, c->channels);
    uint32_t *colors = (uint32_t *)(void *)to->data[1];
    for (int k = 0; k < LM_PALETTE_COLORS; k++) {
        const uint8_t *p = w->palette->colors[k];
        colors[k] = 0xff000000U | (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
    }
    colors[LM_PALETTE_COLORS] = 0; // transparent
}

static int fill_frame(writer *w, int i) {
    AVFrame *f = w->frame;
    int code = av_frame_make_writable(f);
    if (code < 0) return code;
    if (w->palette)
        fill_palette(w, i, f);
    else if (w->scaler) {
        copy_frame(w, i, w->source);
        int rows = sws_scale(w->scaler, (const uint8_t *const *)w->source->data, w->source->linesize, 0, f->height,
                             f->data, f->linesize);
        if (rows != f->height) return rows < 0 ? rows : AVERROR_EXTERNAL;
    } else
        copy_frame(w, i, f);
    f->pts = i;
    return 0;
}

// Sends a frame (NULL: the end) and writes the packets that come out.
static int encode(writer *w, const AVFrame *frame) {
    int code = avcodec_send_frame(w->codec, frame);
    while (code >= 0) {
        code = avcodec_receive_packet(w->codec, w->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return 0;
        if (code < 0) break;
        w->packet->stream_index = 0;
        w->packet->duration = 1;
        av_packet_rescale_ts(w->packet, w->codec->time_base, w->stream->time_base);
        code = av_interleaved_write_frame(w->format, w->packet);
    }
    return code;
}

static int write_all(writer *w, const char *comment) {
    w->packet = av_packet_alloc();
    if (!w->packet) return AVERROR(ENOMEM);
    int code = open_muxer(w, comment);
    if (code >= 0) code = open_frames(w);
    for (int i = 0; code >= 0 && i < w->clip->frames; i++) {
        code = fill_frame(w, i);
        if (code >= 0) code = encode(w, w->frame);
    }
    if (code >= 0) code = encode(w, NULL);
    if (code >= 0) code = av_write_trailer(w->format);
    avio_flush(w->io);
    return code >= 0 && w->io->error < 0 ? w->io->error : code;
}

static void close_all(writer *w) {
    lm_free(w->palette);
    sws_freeContext(w->scaler);
    av_frame_free(&w->source);
    av_frame_free(&w->frame);
    av_packet_free(&w->packet);
    avcodec_free_context(&w->codec);
    avformat_free_context(w->format);
    lm_av_close(&w->io);
}

// Encodes on the calling thread; the same frames give the same bytes.
lm_status lm_av_write(lm_error *e, lm_av_kind kind, const lm_clip *clip, const char *comment, lm_bytes *out) {
    writer w = {.profile = &profiles[kind], .clip = clip, .out = out};
    if (kind == LM_AV_GIF) LM_TRY(lm_palette_make(e, clip, &w.palette));
    lm_locale_aside locale = lm_locale_enter_plain(); // x264 writes its settings into the file
    int code = write_all(&w, comment);
    lm_locale_leave_plain(locale);
    lm_status status = code < 0 ? failure(e, &w, code) : LM_OK;
    close_all(&w);
    return status;
}

lm_status lm_av_check(lm_error *e, lm_av_kind kind, double fps) {
    const lm_clip any = {.frames = 2, .width = 16, .height = 16, .channels = 3, .fps = fps};
    lm_bytes header = {0};
    writer w = {.profile = &profiles[kind], .clip = &any, .out = &header};
    int code = open_muxer(&w, NULL);
    lm_status status = code < 0 ? failure(e, &w, code) : LM_OK;
    close_all(&w);
    lm_bytes_free(&header);
    return status;
}
