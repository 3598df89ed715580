// What the style stage leaves beside its weights: the style file.
#include "train/trainer_internal.h"

#include "base/memory.h"
#include "store/style_file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

// "1415 pictures of style flat from data/emoji/stills.tar, 64 x 64 pixels, 2000 steps"; heap.
static char *made_from(const lm_trainer *t) {
    const lm_run_config *c = t->cfg;
    int n = lm_dataset_count(t->dataset, LM_SPLIT_TRAIN);
    return lm_format("%d picture%s from %.200s%s, %d x %d pixels, %lld steps of %d", n, n == 1 ? "" : "s",
                     c->data.at[0], c->data.count > 1 ? " and others" : "", (int)c->size, (int)c->size,
                     (long long)t->step, (int)c->batch);
}

// What the file gives back, against what it should: norm of the error over norm of the difference.
static lm_status measure_error(lm_error *e, const lm_trainer *t, const char *path, const float *average,
                               const float *original, double *out) {
    lm_style *s = NULL;
    float *made = lm_alloc((size_t)t->elements, sizeof *made);
    if (!made) return lm_fail_memory(e, (double)t->elements * 4, "the style");
    memcpy(made, original, (size_t)t->elements * sizeof *made);
    lm_status status = lm_style_open(e, path, &s);
    if (status == LM_OK) status = lm_style_add(e, s, t->slots, t->params, NULL, lm_style_base(s), 1, made);
    double error = 0, size = 0;
    for (int64_t i = 0; i < t->elements && status == LM_OK; i++) {
        double d = (double)made[i] - (double)average[i], whole = (double)average[i] - (double)original[i];
        error += d * d;
        size += whole * whole;
    }
    *out = size > 0 ? sqrt(error / size) : 0;
    lm_style_free(&s);
    lm_free(made);
    return status;
}

static lm_status save(lm_error *e, lm_trainer *t, const char *path, const float *average, float *original) {
    LM_TRY(lm_trainer_load_init(e, t, original));
    char *from = made_from(t);
    if (!from) return lm_fail_memory(e, 1e3, "the style");
    const lm_style_facts facts = {.name = lm_run_config_style_name(t->cfg),
                                  .licence = t->cfg->style_licence,
                                  .made_from = from,
                                  .rank = (int)t->cfg->style_rank};
    lm_status s = lm_style_write(e, path, t->slots, t->params, NULL, average, original, &facts);
    lm_free(from);
    LM_TRY(s);
    double error;
    struct stat info;
    LM_TRY(measure_error(e, t, path, average, original, &error));
    if (!stat(path, &info))
        lm_trainer_log(t, "style %s: %.2f MB, off by %.1f %% of its difference to the base", facts.name,
                       (double)info.st_size / 1e6, 100 * error);
    return LM_OK;
}

lm_status lm_trainer_save_style(lm_error *e, lm_trainer *t, const float *average) {
    char *path = lm_format("%s/%s.safetensors", t->cfg->out, lm_run_config_style_name(t->cfg));
    float *original = lm_alloc_zero((size_t)t->elements, sizeof *original);
    lm_status s = path && original ? save(e, t, path, average, original)
                                   : lm_fail_memory(e, (double)t->elements * 4, "the style");
    lm_free(original);
    lm_free(path);
    return s;
}
