#include "media/coding.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>
#include <webp/demux.h>
#include <webp/encode.h>
#include <webp/mux.h>

static bool import_frame(const lm_clip *c, int i, WebPPicture *picture) {
    if (!WebPPictureInit(picture)) return false;
    picture->use_argb = 1;
    picture->width = c->width;
    picture->height = c->height;
    const uint8_t *data = c->data + (size_t)i * lm_clip_frame_bytes(c);
    int stride = c->width * c->channels;
    return c->channels == 4 ? WebPPictureImportRGBA(picture, data, stride)
                            : WebPPictureImportRGB(picture, data, stride);
}

// Frame i is shown from the nearest millisecond, so that the rate holds over the whole clip.
static int start_ms(const lm_clip *c, int i) {
    return c->fps > 0 ? (int)lround(i * 1000.0 / c->fps) : i * 1000;
}

static bool add_frames(WebPAnimEncoder *encoder, const lm_clip *c) {
    WebPConfig config;
    if (!WebPConfigInit(&config) || !WebPConfigLosslessPreset(&config, 4)) return false;
    config.exact = 1; // keep the colours of transparent pixels
    config.thread_level = 0;
    bool ok = true;
    for (int i = 0; ok && i < c->frames; i++) {
        WebPPicture picture;
        ok = import_frame(c, i, &picture) && WebPAnimEncoderAdd(encoder, &picture, start_ms(c, i), &config);
        WebPPictureFree(&picture);
    }
    return ok && WebPAnimEncoderAdd(encoder, NULL, start_ms(c, c->frames), NULL);
}

static bool add_xmp(WebPData *file, const char *xmp) {
    WebPMux *mux = WebPMuxCreate(file, 0);
    WebPData chunk = {(const uint8_t *)xmp, strlen(xmp)}, whole = {0};
    bool ok =
        mux && WebPMuxSetChunk(mux, "XMP ", &chunk, 0) == WEBP_MUX_OK && WebPMuxAssemble(mux, &whole) == WEBP_MUX_OK;
    WebPMuxDelete(mux);
    if (!ok) return false;
    WebPDataClear(file);
    *file = whole;
    return true;
}

lm_status lm_webp_write(lm_error *e, const lm_clip *clip, const char *xmp, lm_bytes *out) {
    WebPAnimEncoderOptions options;
    WebPData file = {0};
    WebPAnimEncoder *encoder = NULL;
    if (WebPAnimEncoderOptionsInit(&options)) encoder = WebPAnimEncoderNew(clip->width, clip->height, &options);
    bool ok = encoder && add_frames(encoder, clip) && WebPAnimEncoderAssemble(encoder, &file);
    lm_status status = LM_OK;
    if (!ok)
        status = lm_fail(e, LM_MEDIA, "WebP encoding failed: %.200s",
                         encoder ? WebPAnimEncoderGetError(encoder) : "out of memory");
    else if (xmp && !add_xmp(&file, xmp))
        status = lm_fail(e, LM_MEDIA, "WebP encoding failed: the recipe can't be added");
    else
        status = lm_bytes_write(e, out, 0, file.bytes, file.size);
    WebPAnimEncoderDelete(encoder);
    WebPDataClear(&file);
    return status;
}

lm_status lm_webp_read_xmp(lm_error *e, const uint8_t *bytes, size_t size, char **xmp) {
    *xmp = NULL;
    WebPData data = {bytes, size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (!demuxer) return LM_OK;
    WebPChunkIterator chunk;
    lm_status status = LM_OK;
    if (WebPDemuxGetChunk(demuxer, "XMP ", 1, &chunk)) {
        *xmp = lm_alloc(chunk.chunk.size + 1, 1);
        if (*xmp) {
            memcpy(*xmp, chunk.chunk.bytes, chunk.chunk.size);
            (*xmp)[chunk.chunk.size] = 0;
        } else
            status = lm_fail_memory(e, (double)chunk.chunk.size, "a comment");
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    WebPDemuxDelete(demuxer);
    return status;
}
