// A pool of worker threads that run numbered pieces. What a piece computes must not depend on which thread runs it.
#pragma once
#include "base/status.h"
#include <stdint.h>

typedef struct lm_pool lm_pool;

// threads counts the caller too; 0 = the processors this process may use. LM_MEMORY or LM_FAILED on error.
lm_status lm_pool_create(lm_error *e, int threads, lm_pool **out);
void lm_pool_free(lm_pool **pool);
int lm_pool_threads(const lm_pool *pool);
int lm_processors(void); // processors this process may use (affinity mask and cgroup quota)

// Calls fn(e, context, piece, thread) once for each piece in [0, pieces), thread in [0, lm_pool_threads); returns when
// all are done. The caller works too. Where pieces fail, status and message are those of the first of them in order,
// whatever the number of threads; pieces after it may be left out. Not reentrant: a piece must not call lm_pool_run on
// the same pool, and two threads must not at the same time. Numbers below 2^-126 are taken as 0 in pieces, so that
// speed doesn't depend on them (x86-64 and Arm64; elsewhere the thread's own setting holds).
typedef lm_status (*lm_piece_fn)(lm_error *e, void *context, int64_t piece, int thread); // e: of this piece alone
lm_status lm_pool_run(lm_error *e, lm_pool *pool, int64_t pieces, lm_piece_fn fn, void *context)
    __attribute__((warn_unused_result));
