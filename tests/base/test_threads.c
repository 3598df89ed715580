// The pool runs every piece exactly once, on a thread it has, run after run, and reports the first piece that failed.
#include "base/threads.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PIECES = 5000 };

typedef struct job {
    atomic_int ran[PIECES];
    atomic_int wrong; // pieces or threads out of range
    int64_t pieces;
    int threads;
    int64_t plain[PIECES]; // written by a piece without a lock, read after the run
    int64_t factor;
} job;

static lm_status count_piece(lm_error *e, void *context, int64_t piece, int thread) {
    job *j = context;
    (void)e;
    if (piece < 0 || piece >= j->pieces || thread < 0 || thread >= j->threads) {
        atomic_fetch_add(&j->wrong, 1);
        return LM_OK;
    }
    atomic_fetch_add(&j->ran[piece], 1);
    j->plain[piece] = piece * j->factor;
    if (piece % 64 == 0) sched_yield();
    return LM_OK;
}

static void run_once(lm_pool *pool, job *j, int64_t pieces, int64_t factor) {
    j->pieces = pieces;
    j->threads = lm_pool_threads(pool);
    j->factor = factor;
    for (int i = 0; i < PIECES; i++) atomic_store(&j->ran[i], 0);
    assert_int_equal(lm_pool_run(NULL, pool, pieces, count_piece, j), LM_OK);
    assert_int_equal(atomic_load(&j->wrong), 0);
    for (int64_t i = 0; i < PIECES; i++) {
        assert_int_equal(atomic_load(&j->ran[i]), i < pieces);
        if (i < pieces) assert_int_equal(j->plain[i], i * factor);
    }
}

static void test_every_piece_once(void **state) {
    (void)state;
    static const int counts[] = {1, 2, 3, 4, 7, 16};
    static const int64_t pieces[] = {0, 1, 2, 3, 15, 16, 17, 100, PIECES};
    static job j;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        lm_error e = {0};
        lm_pool *pool;
        assert_int_equal(lm_pool_create(&e, counts[c], &pool), LM_OK);
        assert_int_equal(lm_pool_threads(pool), counts[c]);
        for (int run = 0; run < 45; run++) run_once(pool, &j, pieces[run % 9], run + 1);
        lm_pool_free(&pool);
        assert_null(pool);
    }
}

static lm_status add_one(lm_error *e, void *context, int64_t piece, int thread) {
    (void)e, (void)piece, (void)thread;
    atomic_fetch_add((atomic_llong *)context, 1);
    return LM_OK;
}

// Short runs in quick succession, and after rests that let the workers fall asleep.
static void test_many_runs(void **state) {
    (void)state;
    for (int threads = 2; threads <= 4; threads++) {
        lm_error e = {0};
        lm_pool *pool;
        atomic_llong sum = 0;
        assert_int_equal(lm_pool_create(&e, threads, &pool), LM_OK);
        for (int run = 1; run <= 3000; run++) {
            assert_int_equal(lm_pool_run(NULL, pool, 5, add_one, &sum), LM_OK);
            assert_int_equal(atomic_load(&sum), run * 5);
            if (run % 500 == 0) usleep(2000);
        }
        lm_pool_free(&pool);
    }
}

static void test_several_pools(void **state) {
    (void)state;
    lm_error e = {0};
    lm_pool *pools[3];
    atomic_llong sum = 0;
    for (int i = 0; i < 3; i++) assert_int_equal(lm_pool_create(&e, i + 1, &pools[i]), LM_OK);
    for (int run = 0; run < 100; run++)
        for (int i = 0; i < 3; i++) assert_int_equal(lm_pool_run(NULL, pools[i], 10, add_one, &sum), LM_OK);
    assert_int_equal(atomic_load(&sum), 3000);
    for (int i = 0; i < 3; i++) lm_pool_free(&pools[i]);
    for (int i = 0; i < 50; i++) { // never used
        assert_int_equal(lm_pool_create(&e, 3, &pools[0]), LM_OK);
        lm_pool_free(&pools[0]);
    }
    lm_pool_free(&pools[0]); // NULL by now
}

// Piece i fails when i is in the mask; each says who it was.
typedef struct failing {
    uint64_t mask;
    atomic_llong ran; // pieces, as a mask
} failing;

static lm_status fail_piece(lm_error *e, void *context, int64_t piece, int thread) {
    failing *f = context;
    (void)thread;
    atomic_fetch_or(&f->ran, 1LL << piece);
    if (!(f->mask >> piece & 1)) return LM_OK;
    if (piece % 2) usleep(200); // so that a later one may fail before it
    return lm_fail(e, piece % 3 ? LM_MEMORY : LM_MEDIA, "piece %d", (int)piece);
}

