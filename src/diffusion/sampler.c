#include "diffusion/sampler.h"

#include "base/memory.h"
#include "diffusion/guidance.h"
#include "diffusion/schedule.h"

#include <math.h>

// x0 of the present step and of the one before it, and v, which is scratch once x0 is known.
typedef struct sample_state {
    float *x0, *last, *v;
    double last_h; // lambda's step that led to the present time; 0 in the first step
} sample_state;

static bool all_finite(const float *x, int64_t n) {
    bool ok = true;
    for (int64_t i = 0; i < n; i++) ok &= isfinite(x[i]) != 0;
    return ok;
}

static lm_status predict_x0(lm_error *e, const lm_sampler *s, int step, double t, const float *x, int64_t n,
                            sample_state *m) {
    LM_TRY(s->denoise(e, s->user, x, t, m->v));
    lm_v_to_x0(lm_level_at(t), x, m->v, n, m->x0);
    if (!all_finite(m->x0, n))
        return lm_fail(
            e, LM_FAILED,
            "the network's output is not a number in step %d of %d (t = %.3f); the weights may be damaged, or "
            "fp32 precision may help",
            step + 1, s->steps, t);
    if (s->dynamic_threshold > 0)
        lm_dynamic_threshold(m->x0, n, s->dynamic_threshold, m->v);
    else if (s->clamp < INFINITY)
        lm_clamp(m->x0, n, (float)s->clamp);
    return LM_OK;
}

// x_next = alpha' x0 + sigma' eps with eps = (x - alpha x0) / sigma.
static void ddim_step(lm_level from, lm_level to, float *x, const float *x0, int64_t n) {
    const float a = (float)from.alpha, s = (float)from.sigma, a2 = (float)to.alpha, s2 = (float)to.sigma;
    for (int64_t i = 0; i < n; i++) x[i] = a2 * x0[i] + s2 * ((x[i] - a * x0[i]) / s);
}

bool lm_ddim_step(double t, double next, float clamp, float *x, float *v, int64_t n) {
    lm_v_to_x0(lm_level_at(t), x, v, n, v);
    if (!all_finite(v, n)) return false;
    lm_clamp(v, n, clamp);
    ddim_step(lm_level_at(t), lm_level_at(next), x, v, n);
    return true;
}

double lm_step_time(double t_start, double t_end, int i, int steps) {
    return i == steps ? t_end : t_start + (t_end - t_start) * i / steps;
}

// x_next = (sigma' / sigma) x - alpha' (exp(-h) - 1) D, D = (1 + 1 / 2r) x0 - (1 / 2r) x0_last, r = h_last / h.
// The first step and the one to sigma' = 0, where h is infinite, have D = x0.
static void dpmpp_step(lm_level from, lm_level to, float *x, int64_t n, sample_state *m) {
    double h = lm_level_lambda(to) - lm_level_lambda(from);
    double half_inverse_r = m->last_h > 0 && isfinite(h) ? h / (2 * m->last_h) : 0;
    const float keep = (float)(to.sigma / from.sigma), gain = (float)(-to.alpha * expm1(-h));
    const float now = (float)(1 + half_inverse_r), before = (float)half_inverse_r;
    if (half_inverse_r > 0)
        for (int64_t i = 0; i < n; i++) x[i] = keep * x[i] + gain * (now * m->x0[i] - before * m->last[i]);
    else
        for (int64_t i = 0; i < n; i++) x[i] = keep * x[i] + gain * m->x0[i];
    m->last_h = h;
}

static lm_status run_steps(lm_error *e, const lm_sampler *s, float *x, int64_t n, sample_state *m) {
    for (int i = 0; i < s->steps; i++) {
        double t = lm_step_time(s->t_start, s->t_end, i, s->steps);
        double next = lm_step_time(s->t_start, s->t_end, i + 1, s->steps);
        LM_TRY(predict_x0(e, s, i, t, x, n, m));
        if (s->kind == LM_SAMPLER_DDIM)
            ddim_step(lm_level_at(t), lm_level_at(next), x, m->x0, n);
        else
            dpmpp_step(lm_level_at(t), lm_level_at(next), x, n, m);
        if (s->progress && !s->progress(s->user, i + 1, s->steps, m->x0))
            return lm_fail(e, LM_CANCELLED, "stopped after step %d of %d", i + 1, s->steps);
        float *swap = m->last;
        m->last = m->x0;
        m->x0 = swap;
    }
    return LM_OK;
}

lm_status lm_sample(lm_error *e, const lm_sampler *s, float *x, int64_t n) {
    if (s->steps < 1) return lm_fail(e, LM_USAGE, "%d sampling steps; at least 1 is needed", s->steps);
    if (!(s->t_start > s->t_end && s->t_end >= 0 && s->t_start < 1))
        return lm_fail(e, LM_USAGE, "sampling from time %g to %g; 1 > start > end >= 0 is needed", s->t_start,
                       s->t_end);
    sample_state m = {lm_alloc((size_t)n, sizeof(float)), lm_alloc((size_t)n, sizeof(float)),
                      lm_alloc((size_t)n, sizeof(float)), 0};
    lm_status status = m.x0 && m.last && m.v ? run_steps(e, s, x, n, &m)
                                             : lm_fail_memory(e, (double)lm_sample_bytes(n), "the sampler");
    lm_free(m.x0);
    lm_free(m.last);
    lm_free(m.v);
    return status;
}

uint64_t lm_sample_bytes(int64_t n) {
    return 3 * sizeof(float) * (uint64_t)n;
}
