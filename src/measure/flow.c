#include "measure/flow.h"
#include "base/arithmetic.h"
#include "base/memory.h"

#include <string.h>

enum {
    LEVELS = 6,
    COARSEST = 8, // pixels of the shorter side
    ROUNDS = 10,  // solutions a level
    RADIUS = 4,   // of the window
    TAPS = 2 * RADIUS + 1,
};
static const float LARGEST_STEP = 1; // pixels a round
// Weights of the flow around and of no flow at all, against the window's own squared gradient, (0 to 255 a pixel)^2.
static const float SMOOTHNESS = 4, STILLNESS = 0.25F;

// exp(-i^2 / 8), scaled to add up to 1
static const float window[TAPS] = {0.0276306F, 0.0662822F, 0.1238315F, 0.1801738F, 0.2041638F,
                                   0.1801738F, 0.1238315F, 0.0662822F, 0.0276306F};
static const float binomial[TAPS] = {0, 0, 0.0625F, 0.25F, 0.375F, 0.25F, 0.0625F, 0, 0};

typedef struct plane_size {
    int width, height;
} plane_size;

struct lm_flow {
    int levels;
    plane_size size[LEVELS];
    float *from[LEVELS], *to[LEVELS];
    float *gx, *gy, *gxx, *gxy, *gyy; // gradient of from, its windowed products
    float *bx, *by, *u, *v;           // right-hand side; smooth flow, or a coarser level's
    float *rows, *line;               // of a blur: a plane; a row with its borders
    float memory[];
};

static size_t area(plane_size s) {
    return (size_t)s.width * (size_t)s.height;
}

static int find_levels(int width, int height, plane_size *size) {
    int n = 0;
    for (;;) {
        size[n++] = (plane_size){width, height};
        width = (width + 1) / 2;
        height = (height + 1) / 2;
        if (n == LEVELS || width < COARSEST || height < COARSEST) return n;
    }
}

// Floats of all planes.
static size_t count_floats(const plane_size *size, int levels) {
    size_t n = 10 * area(size[0]) + (size_t)size[0].width + 2 * RADIUS;
    for (int i = 0; i < levels; i++) n += 2 * area(size[i]);
    return n;
}

size_t lm_flow_bytes(int width, int height) {
    plane_size size[LEVELS];
    int levels = find_levels(width, height, size);
    return sizeof(lm_flow) + count_floats(size, levels) * sizeof(float);
}

lm_flow *lm_flow_create(int width, int height) {
    lm_flow *f = lm_alloc_zero(1, lm_flow_bytes(width, height));
    if (!f) return NULL;
    f->levels = find_levels(width, height, f->size);
    float *at = f->memory;
    for (int i = 0; i < f->levels; i++) {
        f->from[i] = at, at += area(f->size[i]);
        f->to[i] = at, at += area(f->size[i]);
    }
    float **planes[] = {&f->gx, &f->gy, &f->gxx, &f->gxy, &f->gyy, &f->bx, &f->by, &f->u, &f->v, &f->rows};
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++, at += area(f->size[0])) *planes[i] = at;
    f->line = at;
    return f;
}

void lm_flow_free(lm_flow **flow) {
    lm_free(*flow);
    *flow = NULL;
}

// Along columns, then rows; borders are repeated. in and out may be one plane.
static void blur(lm_flow *f, plane_size s, const float weights[TAPS], const float *in, float *out) {
    size_t width = (size_t)s.width;
    memset(f->rows, 0, area(s) * sizeof(float));
    for (int y = 0; y < s.height; y++) {
        float *to = f->rows + (size_t)y * width;
        for (int k = 0; k < TAPS; k++) {
            const float *from = in + (size_t)lm_clamp_index(y + k - RADIUS, s.height) * width, w = weights[k];
            for (size_t x = 0; x < width; x++) to[x] += w * from[x];
        }
    }
    for (int y = 0; y < s.height; y++) {
        const float *from = f->rows + (size_t)y * width;
        float *to = out + (size_t)y * width, *line = f->line;
        memcpy(line + RADIUS, from, width * sizeof(float));
        for (int k = 0; k < RADIUS; k++) {
            line[k] = from[0];
            line[(size_t)RADIUS + width + (size_t)k] = from[width - 1];
        }
        for (size_t x = 0; x < width; x++) {
            float sum = 0;
            for (size_t k = 0; k < TAPS; k++) sum += weights[k] * line[x + k];
            to[x] = sum;
        }
    }
}

static void build_pyramid(lm_flow *f, const float *picture, float *const *levels) {
    memcpy(levels[0], picture, area(f->size[0]) * sizeof(float));
    for (int i = 1; i < f->levels; i++) {
        plane_size fine = f->size[i - 1], s = f->size[i];
        blur(f, fine, binomial, levels[i - 1], f->bx);
        for (int y = 0; y < s.height; y++)
            for (int x = 0; x < s.width; x++)
                levels[i][(size_t)y * (size_t)s.width + (size_t)x] =
                    f->bx[(size_t)(2 * y) * (size_t)fine.width + (size_t)(2 * x)];
    }
}

