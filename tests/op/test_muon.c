// Muon: the CPU device against the reference, which is what is written down; shapes of every kind, any number of
// threads, gradients that have no direction or few.
#include "base/memory.h"
#include "devices/devices.h"
#include "formula.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const lm_matrix_shape shapes[] = {{9, 9},   {16, 144}, {144, 16}, {33, 100}, {100, 33}, {40, 40},
                                         {1, 300}, {300, 1},  {65, 67},  {16, 144}, {96, 864}, {260, 129}};
enum { SHAPES = sizeof shapes / sizeof shapes[0], BLOCKS = 4 };

static const lm_muon rule = {.momentum = 0.95f, .decay = 0.01f, .clip = 0.5f, .average = 0.75f};
static const float rate = 0.02f;

static lm_device *open_device(const char *name, int threads) {
    lm_device *d = NULL;
    lm_error e = {0};
    if (lm_device_open(&e, name, threads, &d) != LM_OK) print_error("%s\n", e.text);
    assert_non_null(d);
    return d;
}

// What a gradient is like.
typedef enum kind { ANY, NOTHING, RANK_2, UNEVEN, HUGE_NUMBERS } kind;

static double gradient(kind k, lm_matrix_shape s, int64_t i) {
    const int64_t row = i / s.columns, column = i % s.columns;
    switch (k) {
    case NOTHING:
        return 0;
    case RANK_2:
        return sin(0.3 * (double)row) * cos(0.7 * (double)column) + cos(0.9 * (double)row) * sin(0.2 * (double)column);
    case UNEVEN: // rows of very different sizes
        return formula_value(5, i) * pow(10, -4.0 * (double)row / (double)s.rows);
    case HUGE_NUMBERS:
        return 1e15 * formula_value(6, i);
    default:
        return formula_value(7, i);
    }
}

typedef struct bench {
    lm_device *d;
    lm_muon_work *work;
    float *block[SHAPES][BLOCKS]; // w, m, average, gradient
} bench;

static int64_t count_of(int i) {
    return shapes[i].rows * shapes[i].columns;
}

static float *device_block(lm_device *d, const float *host, int64_t n) {
    lm_error e = {0};
    void *block;
    assert_int_equal(d->backend->alloc(&e, d, (size_t)n * sizeof *host, &block), LM_OK);
    assert_int_equal(d->backend->upload(&e, d, block, host, (size_t)n * sizeof *host), LM_OK);
    return block;
}

static void bench_make(bench *b, const char *name, int threads, lm_muon_form form, bool bf16, kind k) {
    lm_error e = {0};
    b->d = open_device(name, threads);
    if (b->d->backend->muon_prepare(&e, b->d, shapes, SHAPES, form, bf16, &b->work) != LM_OK) fail_msg("%s", e.text);
    for (int i = 0; i < SHAPES; i++) {
        const int64_t n = count_of(i);
        float *host = lm_alloc((size_t)n, sizeof *host);
        assert_non_null(host);
        for (int j = 0; j < BLOCKS; j++) {
            for (int64_t at = 0; at < n; at++)
                host[at] = (float)(j == 3   ? gradient(k, shapes[i], at)
                                   : j == 1 ? 0
                                            : 0.1 * formula_value((uint64_t)j, at));
            b->block[i][j] = device_block(b->d, host, n);
        }
        lm_free(host);
    }
}

static void bench_free(bench *b) {
    for (int i = 0; i < SHAPES; i++)
        for (int j = 0; j < BLOCKS; j++) b->d->backend->release_memory(b->d, b->block[i][j]);
    b->d->backend->muon_release(b->d, b->work);
    lm_device_close(&b->d);
}

static void bench_step(bench *b, int times) {
    lm_error e = {0};
    lm_muon_matrix a[SHAPES];
    for (int i = 0; i < SHAPES; i++)
        a[i] = (lm_muon_matrix){
            .w = b->block[i][0], .m = b->block[i][1], .average = b->block[i][2], .g = b->block[i][3], .rate = rate};
    for (int i = 0; i < times; i++)
        if (b->d->backend->muon(&e, b->d, b->work, &rule, a) != LM_OK) fail_msg("%s", e.text);
}

static float *fetch(const bench *b, int i, int j) {
    lm_error e = {0};
    float *host = lm_alloc((size_t)count_of(i), sizeof *host);
    assert_non_null(host);
    const size_t bytes = (size_t)count_of(i) * sizeof *host;
    assert_int_equal(b->d->backend->download(&e, b->d, host, b->block[i][j], bytes), LM_OK);
    return host;
}

// Distance of two devices' blocks after some steps, relative to how far the second one's moved.
static double distance(const bench *a, const bench *b, int i, int j) {
    float *x = fetch(a, i, j), *y = fetch(b, i, j);
    double apart = 0, moved = 0;
    for (int64_t at = 0; at < count_of(i); at++) {
        assert_true(isfinite(x[at]));
        const double start = j == 1 ? 0 : (double)(float)(0.1 * formula_value((uint64_t)j, at));
        apart += pow((double)x[at] - (double)y[at], 2);
        moved += pow((double)y[at] - start, 2);
    }
    lm_free(x);
    lm_free(y);
    return moved > 0 ? sqrt(apart / moved) : apart;
}

