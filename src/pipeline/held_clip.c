// Clips that several may hold: the public interface's handle.
#include "pipeline/context.h"

#include "base/memory.h"
#include "base/plain_text.h"
#include "store/file_digest.h"

#include <stdio.h>
#include <string.h>

void lm_held_clip_free(lumiere_clip **clip) {
    lumiere_clip *c = *clip;
    *clip = NULL;
    if (!c || atomic_fetch_sub(&c->borrowed, 1) > 0) return;
    lm_clip_free(&c->clip);
    lm_free(c);
}

lumiere_clip *lm_clip_hold(const lumiere_clip *clip) {
    lumiere_clip *c = (lumiere_clip *)clip; // what is held may be freed, and is read otherwise
    atomic_fetch_add(&c->borrowed, 1);
    return c;
}

// Drops alpha in place, over a colour: the bytes only move towards the front.
static void drop_alpha(lm_clip *c, const uint8_t background[3]) {
    if (c->channels != 4) return;
    int64_t pixels = (int64_t)c->frames * c->height * c->width;
    for (int64_t i = 0; i < pixels; i++) {
        int alpha = c->data[4 * i + 3];
        for (int k = 0; k < 3; k++)
            c->data[3 * i + k] = (uint8_t)((c->data[4 * i + k] * alpha + background[k] * (255 - alpha) + 127) / 255);
    }
    c->channels = 3;
}

lm_status lm_clip_read(lm_error *e, const char *path, const uint8_t background[3], double seconds, lumiere_clip **out) {
    lm_status status = LM_OK;
    *out = lm_alloc_zero(1, sizeof **out);
    if (!*out) status = lm_fail_memory(e, sizeof **out, "a clip");
    if (status == LM_OK && seconds > 0) status = lm_media_read_start(e, path, seconds, &(*out)->clip);
    if (status == LM_OK && !(seconds > 0)) status = lm_media_read(e, path, 0, &(*out)->clip);
    if (status == LM_OK)
        drop_alpha(&(*out)->clip, background);
    else
        lm_held_clip_free(out);
    return status;
}

void lm_held_clip_hash(const lumiere_clip *clip, char out[17]) {
    const lm_clip *c = &clip->clip;
    uint8_t digest[LM_DIGEST_BYTES];
    char shape[80];
    lm_digest *s = lm_digest_begin();
    double fps = c->fps_beside ? 0 : c->fps; // the same with the recipe and without
    int n = lm_text_format(shape, sizeof shape, "%d %d %d %.9g\n", c->frames, c->width, c->height, fps);
    lm_digest_add(s, shape, (size_t)n);
    lm_digest_add(s, c->data, (size_t)c->frames * (size_t)c->width * (size_t)c->height * 3);
    out[0] = 0; // there is no message to say it in
    if (lm_digest_end(NULL, &s, digest) == LM_OK) lm_digest_text(digest, out);
}
