// Tiny runs whose steps and lines are counted, and their files.
#pragma once
#include "store/safetensors.h"
#include "tiny_run.h"

typedef struct watch {
    int64_t stop_after, last; // steps: to stop after, 0: never; taken
    int skips, lines;         // lines of the log; of which say that a step was skipped
} watch;

// Trains into folder out with further settings (until NULL), w told of every step and line.
lm_status watched_train(lm_error *e, const tiny_run *r, const char *out, const char *const *set, lm_dtype precision,
                        bool resume, watch *w);
// From the beginning to the end; fails the test when that is not what happens.
void watched_train_whole(const tiny_run *r, const char *out, const char *const *set, lm_dtype precision, watch *w);
// Fails the test unless training ends so before its first step.
void watched_refuse(const tiny_run *r, const char *out, const char *const *set, bool resume, lm_status status,
                    const char *message);

char *tiny_file(const tiny_run *r, const char *out, const char *name); // OUT/NAME in the run's folder; lm_free
lm_safetensors *tiny_tensors(const tiny_run *r, const char *out, const char *name);
float *floats_of(const lm_safetensors *f, const lm_stored *t, int64_t *count); // lm_free
