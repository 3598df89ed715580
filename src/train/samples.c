// Looking at the weights during training: validation loss and sample sheets, both from the averaged weights.
#include "train/trainer_internal.h"

#include "base/memory.h"
#include "diffusion/guidance.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "media/levels.h"
#include "media/media.h"
#include "train/augment.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VALIDATION_SEED = 20240123 }; // of the triples, whatever the run's own seed: losses of different runs compare

// Triple i is the same for any batch size; their number is rounded up to whole batches.
lm_status lm_trainer_validate(lm_error *e, lm_trainer *t, double *out) {
    lm_batch_options o = t->batch;
    o.split = LM_SPLIT_VALIDATION;
    o.seed = VALIDATION_SEED;
    o.caption_dropout = 0;
    int chunks = (int)((t->cfg->validation_clips + o.clips - 1) / o.clips);
    double sum = 0;
    for (int i = 0; i < chunks; i++) {
        lm_train_batch b;
        o.first = i * o.clips;
        LM_TRY(lm_train_batch_make(e, t->dataset, &o, 0, chunks * o.clips, &b));
        float loss;
        lm_status s = lm_trainer_run(e, t, &t->eval, t->average, &b, &loss, NULL);
        lm_train_batch_free(&b);
        LM_TRY(s);
        sum += (double)loss;
    }
    *out = sum / chunks;
    return LM_OK;
}

// One clip being sampled: a network of one clip and its two texts.
typedef struct sheet {
    lm_trainer *t;
    lm_net_use use;
    float *text[2], *mask[2]; // prompt and ""
    float *other;             // the unconditional prediction
    float *cond;              // zeros; NULL where the network takes none
    float moments[LM_MOMENTS];
    int64_t count; // floats of a clip
} sheet;

static lm_status predict(lm_error *e, sheet *s, int which, const float *x, float time, float *v) {
    const lm_feed feeds[] = {{"x", x},
                             {"t", &time},
                             {"text", s->text[which]},
                             {"mask", s->mask[which]},
                             {"cond", s->cond},
                             {"moment", s->moments},
                             {NULL, NULL}};
    return lm_network_run(e, s->t->network, &s->use, s->t->average, NULL, feeds,
                          (const lm_fetch[]){{"v", v}, {NULL, NULL}});
}

static lm_status denoise(lm_error *e, void *user, const float *x, double time, float *v) {
    sheet *s = user;
    LM_TRY(predict(e, s, 0, x, (float)time, v));
    LM_TRY(predict(e, s, 1, x, (float)time, s->other));
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
            lm_bytes_from_floats(picture->data + ((int64_t)(row * size + y) * picture->width + column * size) * 3,
                                 x + ((int64_t)f * size + y) * size * 3, 3 * (size_t)size);
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

static lm_status sheet_alloc(lm_error *e, sheet *s) {
    const lm_trainer *t = s->t;
    const size_t tokens = (size_t)t->net.text_tokens, width = (size_t)t->net.text_width;
    const size_t cond = (size_t)s->count / 3 * (size_t)t->net.cond_channels;
    bool ok = (s->other = lm_alloc((size_t)s->count, sizeof(float))) != NULL;
    for (int i = 0; i < 2; i++) {
        s->text[i] = lm_alloc(tokens * width, sizeof(float));
        s->mask[i] = lm_alloc(tokens, sizeof(float));
        ok = ok && s->text[i] && s->mask[i];
    }
    if (cond) ok = (s->cond = lm_alloc_zero(cond, sizeof(float))) != NULL && ok;
    return ok ? LM_OK : lm_fail_memory(e, (double)s->count * sizeof(float), "the sample sheet");
}

static void sheet_free(sheet *s) {
    for (int i = 0; i < 2; i++) lm_free(s->text[i]), lm_free(s->mask[i]);
    lm_free(s->other);
    lm_free(s->cond);
    lm_network_drop(s->t->network, &s->use);
}

static lm_status fill_sheet(lm_error *e, sheet *s, const lm_clip *picture) {
    lm_trainer *t = s->t;
    const int frames = t->batch.frames;
    for (int f = 0; f < frames; f++) s->moments[f] = frames > 1 ? (float)f / (float)(frames - 1) : LM_MOMENT_UNKNOWN;
    float *x = lm_alloc((size_t)s->count, sizeof(float));
    lm_status status = x ? lm_text_cache_get(e, t->texts, "", s->text[1], s->mask[1])
                         : lm_fail_memory(e, (double)s->count * sizeof(float), "the sample sheet");
    for (int i = 0; i < t->cfg->sample_prompts.count && status == LM_OK; i++) {
        status = sample_one(e, s, t->cfg->sample_prompts.at[i], i, x);
        if (status == LM_OK) paste(picture, x, frames, (int)t->cfg->size, i);
    }
    lm_free(x);
    return status;
}

lm_status lm_trainer_sample_sheet(lm_error *e, lm_trainer *t) {
    int prompts = t->cfg->sample_prompts.count, size = (int)t->cfg->size, frames = t->batch.frames;
    if (!prompts) return LM_OK;
    sheet s = {.t = t, .use = lm_trainer_use(t, 1, LM_NET_PREDICT), .count = (int64_t)frames * size * size * 3};
    lm_clip picture = {0};
    char *path = lm_format("%s/sample-%07lld.png", t->cfg->out, (long long)t->step);
    int rows = frames > 1 ? prompts : (prompts + COLUMNS - 1) / COLUMNS;
    lm_status status = path ? sheet_alloc(e, &s) : lm_fail_memory(e, 1e3, "the sample sheet");
    if (status == LM_OK) status = lm_clip_alloc(e, 1, COLUMNS * size, rows * size, 3, &picture);
    if (status == LM_OK) {
        memset(picture.data, 0, (size_t)picture.width * (size_t)picture.height * 3);
        status = fill_sheet(e, &s, &picture);
    }
    if (status == LM_OK) status = lm_media_write(e, path, &picture, NULL);
    lm_clip_free(&picture);
    sheet_free(&s);
    lm_free(path);
    return status;
}