// Between four pixels; (x, y) lies within the plane.
static float sample(const float *p, plane_size s, float x, float y) {
    int left = (int)x, top = (int)y, right = lm_clamp_index(left + 1, s.width),
        bottom = lm_clamp_index(top + 1, s.height);
    float a = x - (float)left, b = y - (float)top;
    const float *upper = p + (size_t)top * (size_t)s.width, *lower = p + (size_t)bottom * (size_t)s.width;
    float above = upper[left] + a * (upper[right] - upper[left]),
          below = lower[left] + a * (lower[right] - lower[left]);
    return above + b * (below - above);
}

static void find_gradient(lm_flow *f, int level) {
    plane_size s = f->size[level];
    const float *p = f->from[level];
    for (int y = 0; y < s.height; y++) {
        const float *row = p + (size_t)y * (size_t)s.width;
        const float *above = p + (size_t)lm_clamp_index(y - 1, s.height) * (size_t)s.width;
        const float *below = p + (size_t)lm_clamp_index(y + 1, s.height) * (size_t)s.width;
        for (int x = 0; x < s.width; x++) {
            size_t i = (size_t)y * (size_t)s.width + (size_t)x;
            float gx = 0.5F * (row[lm_clamp_index(x + 1, s.width)] - row[lm_clamp_index(x - 1, s.width)]);
            float gy = 0.5F * (below[x] - above[x]);
            f->gx[i] = gx, f->gy[i] = gy;
            f->gxx[i] = gx * gx, f->gxy[i] = gx * gy, f->gyy[i] = gy * gy;
        }
    }
    blur(f, s, window, f->gxx, f->gxx);
    blur(f, s, window, f->gxy, f->gxy);
    blur(f, s, window, f->gyy, f->gyy);
}

// What every pixel says of the flow around it: gradient times (gradient . flow - what is still missed). A pixel whose
// source lies outside says that its flow is right.
static void find_right_side(lm_flow *f, int level, const float *u, const float *v) {
    plane_size s = f->size[level];
    float right = (float)(s.width - 1), bottom = (float)(s.height - 1);
    for (int y = 0; y < s.height; y++)
        for (int x = 0; x < s.width; x++) {
            size_t i = (size_t)y * (size_t)s.width + (size_t)x;
            float at_x = (float)x + u[i], at_y = (float)y + v[i], missed = 0;
            if (at_x >= 0 && at_y >= 0 && at_x <= right && at_y <= bottom)
                missed = sample(f->to[level], s, at_x, at_y) - f->from[level][i];
            float along = f->gx[i] * u[i] + f->gy[i] * v[i] - missed;
            f->bx[i] = f->gx[i] * along;
            f->by[i] = f->gy[i] * along;
        }
}

static float step_to(float from, float to) {
    float d = to - from;
    return from + (d < -LARGEST_STEP ? -LARGEST_STEP : d > LARGEST_STEP ? LARGEST_STEP : d);
}

// A round: in every window, the flow with the least squares of what is missed.
static void solve(lm_flow *f, int level, float *u, float *v) {
    plane_size s = f->size[level];
    find_right_side(f, level, u, v);
    blur(f, s, window, f->bx, f->bx);
    blur(f, s, window, f->by, f->by);
    blur(f, s, window, u, f->u);
    blur(f, s, window, v, f->v);
    size_t n = area(s);
    for (size_t i = 0; i < n; i++) {
        float xx = f->gxx[i] + SMOOTHNESS + STILLNESS, yy = f->gyy[i] + SMOOTHNESS + STILLNESS, xy = f->gxy[i];
        float bx = f->bx[i] + SMOOTHNESS * f->u[i], by = f->by[i] + SMOOTHNESS * f->v[i];
        float determinant = xx * yy - xy * xy; // at least (SMOOTHNESS + STILLNESS)^2
        u[i] = step_to(u[i], (yy * bx - xy * by) / determinant);
        v[i] = step_to(v[i], (xx * by - xy * bx) / determinant);
    }
}

// A coarser level's plane, in pixels of the finer one.
static void enlarge(const float *coarse, plane_size from, float *fine, plane_size to) {
    float right = (float)(from.width - 1), bottom = (float)(from.height - 1);
    for (int y = 0; y < to.height; y++)
        for (int x = 0; x < to.width; x++) {
            float at_x = 0.5F * (float)x, at_y = 0.5F * (float)y;
            fine[(size_t)y * (size_t)to.width + (size_t)x] =
                2 * sample(coarse, from, at_x < right ? at_x : right, at_y < bottom ? at_y : bottom);
        }
}

void lm_flow_run(lm_flow *f, const float *from, const float *to, float *u, float *v) {
    build_pyramid(f, from, f->from);
    build_pyramid(f, to, f->to);
    for (int level = f->levels - 1; level >= 0; level--) {
        plane_size s = f->size[level];
        if (level == f->levels - 1) {
            memset(u, 0, area(s) * sizeof(float));
            memset(v, 0, area(s) * sizeof(float));
        } else {
            plane_size coarse = f->size[level + 1];
            memcpy(f->u, u, area(coarse) * sizeof(float));
            memcpy(f->v, v, area(coarse) * sizeof(float));
            enlarge(f->u, coarse, u, s);
            enlarge(f->v, coarse, v, s);
        }
        find_gradient(f, level);
        for (int i = 0; i < ROUNDS; i++) solve(f, level, u, v);
    }
}
