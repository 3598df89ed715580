// A job's run: prompt -> tokens -> text states -> sampler <-> U-Net -> super-resolution -> frames.
#include "pipeline/job.h"

#include "base/clock.h"

static bool goes_on(void *user) {
    const lm_job *j = user;
    return !atomic_load(j->cancelled);
}

static void watch_networks(lm_job *j) {
    lm_go_on_fn go_on = j->cancelled ? goes_on : NULL;
    lm_network_watch(j->m->base, go_on, j);
    if (j->m->ssr) lm_network_watch(j->m->ssr->network, go_on, j);
}

static void leave_networks(lm_job *j) {
    lm_network_watch(j->m->base, NULL, NULL);
    if (j->m->ssr) lm_network_watch(j->m->ssr->network, NULL, NULL);
}

// What is wrong with any stage is known before the first one computes.
static lm_status prepare(lm_error *e, lm_job *j) {
    j->all = j->done = 0;
    if (j->stages[0].kind == LM_STAGE_SAMPLE) LM_TRY(lm_model_load(e, j->m));
    for (int i = 0; i < j->count; i++) {
        LM_TRY(lm_stage_prepare(e, j, &j->stages[i]));
        j->all += lm_stage_work(&j->stages[i]);
    }
    return LM_OK;
}

static lm_status run_stage(lm_error *e, lm_job *j, lumiere_clip **clip) {
    lm_stage *s = &j->stages[j->stage];
    const lumiere_clip *in = s->continues ? *clip : j->input;
    if (s->kind == LM_STAGE_SAMPLE) return lm_sample_run(e, j, s, in, clip);
    if (s->continues && j->watch.base && !j->watch.base(j->watch.base_user, in))
        return lm_fail(e, LM_CANCELLED, "stopped before the enlargement");
    return lm_enlarge_run(e, j, s, in, clip);
}

lm_status lm_job_run(lm_error *e, lm_job *j, lumiere_clip **out) {
    lumiere_clip *clip = NULL;
    *out = NULL;
    watch_networks(j);
    lm_status status = prepare(e, j);
    j->started = lm_seconds();
    for (j->stage = 0; j->stage < j->count && status == LM_OK; j->stage++) {
        lumiere_clip *before = clip;
        status = run_stage(e, j, &clip);
        if (status != LM_OK) clip = NULL;
        lm_held_clip_free(&before);
        j->done += lm_stage_work(&j->stages[j->stage]);
    }
    leave_networks(j);
    if (status == LM_OK) *out = clip;
    return status;
}
