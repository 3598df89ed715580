// Clips of the public interface: the media room's, always RGB.
#include "context.h"

#include "base/memory.h"

void lumiere_clip_free(lumiere_clip **clip) {
    if (!*clip) return;
    lm_clip_free(&(*clip)->clip);
    lm_free(*clip);
    *clip = NULL;
}

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

// Drops alpha in place, over black: the bytes only move towards the front.
static void drop_alpha(lm_clip *c) {
    if (c->channels != 4) return;
    int64_t pixels = (int64_t)c->frames * c->height * c->width;
    for (int64_t i = 0; i < pixels; i++)
        for (int k = 0; k < 3; k++)
            c->data[3 * i + k] = (uint8_t)((c->data[4 * i + k] * c->data[4 * i + 3] + 127) / 255);
    c->channels = 3;
}

lumiere_status lumiere_clip_read(lumiere_context *c, const char *path, lumiere_clip **out) {
    lm_error e = {0};
    lm_status status = LM_OK;
    *out = lm_alloc_zero(1, sizeof **out);
    if (!*out) status = lm_fail_memory(&e, sizeof **out, "a clip");
    if (status == LM_OK) status = lm_media_read(&e, path, 0, &(*out)->clip);
    if (status == LM_OK)
        drop_alpha(&(*out)->clip);
    else
        lumiere_clip_free(out);
    return api_done(c, status, &e);
}

lumiere_status lumiere_clip_write(lumiere_context *c, const lumiere_clip *clip, const char *path, const char *recipe) {
    lm_error e = {0};
    return api_done(c, lm_media_write(&e, path, &clip->clip, recipe), &e);
}

lumiere_status lumiere_output_check(lumiere_context *c, const char *path) {
    lm_error e = {0};
    return api_done(c, lm_media_check_output(&e, path), &e);
}

lumiere_status lumiere_recipe_read(lumiere_context *c, const char *path, char **json) {
    lm_error e = {0};
    *json = NULL;
    return api_done(c, lm_media_read_recipe(&e, path, json), &e);
}
