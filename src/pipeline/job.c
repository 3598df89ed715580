// A job resolved into its stages, and what they take.
#include "pipeline/job.h"

#include "base/clock.h"

#include <math.h>

// ---- resolving ----

// Text to video is made in two passes where the model, or who asks, says so: the whole clip at half the width and
// height first, then, enlarged and made noisy again, at its full size (a cascade of one network; the second pass is
// SDEdit, arXiv 2108.01073). Shapes come from the first pass, at the size of which the network has seen most; a step of
// it costs a quarter of one at full size.
enum { SMALLEST = 32 }; // pixels of the first pass, below which there is none unless it is asked for

static lm_status resolve_refine(lm_error *e, const lumiere_model *m, task *t) {
    const lm_generate_options *o = &t->o->generate;
    bool asked = o->refine != 0 || o->refine_set, text = t->o->task == LM_TASK_GENERATE;
    int side = t->r.width < t->r.height ? t->r.width : t->r.height;
    t->refine = asked ? o->refine : text && side >= 2 * SMALLEST ? lm_model_default(m, "refine") : 0;
    if (!(t->refine >= 0 && t->refine <= 1))
        return lm_fail(e, LM_USAGE, "refine is %g; 0 (one pass at full size) to 1 are possible", t->refine);
    if (t->refine > 0 && !text)
        return lm_fail(e, LM_USAGE, "%s begins with what is given; only text to video is refined from a smaller clip",
                       lm_task_name(t->o->task));
    return LM_OK;
}

static lm_stage *add_stage(lm_job *j, lm_stage_kind kind) {
    lm_stage *s = &j->stages[j->count++];
    *s = (lm_stage){.kind = kind, .continues = j->count > 1};
    return s;
}

static int half(int side) {
    return side > 1 ? side / 2 : 1;
}

static void add_passes(lm_job *j) {
    lm_stage *first = add_stage(j, LM_STAGE_SAMPLE);
    first->options = *j->task.o;
    first->task = j->task;
    first->task.o = &first->options;
    if (j->task.refine == 0) return;
    lm_request_resize(j->m, &first->task.r, half(j->task.r.width), half(j->task.r.height));
    const request *small = &first->task.r;
    j->between.clip = (lm_clip){
        .frames = small->frames, .width = small->width, .height = small->height, .channels = 3, .fps = small->fps};
    lm_stage *second = add_stage(j, LM_STAGE_SAMPLE);
    second->options = *j->task.o;
    second->options.task = LM_TASK_EDIT;
    second->options.input = &j->between;
    second->options.fit = LM_FIT_STRETCH;
    second->task = j->task;
    second->task.o = &second->options;
    second->task.strength = j->task.refine;
    lm_task_fill_given(&second->task);
}

lm_status lm_job_resolve(lm_error *e, lumiere_model *m, const lm_task_options *o, lm_job *out) {
    *out = (lm_job){.m = m, .settings = o->generate.settings, .input = o->input};
    task *t = &out->task;
    LM_TRY(lm_task_resolve(e, m, o, t));
    LM_TRY(resolve_refine(e, m, t));
    const lm_enlargement asked = o->generate.enlarge;
    t->enlarges = asked == LM_ENLARGE || (asked == LM_ENLARGE_DEFAULT && o->task == LM_TASK_GENERATE && m->ssr);
    add_passes(out);
    if (!t->enlarges) return LM_OK;
    const lm_upscale_options enlarge = {.prompt = t->r.prompt, .seed = t->r.seed, .clip = t->r.clip, .fps = t->r.fps};
    return lm_upscale_resolve(e, m, &enlarge, t->r.frames, t->r.width, t->r.height,
                              &add_stage(out, LM_STAGE_ENLARGE)->enlarge);
}

lm_status lm_job_resolve_upscale(lm_error *e, lumiere_model *m, const lumiere_clip *in, const lm_upscale_options *o,
                                 lm_job *out) {
    *out = (lm_job){.m = m, .settings = o->settings, .input = in, .input_digest = o->input_digest};
    lm_stage *s = add_stage(out, LM_STAGE_ENLARGE);
    LM_TRY(lm_upscale_resolve(e, m, o, in->clip.frames, in->clip.width, in->clip.height, &s->enlarge));
    s->enlarge.fps = lm_upscale_rate(&s->enlarge, &in->clip);
    return LM_OK;
}

// ---- what it takes ----

static int64_t evaluations(const lm_stage *s) {
    if (s->kind == LM_STAGE_ENLARGE) return lm_upscale_evaluations(&s->enlarge);
    const request *r = &s->task.r;
    return (int64_t)lm_task_steps(&s->task) * lm_evaluations_per_step(r) * r->windows.count;
}

static int stage_steps(const lm_stage *s) {
    return s->kind == LM_STAGE_ENLARGE ? (int)evaluations(s) : lm_task_steps(&s->task);
}

