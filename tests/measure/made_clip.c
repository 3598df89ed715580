#include "measure/made_clip.h"

#include "base/memory.h"

#include <string.h>

lumiere_context *context;

int context_open(void **state) {
    (void)state;
    return lumiere_context_create(&(lumiere_context_options){.threads = 1}, &context);
}

int context_close(void **state) {
    (void)state;
    lumiere_context_free(&context);
    return 0;
}

lumiere_clip *clip_make(int frames, int width, int height, pixel_formula f, const void *user) {
    lumiere_clip *c = lm_alloc_zero(1, sizeof *c);
    assert_non_null(c);
    assert_int_equal(lm_clip_alloc(NULL, frames, width, height, 3, &c->clip), LM_OK);
    c->clip.fps = 16;
    uint8_t *p = c->clip.data;
    for (int t = 0; t < frames; t++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int k = 0; k < 3; k++) *p++ = (uint8_t)f(user, t, y, x, k);
    return c;
}

const uint8_t *clip_pixel(const lumiere_clip *c, int t, int y, int x) {
    const lm_clip *m = &c->clip;
    return m->data + (((size_t)t * (size_t)m->height + (size_t)y) * (size_t)m->width + (size_t)x) * 3;
}

void assert_status(lumiere_status found, lumiere_status expected, const char *what) {
    const char *said = lumiere_error_message(context);
    if (found != expected || !strstr(said, what))
        fail_msg("status %d, \"%s\"; not %d and \"%s\"", (int)found, said, (int)expected, what);
}

int black(const void *user, int t, int y, int x, int k) {
    (void)user, (void)t, (void)y, (void)x, (void)k;
    return 0;
}

int level_of_frame(const void *user, int t, int y, int x, int k) {
    (void)y, (void)x, (void)k;
    return ((const int *)user)[t];
}
