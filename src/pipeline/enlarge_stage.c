// The stage that enlarges a clip. Beside the noisy clip itself there is only one window of everything else: windows are
// taken in the order of time, and a frame takes its step as soon as no further window holds it, since none of those
// looks at it any more. So a longer clip takes 15 bytes a pixel: 12 for the noisy clip and 3 for the frames made.
#include "pipeline/job.h"

#include "base/memory.h"
#include "base/random.h"
#include "base/threads.h"
#include "diffusion/cascade.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "media/levels.h"

#include <math.h>
#include <string.h>

enum { NOISE_STEP = 1 }; // of the noise's key; the base network's is 0

typedef struct run {
    const lm_job *job;
    lumiere_model *m;
    const upscale_request *r;
    const lm_clip *in;
    lm_pool *pool;
    int64_t frame;           // floats of a frame as computed
    float *x;                // [frames, frame]: noisy residual
    float *sum;              // [window, frame]: predictions of frames that more windows may hold, from frame sum_at on
    float *cond;             // [window, frame]: input with its noise, enlarged, from frame cond_at on
    float *tile, *cond_tile; // of the network
    text_input text;
    float t;
    float *scratch;      // one piece for each thread
    int64_t piece;       // floats of a piece
    int sum_at, cond_at; // cond_at -1: nothing yet
    int step;
    int done; // evaluations
    lumiere_clip *out;
} run;

static lm_status allocate(lm_error *e, run *u, int threads) {
    const upscale_request *r = u->r;
    u->frame = (int64_t)r->run_width * r->run_height * 3;
    u->piece = 2 * (u->frame / (LM_ENLARGEMENT * LM_ENLARGEMENT));
    size_t window = (size_t)r->grid.time.window * (size_t)u->frame;
    u->x = lm_alloc((size_t)r->frames * (size_t)u->frame, sizeof(float));
    u->sum = lm_alloc_zero(window, sizeof(float));
    u->cond = lm_alloc(window, sizeof(float));
    u->tile = lm_alloc((size_t)lm_grid_floats(&r->grid), sizeof(float));
    u->cond_tile = lm_alloc((size_t)lm_grid_floats(&r->grid), sizeof(float));
    u->scratch = lm_alloc((size_t)u->piece * (size_t)threads, sizeof(float));
    if (!u->x || !u->sum || !u->cond || !u->tile || !u->cond_tile || !u->scratch)
        return lm_fail_memory(e, (double)lm_upscale_buffer_bytes(r, threads), "the clip to be made");
    u->out = lm_alloc_zero(1, sizeof *u->out);
    if (!u->out) return lm_fail_memory(e, sizeof *u->out, "a clip");
    LM_TRY(lm_clip_alloc(e, r->frames, r->width, r->height, 3, &u->out->clip));
    u->out->clip.fps = lm_upscale_rate(r, u->in);
    return LM_OK;
}

static void free_run(run *u) {
    lm_free(u->x);
    lm_free(u->sum);
    lm_free(u->cond);
    lm_free(u->tile);
    lm_free(u->cond_tile);
    lm_text_input_free(&u->text);
    lm_free(u->scratch);
    lm_held_clip_free(&u->out);
    lm_pool_free(&u->pool);
}

// A frame of the input as [-1,1], its last row and column repeated up to what the network needs.
static void load_low(const run *u, int frame, float *low) {
    const lm_clip *in = u->in;
    int width = u->r->run_width / LM_ENLARGEMENT, height = u->r->run_height / LM_ENLARGEMENT;
    const uint8_t *from = in->data + (int64_t)frame * in->width * in->height * 3;
    for (int y = 0; y < height; y++) {
        const uint8_t *row = from + (int64_t)(y < in->height ? y : in->height - 1) * in->width * 3;
        const int given = width < in->width ? width : in->width;
        lm_floats_from_bytes(low, row, 3 * (size_t)given);
        for (int x = given; x < width; x++) memcpy(low + 3 * x, low + 3 * (given - 1), 3 * sizeof *low);
        low += 3 * width;
    }
}

// The condition's noise is drawn anew for every window: it costs little beside the network, and keeping it would take
// as much memory as the clip.
static lm_status make_cond(lm_error *e, void *user, int64_t i, int thread) {
    (void)e;
    const run *u = user;
    const upscale_request *r = u->r;
    int width = r->run_width / LM_ENLARGEMENT, height = r->run_height / LM_ENLARGEMENT, frame = u->cond_at + (int)i;
    int64_t n = (int64_t)width * height * 3;
    float *low = u->scratch + u->piece * thread, *noise = low + n;
    load_low(u, frame, low);
    if (r->noise_level > 0) {
        lm_random_normal(noise, n, r->seed, LM_FOR_LOW, r->clip, (uint32_t)frame, NOISE_STEP);
        lm_add_noise(lm_level_at(r->noise_level), noise, n, low);
    }
    lm_enlarge(low, height, width, 0, 0, r->run_height, r->run_width, u->cond + i * u->frame);
    return LM_OK;
}

// Bytes of the frames and pixels that were asked for, of clean frames that begin at first; out of range is clamped.
static void store_frames(run *u, const float *x0, int first, int frames) {
    const lm_clip *out = &u->out->clip;
    uint8_t *to = out->data + (int64_t)first * out->width * out->height * 3;
    for (int f = 0; f < frames; f++)
        for (int y = 0; y < out->height; y++) {
            const float *row = x0 + f * u->frame + (int64_t)y * u->r->run_width * 3;
            lm_bytes_from_floats(to, row, 3 * (size_t)out->width);
            to += 3 * out->width;
        }
}

