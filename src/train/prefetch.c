#include "train/prefetch.h"

#include "base/memory.h"
#include "diffusion/schedule.h"

#include <pthread.h>
#include <string.h>

// Diffusion time of clip item: shifted towards noise in training, spread evenly where spread is given.
static double time_of(const lm_batch_options *o, uint32_t item, uint32_t step, int spread) {
    if (spread) return (item + 0.5) / spread;
    lm_stream s = {.seed = o->seed, .purpose = LM_FOR_TIME, .item = item, .step = step};
    double t = lm_stream_uniform(&s);
    return o->time_shift == 0 ? t : lm_time_shifted(t, o->time_shift);
}

static void fill_noisy(const lm_batch_options *o, uint32_t step, int spread, lm_train_batch *b, float *noise) {
    int64_t frame = (int64_t)b->data.size * b->data.size * 3, n = frame * b->data.frames;
    for (int i = 0; i < b->data.clips; i++) {
        uint32_t item = (uint32_t)(o->first + i);
        b->t[i] = (float)time_of(o, item, step, spread);
        lm_noise_fill(noise, b->data.frames, frame, o->seed, item, step);
        lm_v_target(lm_level_at((double)b->t[i]), b->data.x0 + i * n, noise, n, b->xt + i * n, b->v + i * n);
    }
}

lm_status lm_train_batch_make(lm_error *e, const lm_dataset *d, const lm_batch_options *o, uint32_t step, int spread,
                              lm_train_batch *out) {
    memset(out, 0, sizeof *out);
    LM_TRY(lm_dataset_batch(e, d, o, step, &out->data));
    size_t n = (size_t)out->data.size * (size_t)out->data.size * 3 * (size_t)out->data.frames,
           clips = (size_t)out->data.clips;
    float *noise = lm_alloc(n, sizeof(float));
    out->t = lm_alloc(clips, sizeof(float));
    out->xt = lm_alloc(clips * n, sizeof(float));
    out->v = lm_alloc(clips * n, sizeof(float));
    bool ok = noise && out->t && out->xt && out->v;
    if (ok) fill_noisy(o, step, spread, out, noise);
    lm_free(noise);
    if (ok) return LM_OK;
    lm_train_batch_free(out);
    return lm_fail_memory(e, (double)(clips * n) * 8, "a training batch");
}

void lm_train_batch_free(lm_train_batch *b) {
    lm_batch_free(&b->data);
    lm_free(b->t);
    lm_free(b->xt);
    lm_free(b->v);
    memset(b, 0, sizeof *b);
}

enum { QUEUE = 2 };

struct lm_prefetch {
    const lm_dataset *dataset;
    lm_batch_options options;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    lm_train_batch queue[QUEUE];
    int count;
    uint32_t next; // step of the batch to make
    bool stop, started;
    lm_error error; // ends the thread
};

static void *prefetch_main(void *arg) {
    lm_prefetch *p = arg;
    for (bool go = true; go;) {
        lm_train_batch b;
        lm_error e = {0};
        lm_status s = lm_train_batch_make(&e, p->dataset, &p->options, p->next++, 0, &b);
        pthread_mutex_lock(&p->mutex);
        while (p->count == QUEUE && !p->stop) pthread_cond_wait(&p->changed, &p->mutex);
        if (s == LM_OK && !p->stop)
            p->queue[p->count++] = b;
        else if (s == LM_OK)
            lm_train_batch_free(&b);
        else
            p->error = e;
        go = s == LM_OK && !p->stop;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->mutex);
    }
    return NULL;
}

lm_status lm_prefetch_create(lm_error *e, const lm_dataset *d, const lm_batch_options *o, uint32_t first_step,
                             lm_prefetch **out) {
    lm_prefetch *p = *out = lm_alloc_zero(1, sizeof *p);
    if (!p) return lm_fail_memory(e, sizeof *p, "the prefetcher");
    p->dataset = d;
    p->options = *o;
    p->next = first_step;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->started = !pthread_create(&p->thread, NULL, prefetch_main, p);
    if (p->started) return LM_OK;
    lm_prefetch_free(out);
    return lm_fail(e, LM_FAILED, "could not start the data thread");
}

void lm_prefetch_free(lm_prefetch **prefetch) {
    lm_prefetch *p = *prefetch;
    if (!p) return;
    pthread_mutex_lock(&p->mutex);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    if (p->started) pthread_join(p->thread, NULL);
    for (int i = 0; i < p->count; i++) lm_train_batch_free(&p->queue[i]);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
    lm_free(p);
    *prefetch = NULL;
}

lm_status lm_prefetch_next(lm_error *e, lm_prefetch *p, lm_train_batch *out) {
    pthread_mutex_lock(&p->mutex);
    while (!p->count && p->error.status == LM_OK) pthread_cond_wait(&p->changed, &p->mutex);
    lm_status s = LM_OK;
    if (p->count) {
        *out = p->queue[0];
        p->count--;
        memmove(p->queue, p->queue + 1, (size_t)p->count * sizeof *p->queue);
    } else {
        s = lm_fail(e, p->error.status, "%s", p->error.text);
    }
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
    return s;
}