double lm_stage_work(const lm_stage *s) {
    return s->cost.flops * (double)evaluations(s);
}

static uint64_t stage_buffers(const lm_job *j, const lm_stage *s) {
    return s->kind == LM_STAGE_ENLARGE ? lm_upscale_buffer_bytes(&s->enlarge, j->m->own.threads)
                                       : lm_task_buffer_bytes(j->m, &s->task);
}

static lm_status stage_check(lm_error *e, const lm_job *j, lm_stage *s) {
    lumiere_model *m = j->m;
    if (s->kind == LM_STAGE_ENLARGE) {
        LM_TRY(lm_upscale_check(e, &m->own, m, &s->enlarge));
        return lm_upscale_cost(e, m, &s->enlarge, &s->cost);
    }
    LM_TRY(lm_base_check(e, m, &s->task.r));
    LM_TRY(lm_task_check_buffers(e, m, &s->task));
    return lm_base_cost(e, m, &s->task.r, &s->cost);
}

lm_status lm_stage_prepare(lm_error *e, const lm_job *j, lm_stage *s) {
    lumiere_model *m = j->m;
    if (s->kind == LM_STAGE_ENLARGE) {
        LM_TRY(lm_upscale_prepare(e, &m->own, m, &s->enlarge));
        return lm_upscale_cost(e, m, &s->enlarge, &s->cost);
    }
    LM_TRY(lm_base_prepare(e, m, &s->task.r));
    LM_TRY(lm_task_check_buffers(e, m, &s->task));
    return lm_base_cost(e, m, &s->task.r, &s->cost);
}

static lm_status check_prompts(lm_error *e, const lm_job *j, lumiere_estimate *out) {
    const lm_stage *first = &j->stages[0];
    if (first->kind == LM_STAGE_ENLARGE)
        return lm_prompt_check(e, j->m, first->enlarge.prompt, out->lost_words, sizeof out->lost_words);
    LM_TRY(lm_prompt_check(e, j->m, j->task.r.negative, out->lost_words, sizeof out->lost_words));
    return lm_prompt_check(e, j->m, j->task.r.prompt, out->lost_words, sizeof out->lost_words);
}

static void tell_task(const lm_job *j, lumiere_estimate *out) {
    const request *r = &j->task.r;
    const lm_given_options *g = &j->task.given_options;
    out->width = r->width;
    out->height = r->height;
    out->frames = r->frames;
    out->fps = r->fps;
    if (!j->input) return;
    const lm_fit fit = lm_given_fit(g);
    bool picture = g->task == LM_TASK_ANIMATE || g->task == LM_TASK_CINEMAGRAPH;
    lm_fit_describe(&fit, picture ? 1 : g->input->frames, g->input_fps, r->frames, r->fps, out->fit, sizeof out->fit);
}

static void tell_enlargement(const upscale_request *r, bool continues, lumiere_estimate *out) {
    if (continues) {
        out->base_width = out->width;
        out->base_height = out->height;
    } else {
        out->steps = r->steps;
        out->frames = r->frames;
        out->fps = r->fps;
    }
    out->width = r->width;
    out->height = r->height;
}

// All plans are made before the first stage runs; buffers are one stage's at a time.
lm_status lm_job_estimate(lm_error *e, lm_job *j, lumiere_estimate *out) {
    uint64_t buffers = 0;
    *out = (lumiere_estimate){0};
    LM_TRY(check_prompts(e, j, out));
    if (j->stages[0].kind == LM_STAGE_SAMPLE) tell_task(j, out);
    for (int i = 0; i < j->count; i++) {
        lm_stage *s = &j->stages[i];
        LM_TRY(stage_check(e, j, s));
        const uint64_t own = stage_buffers(j, s);
        buffers = own > buffers ? own : buffers;
        out->bytes += s->cost.bytes;
        out->flops += lm_stage_work(s);
        if (s->kind == LM_STAGE_SAMPLE)
            out->steps += lm_task_steps(&s->task);
        else
            tell_enlargement(&s->enlarge, s->continues, out);
    }
    out->bytes += buffers;
    return lm_estimate_seconds(e, &j->m->own, j->m, out->flops, &out->seconds);
}

bool lm_job_progress(const lm_job *j, int done, const lumiere_clip *preview) {
    if (!j->watch.progress) return true;
    const lm_stage *s = &j->stages[j->stage];
    int before = 0, all = 0;
    for (int i = 0; i < j->count; i++) {
        all += stage_steps(&j->stages[i]);
        if (i < j->stage) before = all;
    }
    const double work = j->done + lm_stage_work(s) * done / stage_steps(s);
    const double left = (lm_seconds() - j->started) / work * (j->all - work);
    return j->watch.progress(j->watch.progress_user, before + done, all, left, preview);
}
