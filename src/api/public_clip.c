// Clips of the public interface: the media room's, always RGB.
#include "api/done.h"

#include "base/memory.h"
#include "base/plain_text.h"

#include <stdio.h>
#include <string.h>

int lumiere_clip_frames(const lumiere_clip *clip) {
    return clip->clip.frames;
}
int lumiere_clip_width(const lumiere_clip *clip) {
    return clip->clip.width;
}
int lumiere_clip_height(const lumiere_clip *clip) {
    return clip->clip.height;
}
double lumiere_clip_fps(const lumiere_clip *clip) {
    return clip->clip.fps;
}
const uint8_t *lumiere_clip_data(const lumiere_clip *clip) {
    return clip->clip.data;
}

lumiere_status lumiere_clip_read_over(lumiere_context *c, const char *path, const uint8_t background[3], double seconds,
                                      lumiere_clip **out) {
    lm_error e = {0};
    return lm_api_done(c, lm_clip_read(&e, path, background, seconds, out), &e);
}

lumiere_status lumiere_clip_read(lumiere_context *c, const char *path, lumiere_clip **out) {
    const uint8_t black[3] = {0};
    return lumiere_clip_read_over(c, path, black, 0, out);
}

lumiere_status lumiere_clip_create(lumiere_context *c, int frames, int width, int height, double fps,
                                   const uint8_t *pixels, lumiere_clip **out) {
    lm_error e = {0};
    lm_status status = fps >= 0 && fps <= 1000 ? LM_OK : lm_fail(&e, LM_USAGE, "%g frames a second", fps);
    *out = lm_alloc_zero(1, sizeof **out);
    if (!*out) status = lm_fail_memory(&e, sizeof **out, "a clip");
    if (status == LM_OK && (frames > LM_MAX_READ_FRAMES || width > LM_MAX_SIDE || height > LM_MAX_SIDE))
        status = lm_fail(&e, LM_USAGE, "a clip of %d frames of %dx%d; at most %d of %d a side are possible", frames,
                         width, height, LM_MAX_READ_FRAMES, LM_MAX_SIDE);
    if (status == LM_OK) status = lm_clip_alloc(&e, frames, width, height, 3, &(*out)->clip);
    if (status == LM_OK) {
        (*out)->clip.fps = fps;
        memcpy((*out)->clip.data, pixels, (size_t)frames * (size_t)width * (size_t)height * 3);
    } else
        lumiere_clip_free(out);
    return lm_api_done(c, status, &e);
}

void lumiere_clip_free(lumiere_clip **clip) {
    lm_held_clip_free(clip);
}

void lumiere_clip_hash(const lumiere_clip *clip, char out[17]) {
    lm_held_clip_hash(clip, out);
}

lumiere_status lumiere_clip_write(lumiere_context *c, const lumiere_clip *clip, const char *path, const char *recipe) {
    lm_error e = {0};
    return lm_api_done(c, lm_media_write(&e, path, &clip->clip, recipe), &e);
}

lumiere_status lumiere_output_check_for(lumiere_context *c, const char *path, const lumiere_output_shape *shape) {
    lm_error e = {0};
    const lumiere_output_shape s = shape ? *shape : (lumiere_output_shape){0};
    const lm_clip clip = {
        .frames = s.frames, .width = s.width, .height = s.height, .channels = s.alpha ? 4 : 3, .fps = s.fps};
    return lm_api_done(c, lm_media_check_output(&e, path, &clip, s.recipe, s.again), &e);
}

lumiere_status lumiere_output_check(lumiere_context *c, const char *path) {
    return lumiere_output_check_for(c, path, NULL);
}

lumiere_status lumiere_recipe_read(lumiere_context *c, const char *path, char **json) {
    lm_error e = {0};
    *json = NULL;
    return lm_api_done(c, lm_media_read_recipe(&e, path, json), &e);
}
