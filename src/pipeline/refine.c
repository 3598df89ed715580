// Text to video in two passes: the whole clip at half the width and height first, then, enlarged and made noisy again,
// at its full size (a cascade of one network; the second pass is SDEdit, arXiv 2108.01073). Shapes come from the first
// pass, at the size of which the network has seen most; a step of it costs a quarter of one at full size.
#include "pipeline/upscale.h"

#include "base/clock.h"

enum { SMALLEST = 32 }; // pixels of the first pass, below which there is none unless it is asked for

lm_status lm_refine_resolve(lm_error *e, const lumiere_model *m, task *t) {
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

static int half(int side) {
    return side > 1 ? side / 2 : 1;
}

lm_task_options lm_refine_first(const task *t) {
    lm_task_options o = *t->o;
    o.generate.width = half(t->r.width);
    o.generate.height = half(t->r.height);
    o.generate.refine = 0;
    o.generate.refine_set = true;
    o.generate.enlarge = LM_ENLARGE_NOT;
    return o;
}

lm_task_options lm_refine_second(const task *t, const lumiere_clip *first) {
    lm_task_options o = *t->o;
    o.task = LM_TASK_EDIT;
    o.input = first;
    o.fit = LM_FIT_STRETCH;
    o.fit_set = true;
    o.strength = t->refine;
    o.strength_set = true;
    o.generate.frames = t->r.frames;
    o.generate.refine = 0;
    o.generate.refine_set = true;
    o.generate.enlarge = t->enlarges ? LM_ENLARGE : LM_ENLARGE_NOT;
    return o;
}

lumiere_clip lm_refine_first_shape(const task *t) {
    return (lumiere_clip){.clip = {.frames = t->r.frames,
                                   .width = half(t->r.width),
                                   .height = half(t->r.height),
                                   .channels = 3,
                                   .fps = t->r.fps}};
}

// The passes' steps as those of one run.
typedef struct passes {
    const lm_generate_options *o;
    int before, after;   // steps of the other pass
    double later, start; // work of the second pass in units of the first's; when that began
} passes;

static bool report(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    const passes *p = user;
    if (p->after) seconds_left += (lm_seconds() - p->start) / step * steps * p->later;
    return p->o->progress(p->o->user, p->before + step, p->before + steps + p->after, seconds_left, preview);
}

static bool hand_on_base(void *user, const lumiere_clip *clip) {
    const passes *p = user;
    return p->o->base(p->o->user, clip);
}

// Makes the second pass ready before the first one runs, so that what is wrong with it is known then.
static lm_status look_ahead(lm_error *e, const lumiere_context *c, lumiere_model *m, const task *second,
                            const request *first, passes *p) {
    const request *r = &second->r;
    LM_TRY(lm_base_prepare(e, m, r));
    LM_TRY(lm_task_check_buffers(e, m, second));
    lm_net_cost base, ssr;
    LM_TRY(lm_base_cost(e, m, r, &base));
    double step = base.flops * lm_evaluations_per_step(r) * r->windows.count;
    double small = step * first->run_width * first->run_height / r->run_width / r->run_height;
    p->after = lm_task_steps(second);
    p->later = step * p->after;
    if (second->enlarges) {
        upscale_request u;
        LM_TRY(lm_task_enlargement(e, m, second, &u));
        LM_TRY(lm_upscale_prepare(e, c, m, &u));
        p->after += (int)lm_upscale_evaluations(&u);
        LM_TRY(lm_upscale_cost(e, m, &u, &ssr));
        p->later += ssr.flops * (double)lm_upscale_evaluations(&u);
    }
    p->later /= small * first->steps;
    return LM_OK;
}

lm_status lm_refine_run(lm_error *e, const lumiere_context *c, lumiere_model *m, const task *t, lumiere_clip **out) {
    passes p = {.o = &t->o->generate};
    lumiere_clip shape = lm_refine_first_shape(t), *small = NULL;
    lm_task_options first = lm_refine_first(t), second = lm_refine_second(t, &shape);
    first.generate.user = second.generate.user = &p;
    if (p.o->progress) first.generate.progress = second.generate.progress = report;
    if (p.o->base) second.generate.base = hand_on_base;
    task one, two;
    LM_TRY(lm_task_resolve(e, m, &first, &one));
    LM_TRY(lm_task_resolve(e, m, &second, &two));
    LM_TRY(look_ahead(e, c, m, &two, &one.r, &p));
    p.start = lm_seconds();
    LM_TRY(lm_task_run(e, c, m, &first, &small));
    p.before = lm_task_steps(&one);
    p.after = 0;
    second.input = small;
    lm_status status = lm_task_run(e, c, m, &second, out);
    lm_held_clip_free(&small);
    return status;
}
