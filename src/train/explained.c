// What share of the clips' variance the averaged weights explain (R2 of x0), from fixed noisy clips: unlike the loss it
// tells, at high noise, whether the network knows what a caption's subject looks like.
#include "train/trainer_internal.h"

#include "base/memory.h"
#include "diffusion/schedule.h"

#include <string.h>

enum {
    NOISE_SEED = 20240123,
    POOLED_SIDE = 8,
    TRAINED_PICTURES = 128, // one a subject, centred
    LEFT_OUT_PICTURES = 64,
    TRAINED_CLIPS = 24, // the motions in turn
    LEFT_OUT_CLIPS = 12,
};

static const double times[] = {0.999, 0.9, 0.7, 0.5};
enum { TIMES = sizeof times / sizeof *times };
static const char *const wording_names[] = {"right", "reworded", "shuffled"};
static const char *const split_names[] = {"training", "left out"};

// Squares summed over clips, at full size and pooled.
typedef struct share {
    double rest, whole; // of x0 - prediction, of x0 - the mean clip
} share;

// in [frames,side,side,3] -> out [frames,to,to,3], means of areas; to divides side
static void pool(const float *in, int64_t frames, int side, int to, float *out) {
    int factor = side / to;
    for (int64_t f = 0; f < frames; f++, in += (int64_t)side * side * 3)
        for (int y = 0; y < to; y++)
            for (int x = 0; x < to; x++, out += 3) {
                double sum[3] = {0};
                for (int i = 0; i < factor; i++)
                    for (int j = 0; j < factor; j++)
                        for (int c = 0; c < 3; c++)
                            sum[c] += in[((int64_t)(y * factor + i) * side + x * factor + j) * 3 + c];
                for (int c = 0; c < 3; c++) out[c] = (float)(sum[c] / (factor * factor));
            }
}

static void add_squares(const float *a, const float *b, int64_t n, double *sum) {
    for (int64_t i = 0; i < n; i++) *sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
}

// The fixed clips of one split, with room for predictions.
typedef struct probe {
    lm_trainer *t;
    lm_net_use use;
    lm_split split;
    int clips, side, pooled; // sides: of the clips and pooled
    int64_t frames, count;   // count: floats of a clip
    float *x0, *mean;        // [clips, count], [count]
    float *x0_hat, *small[2];
    lm_train_batch batch; // what the network is fed with
} probe;

static int64_t pooled_count(const probe *p) {
    return p->frames * p->pooled * p->pooled * 3;
}

static void probe_free(probe *p) {
    lm_network_drop(p->t->network, &p->use);
    lm_train_batch_free(&p->batch);
    lm_free(p->x0);
    lm_free(p->mean);
    lm_free(p->x0_hat);
    lm_free(p->small[0]);
    lm_free(p->small[1]);
}

static lm_status probe_alloc(lm_error *e, probe *p) {
    int64_t batch = p->t->batch.clips;
    p->x0 = lm_alloc((size_t)(p->clips * p->count), sizeof(float));
    p->mean = lm_alloc_zero((size_t)p->count, sizeof(float));
    p->x0_hat = lm_alloc((size_t)p->count, sizeof(float));
    for (int i = 0; i < 2; i++) p->small[i] = lm_alloc((size_t)pooled_count(p), sizeof(float));
    p->batch.t = lm_alloc((size_t)batch, sizeof(float));
    p->batch.xt = lm_alloc((size_t)(batch * p->count), sizeof(float));
    p->batch.v = lm_alloc((size_t)(batch * p->count), sizeof(float));
    if (p->x0 && p->mean && p->x0_hat && p->small[0] && p->small[1] && p->batch.t && p->batch.xt && p->batch.v)
        return LM_OK;
    return lm_fail_memory(e, (double)(p->clips + 2 * batch + 3) * (double)p->count * 4, "the explained variance");
}

static lm_status draw(lm_error *e, const probe *p, lm_wording wording, int first, int clips, lm_batch *out) {
    lm_fixed_options o = {.split = p->split,
                          .subjects = p->clips,
                          .first = first,
                          .clips = clips,
                          .frames = (int)p->frames,
                          .wording = wording,
                          .moved = p->frames > 1,
                          .condition = lm_trainer_is_video(p->t)};
    return lm_dataset_fixed(e, p->t->dataset, &o, out);
}

static lm_status find_mean(lm_error *e, probe *p) {
    for (int i = 0; i < p->clips; i++) {
        lm_batch b;
        LM_TRY(draw(e, p, LM_WORDING_RIGHT, i, 1, &b));
        memcpy(p->x0 + i * p->count, b.x0, (size_t)p->count * sizeof(float));
        for (int64_t k = 0; k < p->count; k++) p->mean[k] += b.x0[k] / (float)p->clips;
        lm_batch_free(&b);
    }
    return LM_OK;
}

