// A training run small enough to take a second: clips, a text encoder, a network and a run file.
#pragma once
#include "train/trainer.h"

typedef struct tiny_run {
    char folder[64]; // under /tmp, removed by tiny_run_remove
} tiny_run;

// The folders data and text, and the files net.json and run.yaml in a new folder; fails the test when that is not
// possible.
void tiny_run_make(tiny_run *r);
void tiny_run_remove(tiny_run *r);

enum { TINY_STEPS = 12, TINY_CHECKPOINT_STEPS = 3 };
// The run file with overrides (until NULL); the run goes to folder/out unless they say otherwise.
lm_status tiny_run_config(lm_error *e, const tiny_run *r, const char *const *overrides, lm_run_config *out);
// Trains so, on one thread. o: precision, resume and callbacks.
lm_status tiny_run_train(lm_error *e, const tiny_run *r, const char *const *overrides, const lm_trainer_options *o);

// Fails the test unless two checkpoints hold the same bytes in every tensor and the same metadata but for "seconds".
void tiny_run_expect_same(const tiny_run *r, const char *out_a, const char *out_b);
char *tiny_path(const tiny_run *r, const char *name); // in the run's folder; free with lm_free
