// Looking at the weights during training: validation loss and sample sheets, both from the averaged weights.
#include "train/trainer_internal.h"

#include "base/memory.h"
#include "diffusion/guidance.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "media/media.h"
#include "train/augment.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VALIDATION_SEED = 20240123 }; // of the triples, whatever the run's own seed: losses of different runs compare

// Triple i is the same for any batch size; their number is rounded up to whole batches.
lm_status trainer_validate(lm_error *e, lm_trainer *t, double *out) {
    lm_batch_options o = t->batch;
    o.split = LM_SPLIT_VALIDATION;
    o.seed = VALIDATION_SEED;
    o.caption_dropout = 0;
    int chunks = (int)((t->cfg->validation_clips + o.clips - 1) / o.clips);
    double sum = 0;
    lm_plan_bind(t->eval.plan, t->average, NULL);
    for (int i = 0; i < chunks; i++) {
        lm_train_batch b;
        o.first = i * o.clips;
        LM_TRY(lm_train_batch_make(e, t->dataset, &o, 0, chunks * o.clips, &b));
        lm_status s = trainer_feed(e, t, &t->eval, &b);
        lm_train_batch_free(&b);
        LM_TRY(s);
        LM_TRY(lm_plan_run(e, t->eval.plan));
        float loss;
        LM_TRY(lm_plan_read(e, t->eval.plan, t->eval.loss, &loss, sizeof loss));
        sum += (double)loss;
    }
    *out = sum / chunks;
    return LM_OK;
}

// One clip being sampled: a network of one clip and its two texts.
typedef struct sheet {
    lm_trainer *t;
    train_network n;
    float *text[2], *mask[2]; // prompt and ""
    float *other;             // the unconditional prediction
    float moments[LM_MOMENTS];
    int64_t count; // floats of a clip
} sheet;

static lm_status predict(lm_error *e, sheet *s, int which, float *v) {
    size_t width = (size_t)lm_text_encoder_width(s->t->encoder);
    LM_TRY(lm_plan_write(e, s->n.plan, s->n.io.text, s->text[which], LM_TEXT_TOKENS * width * sizeof(float)));
    LM_TRY(lm_plan_write(e, s->n.plan, s->n.io.mask, s->mask[which], LM_TEXT_TOKENS * sizeof(float)));
    LM_TRY(lm_plan_run(e, s->n.plan));
    return lm_plan_read(e, s->n.plan, s->n.io.v, v, (size_t)s->count * sizeof(float));
}

static lm_status denoise(lm_error *e, void *user, const float *x, double time, float *v) {
    sheet *s = user;
    float t32 = (float)time;
    LM_TRY(lm_plan_write(e, s->n.plan, s->n.io.x, x, (size_t)s->count * sizeof(float)));
    LM_TRY(lm_plan_write(e, s->n.plan, s->n.io.t, &t32, sizeof t32));
    if (s->n.io.moment.id >= 0) {
        int frames = s->t->batch.frames;
        for (int f = 0; f < frames; f++)
            s->moments[f] = frames > 1 ? (float)f / (float)(frames - 1) : LM_MOMENT_UNKNOWN;
        LM_TRY(lm_plan_write(e, s->n.plan, s->n.io.moment, s->moments, (size_t)frames * sizeof(float)));
    }
    LM_TRY(predict(e, s, 0, v));
    LM_TRY(predict(e, s, 1, s->other));
    lm_guide(v, s->other, s->count, (float)s->t->cfg->sample_cfg_scale);
    return LM_OK;
}

enum { COLUMNS = 10 };

// Frames spread over the clip into row `row` of the sheet; pictures fill the rows from left to right.
static void paste(const lm_clip *picture, const float *x, int frames, int size, int index) {
    int shown = frames > 1 ? COLUMNS : 1;
    for (int c = 0; c < shown; c++) {
        int f = shown > 1 ? (int)lround((double)c * (frames - 1) / (COLUMNS - 1)) : 0;
        int column = shown > 1 ? c : index % COLUMNS, row = shown > 1 ? index : index / COLUMNS;
        for (int y = 0; y < size; y++)
            for (int i = 0; i < size * 3; i++) {
                float v = x[((int64_t)f * size + y) * size * 3 + i];
                float level = (fminf(fmaxf(v, -1), 1) + 1) * 127.5f;
                picture->data[((int64_t)(row * size + y) * picture->width + column * size) * 3 + i] =
                    (uint8_t)lrintf(level);
            }
    }
}

