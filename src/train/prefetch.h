// Batches for the loss, made ahead on a thread of their own: clips and captions, diffusion times, noisy clips and
// targets.
#pragma once
#include "train/dataset.h"

typedef struct lm_train_batch {
    lm_batch data;
    float *t;      // [clips] in [0,1], uniform but for options.time_shift
    float *xt, *v; // [clips,frames,size,size,3] noisy clip and v target (Salimans & Ho, arXiv 2202.00512)
} lm_train_batch;

// spread: instead of drawing t, times (o->first + i + 0.5) / spread for clip i, so that a validation covers [0,1]
// evenly; 0: draw. A pure function of its arguments.
lm_status lm_train_batch_make(lm_error *e, const lm_dataset *d, const lm_batch_options *o, uint32_t step, int spread,
                              lm_train_batch *out);
void lm_train_batch_free(lm_train_batch *b);

typedef struct lm_prefetch lm_prefetch;
lm_status lm_prefetch_create(lm_error *e, const lm_dataset *d, const lm_batch_options *o, uint32_t first_step,
                             lm_prefetch **out);
void lm_prefetch_free(lm_prefetch **p);
// The batch of the next step; the caller frees it.
lm_status lm_prefetch_next(lm_error *e, lm_prefetch *p, lm_train_batch *out);
