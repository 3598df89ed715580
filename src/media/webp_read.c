#include "media/coding.h"
#include "base/memory.h"
#include <string.h>
#include <webp/decode.h>
#include <webp/demux.h>

bool lm_webp_is(const uint8_t *bytes, size_t size) {
    return size >= 12 && !memcmp(bytes, "RIFF", 4) && !memcmp(bytes + 8, "WEBP", 4);
}

static lm_status broken(lm_error *e, const char *name) {
    return lm_fail(e, LM_MEDIA, "%.200s: a WebP file that is truncated or damaged", name);
}

static lm_status read_still(lm_error *e, lm_clip_builder *b, const uint8_t *bytes, size_t size,
                            const WebPBitstreamFeatures *f) {
    int channels = f->has_alpha ? 4 : 3;
    uint8_t *frame;
    LM_TRY(lm_builder_next(e, b, f->width, f->height, channels, &frame));
    int stride = f->width * channels;
    size_t room = (size_t)stride * (size_t)f->height;
    uint8_t *done = f->has_alpha ? WebPDecodeRGBAInto(bytes, size, frame, room, stride)
                                 : WebPDecodeRGBInto(bytes, size, frame, room, stride);
    return done ? LM_OK : broken(e, b->name);
}

static void copy_pixels(uint8_t *to, const uint8_t *rgba, size_t pixels, int channels) {
    for (size_t i = 0; i < pixels; i++) memcpy(to + i * (size_t)channels, rgba + i * 4, (size_t)channels);
}

static lm_status read_frames(lm_error *e, lm_clip_builder *b, WebPAnimDecoder *decoder, bool alpha) {
    WebPAnimInfo info;
    if (!WebPAnimDecoderGetInfo(decoder, &info)) return broken(e, b->name);
    int end_ms = 0;
    while (WebPAnimDecoderHasMoreFrames(decoder) && !lm_builder_full(b)) {
        uint8_t *canvas, *frame;
        if (!WebPAnimDecoderGetNext(decoder, &canvas, &end_ms)) return broken(e, b->name);
        LM_TRY(lm_builder_next(e, b, (int)info.canvas_width, (int)info.canvas_height, alpha ? 4 : 3, &frame));
        copy_pixels(frame, canvas, (size_t)info.canvas_width * info.canvas_height, alpha ? 4 : 3);
    }
    lm_clip_drop_unused_alpha(&b->clip); // frames may use it only to leave pixels as they were
    b->clip.fps = lm_media_rate(b->clip.frames, end_ms / 1000.0, 0.001);
    return LM_OK;
}

static lm_status read_animation(lm_error *e, lm_clip_builder *b, const uint8_t *bytes, size_t size, bool alpha) {
    WebPAnimDecoderOptions options;
    if (!WebPAnimDecoderOptionsInit(&options)) return lm_fail(e, LM_FAILED, "libwebpdemux has another version");
    options.color_mode = MODE_RGBA;
    options.use_threads = 0;
    WebPData data = {bytes, size};
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &options);
    if (!decoder) return broken(e, b->name);
    lm_status status = read_frames(e, b, decoder, alpha);
    WebPAnimDecoderDelete(decoder);
    return status;
}

// A WebP still or animation, lossy or lossless.
lm_status lm_webp_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, int max_frames, lm_clip *out) {
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(bytes, size, &features) != VP8_STATUS_OK) return broken(e, name);
    LM_TRY(lm_media_check_size(e, name, features.width, features.height));
    lm_clip_builder b = {.name = name, .wanted = max_frames};
    lm_status status = features.has_animation ? read_animation(e, &b, bytes, size, features.has_alpha)
                                              : read_still(e, &b, bytes, size, &features);
    return lm_builder_finish(e, &b, status, out);
}

// Of an animation the frames' headers, which hold their durations.
static lm_status look_at_frames(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_clip_facts *out) {
    WebPData data = {bytes, size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (!demuxer) return broken(e, name);
    WebPIterator frame;
    int64_t ms = 0;
    if (WebPDemuxGetFrame(demuxer, 1, &frame)) {
        do {
            ms += frame.duration;
            out->frames++;
        } while (WebPDemuxNextFrame(&frame));
        WebPDemuxReleaseIterator(&frame);
    }
    WebPDemuxDelete(demuxer);
    out->seconds = (double)ms / 1000.0;
    out->fps = lm_media_rate(out->frames, out->seconds, 0.001);
    return out->frames ? LM_OK : broken(e, name);
}

lm_status lm_webp_look(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_clip_facts *out) {
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(bytes, size, &features) != VP8_STATUS_OK) return broken(e, name);
    LM_TRY(lm_media_check_size(e, name, features.width, features.height));
    *out = (lm_clip_facts){.width = features.width, .height = features.height};
    if (features.has_animation) return look_at_frames(e, name, bytes, size, out);
    out->frames = 1;
    return LM_OK;
}
