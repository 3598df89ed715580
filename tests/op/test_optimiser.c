// What backends do to flat blocks outside the graph: the CPU device against the reference, for any number of threads.
#include "base/memory.h"
#include "devices/devices.h"
#include "formula.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const int64_t sizes[] = {1, 7, 8, 15, 64, 1000, 65537, 300001};
enum { SIZES = sizeof sizes / sizeof sizes[0], LARGEST = 300001, BLOCKS = 5 };

typedef struct blocks { // w, gradient, m, v, average
    float *at[BLOCKS];
} blocks;

static lm_device *open_device(const char *name, int threads) {
    lm_device *d = NULL;
    lm_error e = {0};
    if (lm_device_open(&e, name, threads, &d) != LM_OK) print_error("%s\n", e.text);
    assert_non_null(d);
    return d;
}

static void fill(lm_device *d, int64_t n, blocks *b) {
    lm_error e = {0};
    float *host = lm_alloc((size_t)n, sizeof *host);
    assert_non_null(host);
    for (int k = 0; k < BLOCKS; k++) {
        for (int64_t i = 0; i < n; i++) {
            double v = formula_value((uint64_t)(n + k), i);
            host[i] = (float)(k == 3 ? 0.01 + v * v : v); // v is a mean of squares
        }
        void *block;
        assert_int_equal(d->backend->alloc(&e, d, (size_t)n * sizeof *host, &block), LM_OK);
        assert_int_equal(d->backend->upload(&e, d, block, host, (size_t)n * sizeof *host), LM_OK);
        b->at[k] = block;
    }
    lm_free(host);
}

static float *fetch(lm_device *d, const blocks *b, int k, int64_t n) {
    lm_error e = {0};
    float *host = lm_alloc((size_t)n, sizeof *host);
    assert_non_null(host);
    assert_int_equal(d->backend->download(&e, d, host, b->at[k], (size_t)n * sizeof *host), LM_OK);
    return host;
}

static void release(lm_device *d, blocks *b) {
    for (int k = 0; k < BLOCKS; k++) d->backend->release_memory(d, b->at[k]);
}

static void step(lm_device *d, blocks *b, int64_t n, int64_t number) {
    lm_error e = {0};
    lm_adamw p = {.rate = 1e-3f, .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f, .decay = 0.01f};
    p.clip = 0.5f;
    p.average = 0.75f;
    p.step = number;
    assert_int_equal(d->backend->adamw(&e, d, &p, b->at[0], b->at[1], b->at[2], b->at[3], b->at[4], n), LM_OK);
}

// Runs three updates on two devices; the largest difference of any number in any block.
static double largest_difference(lm_device *one, lm_device *other, int64_t n) {
    blocks a, b;
    double worst = 0;
    fill(one, n, &a);
    fill(other, n, &b);
    for (int64_t s = 1; s <= 3; s++) {
        step(one, &a, n, s);
        step(other, &b, n, s);
    }
    for (int k = 0; k < BLOCKS; k++) {
        float *x = fetch(one, &a, k, n), *y = fetch(other, &b, k, n);
        for (int64_t i = 0; i < n; i++) {
            assert_true(isfinite(x[i]));
            worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
        }
        lm_free(x);
        lm_free(y);
    }
    release(one, &a);
    release(other, &b);
    return worst;
}

static void test_adamw_is_the_references(void **state) {
    (void)state;
    lm_device *cpu = open_device("cpu", 2), *reference = open_device("reference", 1);
    for (int i = 0; i < SIZES; i++) assert_true(largest_difference(cpu, reference, sizes[i]) <= 3e-7);
    lm_device_close(&cpu);
    lm_device_close(&reference);
}

static void test_adamw_is_the_same_for_any_threads(void **state) {
    (void)state;
    lm_device *one = open_device("cpu", 1), *three = open_device("cpu", 3);
    for (int i = 0; i < SIZES; i++) assert_true(largest_difference(one, three, sizes[i]) == 0);
    lm_device_close(&one);
    lm_device_close(&three);
}

// One element by hand, from the formulas of arXiv 1711.05101 in doubles.
static void test_adamw_by_hand(void **state) {
    (void)state;
    lm_device *d = open_device("reference", 1);
    blocks b;
    fill(d, 1, &b);
    double w = formula_value(1, 0), g = 0.5 * formula_value(2, 0), m = formula_value(3, 0);
    double v = 0.01 + formula_value(4, 0) * formula_value(4, 0), average = formula_value(5, 0);
    step(d, &b, 1, 2);
    m = 0.9 * m + 0.1 * g;
    v = 0.99 * v + 0.01 * g * g;
    w -= 1e-3 * (m / (1 - 0.9 * 0.9) / (sqrt(v / (1 - 0.99 * 0.99)) + 1e-8) + 0.01 * w);
    average = 0.75 * average + 0.25 * w;
    const double expected[BLOCKS] = {w, formula_value(2, 0), m, v, average};
    for (int k = 0; k < BLOCKS; k++) {
        float *x = fetch(d, &b, k, 1);
        assert_true(fabs((double)*x - expected[k]) <= 3e-7);
        lm_free(x);
    }
    release(d, &b);
    lm_device_close(&d);
}

static void test_squares(void **state) {
    (void)state;
    lm_device *devices[] = {open_device("reference", 1), open_device("cpu", 1), open_device("cpu", 3)};
    for (int i = 0; i < SIZES; i++) {
        double sum[3];
        for (int k = 0; k < 3; k++) {
            lm_error e = {0};
            blocks b;
            fill(devices[k], sizes[i], &b);
            assert_int_equal(devices[k]->backend->squares(&e, devices[k], b.at[0], sizes[i], &sum[k]), LM_OK);
            release(devices[k], &b);
        }
        assert_true(fabs(sum[1] - sum[0]) <= 1e-6 * sum[0]);
        assert_true(sum[1] == sum[2]);
    }
    for (int k = 0; k < 3; k++) lm_device_close(&devices[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adamw_is_the_references),
        cmocka_unit_test(test_adamw_is_the_same_for_any_threads),
        cmocka_unit_test(test_adamw_by_hand),
        cmocka_unit_test(test_squares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