static bool preview_due(const run *u) {
    int every = u->job->watch.preview_every;
    return every > 0 && (u->step + 1) % every == 0 && u->step + 1 < u->r->steps;
}

// Frames from sum_at to end - 1 have all their predictions: they take the step, and the sums move up.
static lm_status finish_frames(lm_error *e, run *u, int end) {
    const upscale_request *r = u->r;
    int frames = end - u->sum_at;
    if (frames <= 0) return LM_OK;
    double t = lm_step_time(LM_NOISIEST_TIME, 0, u->step, r->steps),
           next = lm_step_time(LM_NOISIEST_TIME, 0, u->step + 1, r->steps);
    lm_grid_divide(&r->grid, u->sum, u->sum_at, frames);
    if (!lm_ddim_step(t, next, INFINITY, u->x + u->sum_at * u->frame, u->sum, frames * u->frame))
        return lm_fail(e, LM_FAILED,
                       "the super-resolution network's output is not a number in step %d of %d; the weights may be "
                       "damaged, or fp32 precision may help",
                       u->step + 1, r->steps);
    if (preview_due(u) || u->step + 1 == r->steps) {
        const float *cond = u->cond + (u->sum_at - u->cond_at) * u->frame; // of the last window that held them
        lm_from_residual(cond, lm_level_at(r->noise_level).alpha, u->m->ssr->config.residual_scale, frames * u->frame,
                         u->sum);
        store_frames(u, u->sum, u->sum_at, frames);
    }
    size_t kept = (size_t)((r->grid.time.window - frames) * u->frame);
    memmove(u->sum, u->sum + frames * u->frame, kept * sizeof *u->sum);
    memset(u->sum + kept, 0, (size_t)(frames * u->frame) * sizeof *u->sum);
    u->sum_at = end;
    return LM_OK;
}

static lm_status stopped(lm_error *e, const run *u) {
    return lm_fail(e, LM_CANCELLED, "stopped in step %d of %d of the enlargement", u->step + 1, u->r->steps);
}

static lm_status evaluate(lm_error *e, run *u, int i, int row, int column) {
    const lm_grid *g = &u->r->grid;
    const lm_net_use use = lm_upscale_use(u->m, u->r);
    lm_grid_take(g, i, row, column, u->x, 0, u->tile);
    lm_grid_take(g, i, row, column, u->cond, u->cond_at, u->cond_tile);
    const lm_feed feeds[] = {{"x", u->tile},
                             {"cond", u->cond_tile},
                             {"t", &u->t},
                             {"text", u->text.states},
                             {"mask", u->text.mask},
                             {"noise_level", &(const float){(float)u->r->noise_level}},
                             {NULL, NULL}};
    lm_error why = {0};
    const lm_status status = lm_network_run(&why, u->m->ssr->network, &use, lm_weights_params(u->m->ssr->weights), NULL,
                                            feeds, (const lm_fetch[]){{"v", u->tile}, {NULL, NULL}});
    if (status == LM_CANCELLED) return stopped(e, u);
    if (status != LM_OK) return lm_fail(e, status, "%s", why.text);
    lm_grid_add(g, i, row, column, u->tile, u->sum, u->sum_at);
    return LM_OK;
}

static lm_status report(lm_error *e, run *u, bool step_done) {
    const lumiere_clip *preview = step_done && preview_due(u) ? u->out : NULL;
    if (lm_job_progress(u->job, ++u->done, preview)) return LM_OK;
    return stopped(e, u);
}

static lm_status window(lm_error *e, run *u, int i) {
    const lm_grid *g = &u->r->grid;
    int start = lm_window_start(&g->time, i), tiles = g->rows.count * g->columns.count;
    bool last = i + 1 == g->time.count;
    LM_TRY(finish_frames(e, u, start));
    if (u->cond_at != start) {
        u->cond_at = start;
        LM_TRY(lm_pool_run(e, u->pool, g->time.window, make_cond, u));
    }
    for (int k = 0; k < tiles; k++) {
        LM_TRY(evaluate(e, u, i, k / g->columns.count, k % g->columns.count));
        bool step_done = last && k + 1 == tiles;
        if (step_done) LM_TRY(finish_frames(e, u, u->r->frames));
        LM_TRY(report(e, u, step_done));
    }
    return LM_OK;
}

static lm_status take_steps(lm_error *e, run *u) {
    const upscale_request *r = u->r;
    LM_TRY(lm_text_input_encode(e, u->m->text, r->prompt, &u->text));
    lm_noise_fill_still(u->x, r->frames, u->frame, r->seed, r->clip, NOISE_STEP);
    for (u->step = 0; u->step < r->steps; u->step++) {
        u->t = (float)lm_step_time(LM_NOISIEST_TIME, 0, u->step, r->steps);
        u->sum_at = 0;
        for (int i = 0; i < r->grid.time.count; i++) LM_TRY(window(e, u, i));
    }
    return LM_OK;
}

lm_status lm_enlarge_run(lm_error *e, const lm_job *j, const lm_stage *s, const lumiere_clip *in, lumiere_clip **out) {
    run u = {.job = j, .m = j->m, .r = &s->enlarge, .in = &in->clip, .cond_at = -1};
    const int threads = j->m->own.threads;
    *out = NULL;
    lm_status status = lm_pool_create(e, threads, &u.pool);
    if (status == LM_OK) status = allocate(e, &u, threads);
    if (status == LM_OK) status = take_steps(e, &u);
    if (status == LM_OK) {
        *out = u.out;
        u.out = NULL;
    }
    free_run(&u);
    return status;
}