static void judge(probe *p, int clip, double t, const float *xt, const float *v, share *full, share *small) {
    const float *x0 = p->x0 + clip * p->count;
    int64_t n = pooled_count(p);
    lm_v_to_x0(lm_level_at(t), xt, v, p->count, p->x0_hat);
    add_squares(x0, p->x0_hat, p->count, &full->rest);
    add_squares(x0, p->mean, p->count, &full->whole);
    pool(x0, p->frames, p->side, p->pooled, p->small[0]);
    pool(p->x0_hat, p->frames, p->side, p->pooled, p->small[1]);
    add_squares(p->small[0], p->small[1], n, &small->rest);
    pool(p->mean, p->frames, p->side, p->pooled, p->small[1]);
    add_squares(p->small[0], p->small[1], n, &small->whole);
}

// A batch may be longer than the clips that are left; its other places repeat the last one and aren't judged.
static lm_status predict(lm_error *e, probe *p, lm_wording wording, double t, share *full, share *small) {
    int size = p->t->batch.clips;
    int64_t frame = p->count / p->frames;
    for (int first = 0; first < p->clips; first += size) {
        LM_TRY(draw(e, p, wording, first, size, &p->batch.data));
        for (int i = 0; i < size; i++) {
            int clip = first + i < p->clips ? first + i : p->clips - 1;
            float *noise = p->batch.v + i * p->count; // v isn't needed
            p->batch.t[i] = (float)t;
            lm_noise_fill(noise, p->frames, frame, NOISE_SEED, (uint32_t)clip, (uint32_t)p->split);
            lm_level l = lm_level_at(t);
            for (int64_t k = 0; k < p->count; k++)
                p->batch.xt[i * p->count + k] = (float)l.alpha * p->x0[clip * p->count + k] + (float)l.sigma * noise[k];
        }
        lm_status s = lm_trainer_run(e, p->t, &p->use, p->t->average, &p->batch, NULL, p->batch.v);
        for (int i = 0; i < size && first + i < p->clips && s == LM_OK; i++)
            judge(p, first + i, t, p->batch.xt + i * p->count, p->batch.v + i * p->count, full, small);
        lm_batch_free(&p->batch.data);
        LM_TRY(s);
    }
    return LM_OK;
}

static double explained(const share *s) {
    return s->whole > 0 ? 1 - s->rest / s->whole : 0;
}

static lm_status measure_split(lm_error *e, probe *p) {
    lm_trainer *t = p->t;
    LM_TRY(probe_alloc(e, p));
    LM_TRY(find_mean(e, p));
    double told[2] = {0};
    for (int wording = 0; wording < LM_WORDINGS; wording++)
        for (int i = 0; i < TIMES; i++) {
            share full = {0}, small = {0};
            LM_TRY(predict(e, p, wording, times[i], &full, &small));
            explained_row row = {split_names[p->split], wording_names[wording], times[i], explained(&full),
                                 explained(&small)};
            LM_TRY(lm_explained_append(e, t, &row));
            if (wording == LM_WORDING_RIGHT && i == 0) told[0] = explained(&full), told[1] = explained(&small);
        }
    lm_trainer_log(t, "step %lld: %s subjects, variance explained at t = %g: %.3f, pooled to %dx%d %.3f",
                   (long long)t->step, split_names[p->split], times[0], told[0], p->pooled, p->pooled, told[1]);
    return LM_OK;
}

lm_status lm_trainer_explain(lm_error *e, lm_trainer *t) {
    static const int most[2][2] = {{TRAINED_PICTURES, LEFT_OUT_PICTURES}, {TRAINED_CLIPS, LEFT_OUT_CLIPS}};
    for (int split = 0; split < 2; split++) {
        int side = (int)t->cfg->size, subjects = lm_dataset_subjects(t->dataset, split);
        int clips = most[lm_trainer_is_video(t)][split];
        probe p = {.t = t,
                   .use = lm_trainer_use(t, t->batch.clips, LM_NET_PREDICT),
                   .split = split,
                   .clips = subjects < clips ? subjects : clips,
                   .side = side,
                   .pooled = side % POOLED_SIDE ? side : POOLED_SIDE,
                   .frames = t->batch.frames,
                   .count = (int64_t)t->batch.frames * side * side * 3};
        lm_status s = p.clips > 0 ? measure_split(e, &p) : LM_OK;
        probe_free(&p);
        LM_TRY(s);
    }
    return LM_OK;
}