// The first piece in order that failed is reported, whichever did first; all before it are run; the next run is whole.
static void test_first_failure(void **state) {
    (void)state;
    static const uint64_t masks[] = {
        1, 2, 1ULL << 39, 0xffffffffffULL, 0xaaaaaaaa00ULL, 0x8000000420ULL, 0xff00000000ULL};
    enum { COUNT = 40 };
    for (int threads = 1; threads <= 4; threads++) {
        lm_error e = {0};
        lm_pool *pool;
        assert_int_equal(lm_pool_create(&e, threads, &pool), LM_OK);
        for (int run = 0; run < 350; run++) {
            failing f = {.mask = masks[run % 7]};
            const int first = __builtin_ctzll(f.mask);
            const uint64_t before = (2ULL << first) - 1;
            char text[20];
            snprintf(text, sizeof text, "piece %d", first);
            assert_int_equal(lm_pool_run(&e, pool, COUNT, fail_piece, &f), first % 3 ? LM_MEMORY : LM_MEDIA);
            assert_string_equal(e.text, text);
            assert_true(((uint64_t)atomic_load(&f.ran) & before) == before);
            lm_error_clear(&e);
            f = (failing){0};
            assert_int_equal(lm_pool_run(&e, pool, COUNT, fail_piece, &f), LM_OK);
            assert_true((uint64_t)atomic_load(&f.ran) == (1ULL << COUNT) - 1);
            assert_int_equal(e.status, LM_OK);
        }
        lm_pool_free(&pool);
    }
}

static void test_processors(void **state) {
    (void)state;
    lm_error e = {0};
    lm_pool *pool;
    assert_in_range(lm_processors(), 1, 1 << 16);
    assert_int_equal(lm_pool_create(&e, 0, &pool), LM_OK);
    assert_int_equal(lm_pool_threads(pool), lm_processors());
    lm_pool_free(&pool);
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before)) CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(lm_processors(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static float product(float a, float b) { // at run time
    volatile float x = a, y = b;
    return x * y;
}

static lm_status multiply_piece(lm_error *e, void *context, int64_t piece, int thread) {
    float *out = context;
    (void)e, (void)thread;
    out[2 * piece] = product(1e-20f, 1e-20f);       // a subnormal result
    out[2 * piece + 1] = product(0x1p-130f, 1e30f); // a subnormal operand
    return LM_OK;
}

static void test_subnormals(void **state) {
    (void)state;
#if defined(__x86_64__) || defined(__aarch64__)
    enum { PRODUCTS = 64 };
    for (int threads = 1; threads <= 3; threads++) {
        lm_error e;
        lm_pool *pool;
        float out[2 * PRODUCTS];
        assert_int_equal(lm_pool_create(&e, threads, &pool), LM_OK);
        for (int pieces = 1; pieces <= PRODUCTS; pieces += PRODUCTS - 1) {
            for (int i = 0; i < 2 * PRODUCTS; i++) out[i] = 1;
            assert_int_equal(lm_pool_run(&e, pool, pieces, multiply_piece, out), LM_OK);
            for (int i = 0; i < 2 * pieces; i++) assert_true(out[i] == 0);
            assert_true(product(1e-20f, 1e-20f) > 0); // the caller's own arithmetic is as before
        }
        lm_pool_free(&pool);
    }
#else
    skip();
#endif
}

// Where faults are looked for, asserts are on.
#if (defined(__SANITIZE_ADDRESS__) && defined(NDEBUG))
#error "the sanitizers' build has no asserts"
#endif

#ifndef NDEBUG
typedef struct nested {
    lm_pool *pool;
    atomic_llong sum;
} nested;

static lm_status run_again(lm_error *e, void *context, int64_t piece, int thread) {
    nested *n = context;
    (void)piece, (void)thread;
    return lm_pool_run(e, n->pool, 2, add_one, &n->sum);
}
#endif

// Ends the process that does it, whatever the number of threads.
static void a_pool_within_itself_is_an_assert(void **state) {
    (void)state;
#ifdef NDEBUG
    skip();
#else
    for (int threads = 1; threads <= 2; threads++) {
        int status;
        const pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            nested n = {0};
            const struct rlimit none = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            if (!freopen("/dev/null", "w", stderr) || lm_pool_create(NULL, threads, &n.pool) != LM_OK) _exit(1);
            _exit(lm_pool_run(NULL, n.pool, 2, run_again, &n) == LM_OK ? 2 : 3);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
    }
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_piece_once),
        cmocka_unit_test(test_many_runs),
        cmocka_unit_test(test_several_pools),
        cmocka_unit_test(test_first_failure),
        cmocka_unit_test(test_processors),
        cmocka_unit_test(test_subnormals),
        cmocka_unit_test(a_pool_within_itself_is_an_assert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
