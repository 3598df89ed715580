#include "base/threads.h"

#include "base/cgroup.h"
#include "base/memory.h"
#include "base/processor.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

enum { SPINS = 4000 }; // polls before a waiting thread sleeps: some ten microseconds, longer than between two kernels

struct lm_pool {
    pthread_mutex_t mutex;
    pthread_cond_t wake, idle;
    atomic_uint generation; // rises with every lm_pool_run
    atomic_int busy;        // workers that have not finished the present generation
    atomic_bool stop;
    _Alignas(64) atomic_llong next; // next piece to take
    atomic_llong failed;            // the lowest piece that failed; INT64_MAX while none has
    int64_t pieces;
    lm_piece_fn fn;
    void *context;
    lm_status status; // of the failed piece, with its message
    lm_error error;
    int threads, started;
    atomic_bool running; // a run; nothing but an assert asks
    struct worker {
        lm_pool *pool;
        pthread_t id;
        int index;
    } workers[];
};

static void record_failure(lm_pool *p, int64_t piece, lm_status status, const lm_error *e) {
    pthread_mutex_lock(&p->mutex);
    if (piece < atomic_load(&p->failed)) {
        atomic_store(&p->failed, piece);
        p->status = status;
        p->error = *e;
    }
    pthread_mutex_unlock(&p->mutex);
}

// Pieces are taken in order, so every piece before one that failed has been taken already, and is run to its end.
static void take_pieces(lm_pool *p, int thread) {
    lm_error e;
    for (int64_t i; (i = atomic_fetch_add(&p->next, 1)) < p->pieces && i < atomic_load(&p->failed);) {
        lm_error_clear(&e);
        lm_status status = p->fn(&e, p->context, i, thread);
        if (status != LM_OK) record_failure(p, i, status, &e);
    }
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    lm_pool *p = w->pool;
    unsigned seen = 0;
    flush_subnormals(); // see lm_pool_run
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&p->generation) == seen; i++) relax();
        if (atomic_load(&p->generation) == seen) {
            pthread_mutex_lock(&p->mutex);
            while (atomic_load(&p->generation) == seen) pthread_cond_wait(&p->wake, &p->mutex);
            pthread_mutex_unlock(&p->mutex);
        }
        seen++;
        if (atomic_load(&p->stop)) return NULL;
        take_pieces(p, w->index);
        if (atomic_fetch_sub(&p->busy, 1) == 1) {
            pthread_mutex_lock(&p->mutex);
            pthread_cond_signal(&p->idle);
            pthread_mutex_unlock(&p->mutex);
        }
    }
}

static void start_generation(lm_pool *p) {
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->busy, p->started);
    atomic_fetch_add(&p->generation, 1);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->mutex);
}

// Subnormal numbers are flushed where pieces run, and only there: attention over a trained network's logits makes many
// of them, and its backward pass took fifteen times as long; no sum of ordinary numbers changes by them.
lm_status lm_pool_run(lm_error *e, lm_pool *p, int64_t pieces, lm_piece_fn fn, void *context) {
    assert(fn && pieces >= 0);
    const bool free_before = !atomic_exchange(&p->running, true);
    assert(free_before); // neither called from a piece of this pool nor by two threads
    (void)free_before;
    if (p->started == 0 || pieces <= 1) {
        uint64_t before = flush_subnormals();
        lm_status status = LM_OK;
        for (int64_t i = 0; i < pieces && status == LM_OK; i++) status = fn(e, context, i, 0);
        set_subnormals(before);
        atomic_store(&p->running, false);
        return status;
    }
    p->fn = fn;
    p->context = context;
    p->pieces = pieces;
    atomic_store(&p->next, 0);
    atomic_store(&p->failed, INT64_MAX);
    start_generation(p);
    uint64_t before = flush_subnormals();
    take_pieces(p, 0);
    set_subnormals(before);
    for (int i = 0; i < SPINS && atomic_load(&p->busy); i++) relax();
    if (atomic_load(&p->busy)) {
        pthread_mutex_lock(&p->mutex);
        while (atomic_load(&p->busy)) pthread_cond_wait(&p->idle, &p->mutex);
        pthread_mutex_unlock(&p->mutex);
    }
    atomic_store(&p->running, false);
    return atomic_load(&p->failed) == INT64_MAX ? LM_OK : lm_fail(e, p->status, "%s", p->error.text);
}

int lm_processors(void) {
    cpu_set_t sets[32]; // the kernel refuses a mask shorter than its own
    int n =
        sched_getaffinity(0, sizeof sets, sets) ? (int)sysconf(_SC_NPROCESSORS_ONLN) : CPU_COUNT_S(sizeof sets, sets);
    int granted = lm_cgroup_processors("");
    if (granted < n) n = granted;
    return n < 1 ? 1 : n;
}

lm_status lm_pool_create(lm_error *e, int threads, lm_pool **out) {
    if (threads <= 0) threads = lm_processors();
    size_t bytes = sizeof(lm_pool) + (size_t)threads * sizeof(struct worker);
    lm_pool *p = lm_alloc_aligned(bytes);
    if (!p) return lm_fail_memory(e, (double)bytes, "the thread pool");
    memset(p, 0, bytes);
    p->threads = threads;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->idle, NULL);
    *out = p;
    for (int i = 1; i < threads; i++) {
        p->workers[i].pool = p;
        p->workers[i].index = i;
        if (pthread_create(&p->workers[i].id, NULL, worker_main, &p->workers[i])) {
            lm_pool_free(out);
            return lm_fail(e, LM_FAILED, "could not start thread %d of %d; try fewer threads", i + 1, threads);
        }
        p->started++;
    }
    return LM_OK;
}

void lm_pool_free(lm_pool **pool) {
    lm_pool *p = *pool;
    if (!p) return;
    atomic_store(&p->stop, true);
    start_generation(p);
    for (int i = 1; i <= p->started; i++) pthread_join(p->workers[i].id, NULL);
    pthread_cond_destroy(&p->idle);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->mutex);
    lm_free(p);
    *pool = NULL;
}

int lm_pool_threads(const lm_pool *pool) {
    return pool->threads;
}
