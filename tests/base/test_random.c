// Philox against the known answers of its authors' library, and what is drawn from it.
#include "base/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Random123, examples/kat_vectors: philox4x32 10
static void test_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t out[4];
        lm_philox(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

// Box-Muller over the first known answer: sqrt(-2 ln((r0 + 1) / 2^32)) cos(2 pi r1 / 2^32), then sin, then r2 and r3.
static void test_normal_values(void **state) {
    (void)state;
    const double expected[4] = {0.9911376790966604, -0.9246625882436951, -0.6176089596525953, -0.4820685869111552};
    float out[4];
    lm_random_normal(out, 4, 0, (lm_purpose)0, 0, 0, 0);
    for (int i = 0; i < 4; i++) assert_true(fabs(out[i] - expected[i]) < 1e-6);
}

// The first four moments of a standard normal: 0, 1, 0, 3; within five standard errors.
static void test_normal_moments(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    float *x = malloc(N * sizeof *x);
    assert_non_null(x);
    lm_random_normal(x, N, 1234, LM_FOR_NOISE, 3, 2, 1);
    double m1 = 0, m2 = 0, m3 = 0, m4 = 0, beyond = 0, next = 0;
    for (int i = 0; i < N; i++) {
        double v = x[i];
        m1 += v, m2 += v * v, m3 += v * v * v, m4 += v * v * v * v;
        beyond += fabs(v) > 3;
        if (i > 0) next += v * x[i - 1]; // neighbours are not related
    }
    const double unit = 1 / sqrt(N); // standard errors: 1, sqrt(2), sqrt(15), sqrt(96), sqrt(p) times this
    assert_true(fabs(m1 / N) < 5 * unit);
    assert_true(fabs(m2 / N - 1) < 5 * sqrt(2) * unit);
    assert_true(fabs(m3 / N) < 5 * sqrt(15) * unit);
    assert_true(fabs(m4 / N - 3) < 5 * sqrt(96) * unit);
    assert_true(fabs(beyond / N - 0.0026998) < 5 * sqrt(0.0027) * unit);
    assert_true(fabs(next / N) < 5 * unit);
    free(x);
}

// Fewer numbers are the first of more; another seed, purpose, clip, frame or step gives others, unrelated to the first.
static void test_normal_keys(void **state) {
    (void)state;
    enum { N = 4001 };
    static float whole[N], part[N], other[N];
    lm_random_normal(whole, N, 99, LM_FOR_NOISE, 1, 2, 3);
    for (int n = 0; n < 12; n++) {
        memset(part, 0, sizeof part);
        lm_random_normal(part, n, 99, LM_FOR_NOISE, 1, 2, 3);
        assert_memory_equal(part, whole, (size_t)n * sizeof *part);
        assert_true(part[n] == 0);
    }
    static const struct {
        uint64_t seed;
        lm_purpose purpose;
        uint32_t clip, frame, step;
    } others[] = {{98, LM_FOR_NOISE, 1, 2, 3}, {99 + (1ull << 32), LM_FOR_NOISE, 1, 2, 3},
                  {99, LM_FOR_TIME, 1, 2, 3},  {99, LM_FOR_NOISE, 2, 2, 3},
                  {99, LM_FOR_NOISE, 1, 1, 3}, {99, LM_FOR_NOISE, 1, 2, 4},
                  {99, LM_FOR_NOISE, 2, 1, 3}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        double product = 0;
        lm_random_normal(other, N, others[i].seed, others[i].purpose, others[i].clip, others[i].frame, others[i].step);
        for (int j = 0; j < N; j++) product += (double)whole[j] * other[j];
        assert_true(fabs(product) < 5 * sqrt(N));
    }
}

static void test_stream(void **state) {
    (void)state;
    lm_stream s = {.seed = 5, .purpose = LM_FOR_DATA, .item = 6, .step = 7}, copy;
    uint32_t first[11];
    for (int i = 0; i < 11; i++) {
        if (i == 5) copy = s;
        first[i] = lm_stream_u32(&s);
    }
    assert_int_equal(s.position, 11);
    for (int i = 5; i < 11; i++) assert_int_equal(lm_stream_u32(&copy), first[i]); // stored and restored
    for (int i = 1; i < 11; i++) assert_int_not_equal(first[i], first[i - 1]);
    lm_stream other = {.seed = 5, .purpose = LM_FOR_DATA, .item = 6, .step = 8};
    assert_int_not_equal(lm_stream_u32(&other), first[0]);
}

static void test_uniform_and_below(void **state) {
    (void)state;
    enum { N = 140000 };
    lm_stream s = {.seed = 11, .purpose = LM_FOR_TEST};
    double sum = 0, squares = 0, chi = 0;
    for (int i = 0; i < N; i++) {
        double u = lm_stream_uniform(&s);
        assert_true(u >= 0 && u < 1);
        sum += u, squares += u * u;
    }
    assert_true(fabs(sum / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(squares / N - 1.0 / 3) < 5 * sqrt(4.0 / 45 / N));
    int counts[7] = {0};
    for (int i = 0; i < N; i++) {
        int64_t k = lm_stream_below(&s, 7);
        assert_in_range(k, 0, 6);
        counts[k]++;
    }
    for (int k = 0; k < 7; k++) chi += (counts[k] - N / 7.0) * (counts[k] - N / 7.0) / (N / 7.0);
    assert_true(chi < 27.9); // chi squared, 6 degrees of freedom, 1 in 10,000
    lm_stream t = s;
    assert_int_equal(lm_stream_below(&s, 1LL << 32), lm_stream_u32(&t));
    assert_int_equal(lm_stream_below(&s, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),  cmocka_unit_test(test_normal_values),
        cmocka_unit_test(test_normal_moments), cmocka_unit_test(test_normal_keys),
        cmocka_unit_test(test_stream),         cmocka_unit_test(test_uniform_and_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
