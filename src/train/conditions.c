#include "train/conditions.h"

#include <math.h>
#include <stddef.h>

// An interval within [0,size), from an eighth of it to all of it long.
static void draw_span(lm_stream *random, int size, int *start, int *length) {
    int least = size / 8;
    *length = least + (int)lm_stream_below(random, size - least + 1);
    *start = (int)lm_stream_below(random, size - *length + 1);
}

lm_condition lm_condition_draw(lm_stream *random, int size) {
    static const lm_condition_kind kinds[] = {LM_GIVEN_NOTHING, LM_GIVEN_NOTHING,  LM_GIVEN_FIRST,
                                              LM_GIVEN_FIRST,   LM_GIVEN_AROUND,   LM_GIVEN_BOX,
                                              LM_GIVEN_BAND,    LM_GIVEN_DRIFTING, LM_GIVEN_CINEMAGRAPH};
    lm_condition c = {.kind = kinds[lm_stream_below(random, (int64_t)(sizeof kinds / sizeof *kinds))]};
    draw_span(random, size, &c.y, &c.height);
    draw_span(random, size, &c.x, &c.width);
    if (c.kind == LM_GIVEN_BAND) c.rows = lm_stream_uniform(random) < 0.5;
    if (c.kind == LM_GIVEN_DRIFTING) {
        int unused;
        draw_span(random, size, &c.y_end, &unused);
        draw_span(random, size, &c.x_end, &unused);
    }
    return c;
}

// One frame's mask: a box, end exclusive, and what the mask is in it and around it.
typedef struct mask {
    int top, bottom, left, right;
    float inside, outside;
} mask;

// The box of everything that differs by more than 0.1 from the first frame, two pixels wider; empty when nothing moves.
static mask moving_box(const float *x0, int frames, int size) {
    int top = size, bottom = -1, left = size, right = -1;
    int64_t pixels = (int64_t)size * size;
    for (int64_t i = pixels; i < frames * pixels; i++) {
        const float *now = x0 + i * 3, *first = x0 + i % pixels * 3;
        bool moved = false;
        for (int c = 0; c < 3; c++) moved |= fabsf(now[c] - first[c]) > 0.1f;
        if (!moved) continue;
        int y = (int)(i % pixels / size), x = (int)(i % size);
        if (y < top) top = y;
        if (y > bottom) bottom = y;
        if (x < left) left = x;
        if (x > right) right = x;
    }
    if (bottom < 0) return (mask){0, 0, 0, 0, 0, 1};
    return (mask){top - 2, bottom + 3, left - 2, right + 3, 0, 1};
}

static mask frame_mask(const lm_condition *c, const mask *moving, int frame, int frames, int size) {
    mask m = {c->y, c->y + c->height, c->x, c->x + c->width, 0, 0};
    switch (c->kind) {
    case LM_GIVEN_NOTHING:
        break;
    case LM_GIVEN_FIRST:
        m.inside = m.outside = frame == 0;
        break;
    case LM_GIVEN_AROUND:
        m.outside = 1;
        break;
    case LM_GIVEN_BOX:
        m.inside = 1;
        break;
    case LM_GIVEN_BAND:
        m.inside = 1;
        if (c->rows)
            m.left = 0, m.right = size;
        else
            m.top = 0, m.bottom = size;
        break;
    case LM_GIVEN_DRIFTING: {
        double p = (double)frame / (frames > 1 ? frames - 1 : 1);
        m.top = (int)rint(c->y + p * (c->y_end - c->y));
        m.left = (int)rint(c->x + p * (c->x_end - c->x));
        m.bottom = m.top + c->height, m.right = m.left + c->width;
        m.outside = 1;
        break;
    }
    case LM_GIVEN_CINEMAGRAPH:
        m = *moving;
        if (frame == 0) m.inside = 1;
        break;
    }
    return m;
}

void lm_condition_apply(const lm_condition *c, const float *x0, int frames, int size, float *out) {
    mask moving = {0};
    if (c->kind == LM_GIVEN_CINEMAGRAPH) moving = moving_box(x0, frames, size);
    for (int f = 0; f < frames; f++) {
        mask m = frame_mask(c, &moving, f, frames, size);
        for (int y = 0; y < size; y++)
            for (int x = 0; x < size; x++, x0 += 3, out += 4) {
                bool inside = y >= m.top && y < m.bottom && x >= m.left && x < m.right;
                float given = inside ? m.inside : m.outside;
                for (int k = 0; k < 3; k++) out[k] = x0[k] * given;
                out[3] = given;
            }
    }
}