static lm_status sample_one(lm_error *e, sheet *s, const char *prompt, int index, float *x) {
    LM_TRY(lm_text_cache_get(e, s->t->texts, prompt, s->text[0], s->mask[0]));
    int64_t frames = s->t->batch.frames;
    lm_noise_fill(x, frames, s->count / frames, (uint64_t)s->t->cfg->seed, (uint32_t)index, 0);
    lm_sampler sampler = {.kind = LM_SAMPLER_DPMPP_2M,
                          .steps = (int)s->t->cfg->sample_steps,
                          .t_start = LM_NOISIEST_TIME,
                          .clamp = 1,
                          .denoise = denoise,
                          .user = s};
    return lm_sample(e, &sampler, x, s->count);
}

static lm_status fill_sheet(lm_error *e, sheet *s, lm_clip *picture) {
    lm_trainer *t = s->t;
    size_t width = (size_t)lm_text_encoder_width(t->encoder);
    float *x = lm_alloc((size_t)s->count, sizeof(float)), *zero = NULL;
    s->other = lm_alloc((size_t)s->count, sizeof(float));
    bool ok = x && s->other;
    for (int i = 0; i < 2; i++) {
        s->text[i] = lm_alloc(LM_TEXT_TOKENS * width, sizeof(float));
        s->mask[i] = lm_alloc(LM_TEXT_TOKENS, sizeof(float));
        ok = ok && s->text[i] && s->mask[i];
    }
    lm_status status =
        ok ? lm_text_cache_get(e, t->texts, "", s->text[1], s->mask[1]) : lm_fail_memory(e, 1e6, "the sample sheet");
    if (status == LM_OK && s->n.io.cond.id >= 0) {
        size_t n = (size_t)s->count / 3 * (size_t)t->net.cond_channels;
        zero = lm_alloc_zero(n, sizeof(float));
        status = zero ? lm_plan_write(e, s->n.plan, s->n.io.cond, zero, n * sizeof(float))
                      : lm_fail_memory(e, (double)n, "the sample sheet");
    }
    for (int i = 0; i < t->cfg->sample_prompts.count && status == LM_OK; i++) {
        status = sample_one(e, s, t->cfg->sample_prompts.at[i], i, x);
        if (status == LM_OK) paste(picture, x, t->batch.frames, (int)t->cfg->size, i);
    }
    lm_free(x);
    lm_free(zero);
    return status;
}

lm_status trainer_sample_sheet(lm_error *e, lm_trainer *t) {
    int prompts = t->cfg->sample_prompts.count, size = (int)t->cfg->size, frames = t->batch.frames;
    if (!prompts) return LM_OK;
    sheet s = {.t = t, .count = (int64_t)frames * size * size * 3};
    lm_clip picture = {0};
    char *path = lm_format("%s/sample-%07lld.png", t->cfg->out, (long long)t->step);
    lm_status status = path ? trainer_network(e, t, 1, false, false, &s.n) : lm_fail_memory(e, 1e3, "the sample sheet");
    if (status == LM_OK) lm_plan_bind(s.n.plan, t->average, NULL);
    int rows = frames > 1 ? prompts : (prompts + COLUMNS - 1) / COLUMNS;
    if (status == LM_OK) status = lm_clip_alloc(e, 1, COLUMNS * size, rows * size, 3, &picture);
    if (status == LM_OK) {
        memset(picture.data, 0, (size_t)picture.width * (size_t)picture.height * 3);
        status = fill_sheet(e, &s, &picture);
    }
    if (status == LM_OK) status = lm_media_write(e, path, &picture, NULL);
    lm_clip_free(&picture);
    for (int i = 0; i < 2; i++) lm_free(s.text[i]), lm_free(s.mask[i]);
    lm_free(s.other);
    trainer_network_free(&s.n);
    lm_free(path);
    return status;
}