static void compare(kind k, lm_muon_form form, bool bf16, double tolerance) {
    bench cpu, reference;
    bench_make(&cpu, "cpu", 2, form, bf16, k);
    bench_make(&reference, "reference", 1, form, bf16, k);
    bench_step(&cpu, 2);
    bench_step(&reference, 2);
    double worst = 0;
    for (int i = 0; i < SHAPES; i++)
        for (int j = 0; j < 3; j++) {
            const double apart = distance(&cpu, &reference, i, j);
            if (!(apart <= (j == 1 ? 1e-6 : tolerance)))
                fail_msg("%s: kind %d, matrix %d of %lld x %lld, block %d: %.2e apart", cpu.work->name, k, i,
                         (long long)shapes[i].rows, (long long)shapes[i].columns, j, apart);
            if (j != 1) worst = fmax(worst, apart);
        }
    print_message("%s, form %d, kind %d: %.1e apart\n", cpu.work->name, form, k, worst);
    assert_true(cpu.work->flops > 0 && cpu.work->held > 0);
    bench_free(&cpu);
    bench_free(&reference);
}

static void test_floats_are_the_references(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        const lm_muon_form form = i ? LM_MUON_QUICK : LM_MUON_PUBLISHED;
        compare(ANY, form, false, 1e-3);
        compare(NOTHING, form, false, 1e-3);
        compare(RANK_2, form, false, 0.05);
        compare(UNEVEN, form, false, 5e-3);
        compare(HUGE_NUMBERS, form, false, 5e-3);
    }
}

// As far as numbers of 8 bits go; the specification in bf16 is as far from itself in doubles.
static void test_bf16_is_near_the_reference(void **state) {
    (void)state;
    compare(ANY, LM_MUON_PUBLISHED, true, 0.05);
    compare(NOTHING, LM_MUON_PUBLISHED, true, 1e-3);
    compare(RANK_2, LM_MUON_PUBLISHED, true, 0.8); // what rounding adds to two directions becomes directions of its own
    compare(UNEVEN, LM_MUON_PUBLISHED, true, 0.1);
    compare(HUGE_NUMBERS, LM_MUON_PUBLISHED, true, 0.05);
    compare(ANY, LM_MUON_QUICK, true, 1e-3); // in floats
}

static void check_threads(lm_muon_form form, bool bf16) {
    bench one, three;
    bench_make(&one, "cpu", 1, form, bf16, ANY);
    bench_make(&three, "cpu", 3, form, bf16, ANY);
    bench_step(&one, 2);
    bench_step(&three, 2);
    for (int i = 0; i < SHAPES; i++)
        for (int j = 0; j < 3; j++) {
            float *x = fetch(&one, i, j), *y = fetch(&three, i, j);
            assert_memory_equal(x, y, (size_t)count_of(i) * sizeof *x);
            lm_free(x);
            lm_free(y);
        }
    bench_free(&one);
    bench_free(&three);
}

static void test_any_threads_give_the_same(void **state) {
    (void)state;
    check_threads(LM_MUON_PUBLISHED, false);
    check_threads(LM_MUON_PUBLISHED, true);
    check_threads(LM_MUON_QUICK, true);
}

// A matrix with orthogonal rows: the polynomial of its one singular value, by hand.
static void test_by_hand(void **state) {
    (void)state;
    enum { ROWS = 4, COLUMNS = 2, ALL = ROWS * COLUMNS };
    static const lm_matrix_shape shape = {ROWS, COLUMNS};
    static const char *const devices[] = {"reference", "cpu"};
    const float g[ALL] = {0, 3, 0, 0, -3, 0, 0, 0}, w[ALL] = {1, 2, 3, 4, 5, 6, 7, 8}, zero[ALL] = {0};
    double s[2] = {sqrt(0.5), sqrt(0.5) / (1.01 * pow(2.0 / 16, 0.125))}; // of both singular values, divided
    for (int form = 0; form < 2; form++) {
        int steps;
        const lm_muon_quintic *q = lm_muon_steps(form ? LM_MUON_QUICK : LM_MUON_PUBLISHED, &steps);
        assert_int_equal(steps, form ? 4 : 5);
        for (int i = 0; i < steps; i++)
            s[form] = q[i].a * s[form] + q[i].b * pow(s[form], 3) + q[i].c * pow(s[form], 5);
    }
    assert_true(s[0] > 0.68 && s[0] < 1.21 && s[1] > 0.74 && s[1] < 1.26);
    for (int k = 0; k < 4; k++) {
        const int form = k / 2;
        lm_error e = {0};
        lm_muon_work *work = NULL;
        lm_device *d = open_device(devices[k % 2], 1);
        assert_int_equal(
            d->backend->muon_prepare(&e, d, &shape, 1, form ? LM_MUON_QUICK : LM_MUON_PUBLISHED, false, &work), LM_OK);
        float *dw = device_block(d, w, ALL), *dm = device_block(d, zero, ALL), *dg = device_block(d, g, ALL), got[ALL];
        const lm_muon_matrix a = {.w = dw, .m = dm, .g = dg, .rate = rate};
        assert_int_equal(d->backend->muon(&e, d, work, &rule, &a), LM_OK);
        assert_int_equal(d->backend->download(&e, d, got, dw, sizeof got), LM_OK);
        for (int i = 0; i < ALL; i++) {
            const double want = (1 - 0.02 * 0.01) * (double)w[i] - 0.02 * sqrt(2) * s[form] * (double)g[i] / 3;
            if (!(fabs((double)got[i] - want) < 2e-6))
                fail_msg("%s: %d is %g, not %g", devices[k % 2], i, (double)got[i], want);
        }
        assert_int_equal(d->backend->download(&e, d, got, dm, sizeof got), LM_OK);
        for (int i = 0; i < ALL; i++) assert_true(fabs((double)got[i] - 0.5 * (double)g[i]) < 1e-6);
        d->backend->release_memory(d, dw);
        d->backend->release_memory(d, dm);
        d->backend->release_memory(d, dg);
        d->backend->muon_release(d, work);
        lm_device_close(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats_are_the_references),
        cmocka_unit_test(test_bf16_is_near_the_reference),
        cmocka_unit_test(test_any_threads_give_the_same),
        cmocka_unit_test(test_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
