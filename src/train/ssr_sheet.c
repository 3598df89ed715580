// The ssr stage's sample sheet: crops of validation clips as they were given, as the averaged weights enlarge them, and
// as they are.
#include "train/trainer_internal.h"

#include "base/memory.h"
#include "diffusion/cascade.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "media/levels.h"
#include "media/media.h"

#include <math.h>
#include <string.h>

enum { ROWS = 4, COLUMNS = 3, SHEET_SEED = 20240124 };

typedef struct enlarging {
    lm_trainer *t;
    lm_net_use use;       // of one clip
    const lm_batch *clip; // what is enlarged
    int64_t count;        // floats of a clip
} enlarging;

static lm_status denoise(lm_error *e, void *user, const float *x, double time, float *v) {
    const enlarging *s = user;
    const float t32 = (float)time;
    const lm_feed feeds[] = {{"x", x},
                             {"t", &t32},
                             {"text", s->t->states},
                             {"mask", s->t->mask},
                             {"cond", s->clip->cond},
                             {"noise_level", s->clip->level},
                             {NULL, NULL}};
    return lm_network_run(e, s->t->network, &s->use, s->t->average, NULL, feeds,
                          (const lm_fetch[]){{"v", v}, {NULL, NULL}});
}

// The middle frame of a clip into a place of the sheet.
static void paste(const lm_clip *picture, const float *clip, int frames, int side, int row, int column) {
    const float *from = clip + (int64_t)(frames / 2) * side * side * 3;
    for (int y = 0; y < side; y++) {
        uint8_t *to = picture->data + ((int64_t)(row * side + y) * picture->width + column * side) * 3;
        lm_bytes_from_floats(to, from + y * side * 3, 3 * (size_t)side);
    }
}

static lm_status fill_row(lm_error *e, enlarging *s, int row, float *x, const lm_clip *picture) {
    lm_trainer *t = s->t;
    lm_batch_options o = t->batch;
    lm_batch b;
    bool left_out = lm_dataset_count(t->dataset, LM_SPLIT_VALIDATION) > 0;
    o.split = left_out ? LM_SPLIT_VALIDATION : LM_SPLIT_TRAIN;
    o.seed = SHEET_SEED;
    o.clips = 1;
    o.first = row;
    o.caption_dropout = 0;
    LM_TRY(lm_dataset_batch(e, t->dataset, &o, 0, &b));
    const lm_sampler sampler = {.kind = LM_SAMPLER_DDIM,
                                .steps = (int)t->cfg->sample_steps,
                                .t_start = LM_NOISIEST_TIME,
                                .clamp = (double)INFINITY,
                                .denoise = denoise,
                                .user = s};
    lm_noise_fill_still(x, o.frames, s->count / o.frames, SHEET_SEED, (uint32_t)row, 1);
    s->clip = &b;
    lm_status status = lm_text_cache_get(e, t->texts, b.captions[0], t->states, t->mask);
    if (status == LM_OK) status = lm_sample(e, &sampler, x, s->count);
    const double alpha = lm_level_at((double)b.level[0]).alpha;
    lm_from_residual(b.cond, alpha, t->net.residual_scale, s->count, x);
    lm_from_residual(b.cond, alpha, t->net.residual_scale, s->count, b.x0);
    const float *clips[COLUMNS] = {b.cond, x, b.x0};
    for (int c = 0; c < COLUMNS && status == LM_OK; c++) paste(picture, clips[c], o.frames, o.crop, row, c);
    lm_batch_free(&b);
    return status;
}

lm_status lm_trainer_ssr_sheet(lm_error *e, lm_trainer *t) {
    int side = lm_trainer_side(t);
    enlarging s = {
        .t = t, .use = lm_trainer_use(t, 1, LM_NET_PREDICT), .count = (int64_t)t->batch.frames * side * side * 3};
    lm_clip picture = {0};
    char *path = lm_format("%s/sample-%07lld.png", t->cfg->out, (long long)t->step);
    float *x = lm_alloc((size_t)s.count, sizeof *x);
    lm_status status = path && x ? LM_OK : lm_fail_memory(e, (double)s.count * sizeof *x, "the sample sheet");
    if (status == LM_OK) status = lm_clip_alloc(e, 1, COLUMNS * side, ROWS * side, 3, &picture);
    for (int row = 0; row < ROWS && status == LM_OK; row++) status = fill_row(e, &s, row, x, &picture);
    if (status == LM_OK) status = lm_media_write(e, path, &picture, NULL);
    lm_clip_free(&picture);
    lm_network_drop(t->network, &s.use);
    lm_free(x);
    lm_free(path);
    return status;
}
