// How much of a frame is the one before it, moved.
#include "measure/flow.h"
#include "measure/measure.h"

#include "base/arithmetic.h"
#include "base/memory.h"
#include "base/threads.h"

#include <math.h>
#include <stddef.h>

typedef struct planes {
    float *now, *before;            // luma
    float *u, *v, *back_u, *back_v; // from now to before; from before to now
} planes;

typedef struct worker {
    lm_flow *flow;
    float *memory;
    planes p;
} worker;

typedef struct job {
    const lm_clip *clip;
    worker *workers;
    int count;
    lm_warp_figures *out;
} job;

static size_t frame_pixels(const lm_clip *c) {
    return (size_t)c->width * (size_t)c->height;
}

static const uint8_t *frame_at(const lm_clip *c, int t) {
    return c->data + (size_t)t * frame_pixels(c) * 3;
}

// BT.601
static void find_luma(const lm_clip *c, int t, float *out) {
    const uint8_t *p = frame_at(c, t);
    size_t n = frame_pixels(c);
    for (size_t i = 0; i < n; i++, p += 3) out[i] = 0.299F * (float)p[0] + 0.587F * (float)p[1] + 0.114F * (float)p[2];
}

// Sum over the channels of what pixel is off from frame t at (x, y), which lies within it.
static double miss(const lm_clip *c, int t, float x, float y, const uint8_t *pixel) {
    const uint8_t *frame = frame_at(c, t);
    int left = (int)x, top = (int)y;
    float wx[4], wy[4], value[3] = {0};
    lm_cubic_weights((double)x - left, wx);
    lm_cubic_weights((double)y - top, wy);
    for (int i = 0; i < 4; i++) {
        const uint8_t *row = frame + (size_t)lm_clamp_index(top + i - 1, c->height) * (size_t)c->width * 3;
        for (int j = 0; j < 4; j++) {
            const uint8_t *p = row + (size_t)lm_clamp_index(left + j - 1, c->width) * 3;
            for (int k = 0; k < 3; k++) value[k] += wy[i] * wx[j] * (float)p[k];
        }
    }
    double sum = 0;
    for (int k = 0; k < 3; k++) sum += fabs(fmin(fmax((double)value[k], 0), 255) - pixel[k]);
    return sum;
}

// Whether the flow back from where pixel i came from, at (x, y), leads to i again: the test of Sundaram, Brox and
// Keutzer (ECCV 2010), with the flow back taken from the nearest pixel.
static bool agrees(const planes *p, size_t i, size_t source) {
    float du = p->u[i] + p->back_u[source], dv = p->v[i] + p->back_v[source];
    float there = p->u[i] * p->u[i] + p->v[i] * p->v[i];
    float back = p->back_u[source] * p->back_u[source] + p->back_v[source] * p->back_v[source];
    return du * du + dv * dv < 0.01F * (there + back) + 0.5F;
}

static lm_warp_figures sum_up(const lm_clip *c, int t, const planes *p) {
    const uint8_t *frame = frame_at(c, t);
    double error = 0, length = 0;
    int64_t covered = 0;
    float right = (float)(c->width - 1), bottom = (float)(c->height - 1);
    for (int y = 0; y < c->height; y++)
        for (int x = 0; x < c->width; x++) {
            size_t i = (size_t)y * (size_t)c->width + (size_t)x;
            float at_x = (float)x + p->u[i], at_y = (float)y + p->v[i];
            if (!(at_x >= 0 && at_y >= 0 && at_x <= right && at_y <= bottom)) continue;
            if (!agrees(p, i, (size_t)(at_y + 0.5F) * (size_t)c->width + (size_t)(at_x + 0.5F))) continue;
            covered++;
            error += miss(c, t - 1, at_x, at_y, frame + 3 * i);
            length += sqrt((double)p->u[i] * p->u[i] + (double)p->v[i] * p->v[i]);
        }
    if (!covered) return (lm_warp_figures){NAN, 0, NAN};
    double n = (double)covered;
    return (lm_warp_figures){error / (3 * n), n / (double)frame_pixels(c), length / n};
}

static lm_status run_pair(lm_error *e, void *context, int64_t piece, int thread) {
    (void)e;
    const job *j = context;
    worker *w = &j->workers[thread];
    int t = (int)piece + 1;
    find_luma(j->clip, t, w->p.now);
    find_luma(j->clip, t - 1, w->p.before);
    lm_flow_run(w->flow, w->p.now, w->p.before, w->p.u, w->p.v);
    lm_flow_run(w->flow, w->p.before, w->p.now, w->p.back_u, w->p.back_v);
    j->out[piece] = sum_up(j->clip, t, &w->p);
    return LM_OK;
}

static size_t worker_bytes(const lm_clip *c) {
    return lm_flow_bytes(c->width, c->height) + 6 * frame_pixels(c) * sizeof(float);
}

// As many workers as threads, but no more than there is work or memory for.
static lm_status choose_count(lm_error *e, const lm_clip *c, int threads, int *count) {
    uint64_t bytes = worker_bytes(c), most = lm_memory_available() / 2 / bytes;
    if (most < 1) return lm_fail_memory(e, (double)bytes, "the optical flow (measure without it, or a smaller clip)");
    *count = threads < c->frames - 1 ? threads : c->frames - 1;
    if ((uint64_t)*count > most) *count = (int)most;
    return LM_OK;
}

static lm_status make_workers(lm_error *e, job *j) {
    size_t n = frame_pixels(j->clip);
    j->workers = lm_alloc_zero((size_t)j->count, sizeof *j->workers);
    if (!j->workers) return lm_fail_memory(e, (double)(sizeof *j->workers), "the optical flow");
    for (int i = 0; i < j->count; i++) {
        worker *w = &j->workers[i];
        w->flow = lm_flow_create(j->clip->width, j->clip->height);
        w->memory = lm_alloc(6 * n, sizeof(float));
        if (!w->flow || !w->memory) return lm_fail_memory(e, (double)worker_bytes(j->clip), "the optical flow");
        float *m = w->memory;
        w->p = (planes){m, m + n, m + 2 * n, m + 3 * n, m + 4 * n, m + 5 * n};
    }
    return LM_OK;
}

lm_status lm_warp_errors(lm_error *e, const lm_clip *c, int threads, lm_warp_figures *out) {
    if (c->frames < 2) return LM_OK;
    job j = {.clip = c, .out = out};
    lm_pool *pool = NULL;
    LM_TRY(choose_count(e, c, threads, &j.count));
    lm_status status = make_workers(e, &j);
    if (status == LM_OK) status = lm_pool_create(e, j.count, &pool);
    if (status == LM_OK) status = lm_pool_run(e, pool, c->frames - 1, run_pair, &j);
    lm_pool_free(&pool);
    for (int i = 0; j.workers && i < j.count; i++) {
        lm_flow_free(&j.workers[i].flow);
        lm_free(j.workers[i].memory);
    }
    lm_free(j.workers);
    return status;
}
