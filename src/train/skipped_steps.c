// Steps that change no weight: which, how many in a row, and when a run of them is ended.
#include "train/trainer_internal.h"

#include <math.h>

enum { MOST_IN_ROW = 20 };

typedef enum skip_reason { NOT_SKIPPED, LOSS_NOT_FINITE, GRADIENT_NOT_FINITE, LOSS_FAR_ABOVE_MEAN } skip_reason;

static skip_reason reason_for(const lm_trainer *t, const metrics_row *row) {
    if (!isfinite(row->loss)) return LOSS_NOT_FINITE;
    if (!isfinite(row->grad_norm)) return GRADIENT_NOT_FINITE;
    bool has_mean = t->step > t->cfg->warmup && t->step > t->skipped;
    return has_mean && row->loss > t->cfg->outlier * t->loss_mean ? LOSS_FAR_ABOVE_MEAN : NOT_SKIPPED;
}

static const char *what_was_wrong(skip_reason r) {
    static const char *const texts[] = {"", "the loss is not a finite number", "the gradient is not a finite number",
                                        "the loss is an outlier"};
    return texts[r];
}

static const char *what_to_try(const lm_trainer *t, skip_reason r) {
    if (r == LOSS_FAR_ABOVE_MEAN) return "a lower learning_rate, or a larger outlier";
    return t->o.precision == LM_F32 ? "a lower learning_rate, or other weights in init"
                                    : "a lower learning_rate, or --precision fp32";
}

static lm_status stop(lm_error *e, const lm_trainer *t, skip_reason r) {
    if (t->saved)
        return lm_fail(e, LM_FAILED,
                       "stopped at step %lld: %s, %d steps in a row; the checkpoint of step %lld stays; try %s",
                       (long long)t->step + 1, what_was_wrong(r), MOST_IN_ROW, (long long)t->saved, what_to_try(t, r));
    return lm_fail(e, LM_FAILED, "stopped at step %lld: %s, %d steps in a row; there is no checkpoint yet; try %s",
                   (long long)t->step + 1, what_was_wrong(r), MOST_IN_ROW, what_to_try(t, r));
}

lm_status lm_trainer_judge(lm_error *e, lm_trainer *t, const metrics_row *row, bool *keep) {
    skip_reason r = reason_for(t, row);
    *keep = r == NOT_SKIPPED;
    if (*keep) {
        t->skipped_in_row = 0;
        return LM_OK;
    }
    lm_trainer_log(t, "step %lld skipped: loss %g, gradient norm %g, running mean %g", (long long)t->step + 1,
                   row->loss, row->grad_norm, t->loss_mean);
    t->skipped++;
    return ++t->skipped_in_row < MOST_IN_ROW ? LM_OK : stop(e, t, r);
}

lm_status lm_trainer_judge_run(lm_error *e, const lm_trainer *t) {
    if (t->skipped < t->step) {
        if (t->skipped) lm_trainer_log(t, "%lld of %lld steps were skipped", (long long)t->skipped, (long long)t->step);
        return LM_OK;
    }
    return lm_fail(e, LM_FAILED, "all %lld steps were skipped, no weight has changed: the lines above say why; try %s",
                   (long long)t->step, what_to_try(t, LOSS_NOT_FINITE));
}
