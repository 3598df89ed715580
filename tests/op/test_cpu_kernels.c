// The CPU device's own kernels at every instruction set this processor has: against the reference on random shapes, the
// same bits for any number of threads and in chains, and what random shapes don't reach.
#include "base/memory.h"
#include "devices/devices.h"
#include "op_cases.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char *const levels[] = {"base", "avx2", "avx512", "avx512bf16"};
enum { LEVELS = sizeof levels / sizeof *levels };

static lm_device *open_device(const char *name, int threads) {
    lm_device *d = NULL;
    lm_error e = {0};
    if (lm_device_open(&e, name, threads, &d) != LM_OK) print_error("%s\n", e.text);
    assert_non_null(d);
    return d;
}

// NULL when the processor doesn't reach the level.
static lm_device *open_level(int level, int threads) {
    setenv("LUMIERE_CPU", levels[level], 1);
    lm_device *d = open_device("cpu", threads);
    unsetenv("LUMIERE_CPU");
    char wanted[32];
    snprintf(wanted, sizeof wanted, ", %s,", levels[level]);
    if (!strstr(d->summary, wanted)) lm_device_close(&d);
    return d;
}

static bool is_ours(lm_op_kind kind) {
    return kind < LM_OP_CONV || kind > LM_OP_LINEAR_GRAD_W;
}

static double error_of(const double *y, const double *right, int64_t n) {
    double wrong = 0, all = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        wrong += (y[i] - right[i]) * (y[i] - right[i]);
        all += right[i] * right[i];
    }
    return wrong / all;
}

static void run_case(lm_device *d, const op_case *c, lm_dtype compute, op_result *out) {
    lm_error e = {0};
    lm_status s = op_case_run(&e, d, c, compute, out);
    if (s != LM_OK) print_error("%s on %s: %s\n", c->text, d->summary, e.text);
    assert_int_equal(s, LM_OK);
}

// devices: of all levels reached, with 1, 2 and 3 threads.
static int compare_case(lm_device *reference, lm_device *const devices[LEVELS][3], const op_case *c, lm_dtype compute) {
    int failures = 0;
    op_result right, first, r;
    run_case(reference, c, compute, &right);
    for (int level = 0; level < LEVELS; level++) {
        for (int t = 0; t < 3 && devices[level][t]; t++) {
            run_case(devices[level][t], c, compute, &r);
            for (int k = 0; k < LM_MAX_OUTPUTS; k++) {
                if (!r.out[k]) continue;
                int64_t n = lm_desc_count(&r.desc[k]);
                double error = error_of(r.out[k], right.out[k], n);
                bool close = error <= op_case_tolerance(c, compute, &r);
                bool same = t == 0 || !memcmp(r.out[k], first.out[k], (size_t)n * sizeof(double));
                if (!close) print_error("%s: error %.1e in output %d: %s\n", levels[level], error, k, c->text);
                if (!same) print_error("%s: %d threads change output %d: %s\n", levels[level], t + 1, k, c->text);
                failures += !close + !same;
            }
            if (t == 0)
                first = r;
            else
                op_result_free(&r);
        }
        if (devices[level][0]) op_result_free(&first);
    }
    op_result_free(&right);
    return failures;
}

static void test_random_shapes(void **state) {
    (void)state;
    lm_device *reference = open_device("reference", 1), *devices[LEVELS][3];
    for (int i = 0; i < LEVELS * 3; i++) devices[i / 3][i % 3] = open_level(i / 3, i % 3 + 1);
    assert_non_null(devices[0][0]);
    lm_error e = {0};
    int count = 0, failures = 0;
    op_case *cases = op_cases_read(&e, &count);
    assert_non_null(cases);
    for (int i = 0; i < count; i++) {
        if (!is_ours(cases[i].op.kind)) continue;
        failures += compare_case(reference, devices, &cases[i], LM_F32);
        failures += compare_case(reference, devices, &cases[i], LM_BF16);
    }
    lm_free(cases);
    for (int i = 0; i < LEVELS * 3; i++) lm_device_close(&devices[i / 3][i % 3]);
    lm_device_close(&reference);
    assert_int_equal(failures, 0);
}

// Cases that the random shapes are too small for: many positions, many keys, several tiles.
static void test_large_shapes(void **state) {
    (void)state;
    const lm_desc clip = lm_desc_make(LM_F32, 5, (int64_t[]){1, 3, 20, 22, 24});
    const lm_desc qkv = lm_desc_make(LM_F32, 5, (int64_t[]){2, 2, 9, 16, 120});
    const lm_desc y = lm_desc_make(LM_F32, 5, (int64_t[]){2, 2, 9, 16, 40});
    const lm_desc row = lm_desc_make(LM_F32, 1, (int64_t[]){24});
    const lm_desc frames = lm_desc_make(LM_F32, 2, (int64_t[]){3, 48}); // scale and shift
    const lm_desc text = lm_desc_make(LM_F32, 3, (int64_t[]){2, 7, 80});
    const lm_desc mask = lm_desc_make(LM_F32, 2, (int64_t[]){2, 7});
    const op_case cases[] = {
        {{LM_OP_NORM, .attr.norm = {8, 1e-5f, true}}, 1, 1, "app", {0}, {clip, row, row}, "norm"},
        {{LM_OP_NORM, .attr.norm = {8, 1e-5f, true}}, 6, 1, "appp", {0}, {clip, row, row, frames}, "norm of frames"},
        {{LM_OP_NORM_GRAD, .attr.norm = {8, 1e-5f, true}},
         7,
         3,
         "appp\0a",
         {0},
         {clip, row, row, frames, clip},
         "norm_grad of frames"},
        {{LM_OP_NORM_GRAD, .attr.norm = {8, 1e-5f, true}},
         2,
         3,
         "app\0a",
         {0},
         {clip, row, row, {0}, clip},
         "norm_grad"},
        {{LM_OP_NORM_GRAD, .attr.norm = {3, 1e-5f, false}}, 3, 2, "app\0a", {0}, {clip, row, row, {0}, clip}, "sums"},
        {{LM_OP_ATTENTION, .attr.attention = {LM_SPACE, 2}}, 4, 1, "aam", {0}, {qkv, text, mask}, "attention"},
        {{LM_OP_ATTENTION_GRAD, .attr.attention = {LM_SPACE, 2}}, 5, 1, "aama", {0}, {qkv, text, mask, y}, "to qkv"},
        {{LM_OP_ATTENTION_GRAD, .attr.attention = {LM_SPACE, 2}}, 6, 3, "aama", {0}, {qkv, text, mask, y}, "to text"},
        {{.kind = LM_OP_MSE}, 7, 1, "aa", {0}, {qkv, qkv}, "mse"},
    };
    lm_device *reference = open_device("reference", 1), *devices[LEVELS][3];
    for (int i = 0; i < LEVELS * 3; i++) devices[i / 3][i % 3] = open_level(i / 3, i % 3 + 1);
    int failures = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        failures += compare_case(reference, devices, &cases[i], LM_F32);
        failures += compare_case(reference, devices, &cases[i], LM_BF16);
    }
    for (int i = 0; i < LEVELS * 3; i++) lm_device_close(&devices[i / 3][i % 3]);
    lm_device_close(&reference);
    assert_int_equal(failures, 0);
}

// One kernel over the caller's memory, which a CPU device can use as it is.
static lm_status try_op(lm_error *e, lm_device *d, const lm_op *op, lm_io *io) {
    lm_kernel *k = NULL;
    void *workspace = NULL;
    assert_int_equal(lm_kernel_create(e, d, op, io, &k), LM_OK);
    assert_int_equal(d->backend->alloc(e, d, k->workspace + 1, &workspace), LM_OK);
    lm_status s = d->backend->run(e, d, &(lm_call){k, io}, 1, workspace, 1);
    d->backend->release_memory(d, workspace);
    d->backend->release(d, k);
    return s;
}

static void run_op(lm_device *d, const lm_op *op, lm_io *io) {
    lm_error e = {0};
    assert_int_equal(try_op(&e, d, op, io), LM_OK);
}

static float noise(int64_t i) {
    return (float)((i * 2654435761u) >> 8 & 0xffff) / 65536.0f - 0.5f;
}

static void test_norm_far_from_zero(void **state) {
    (void)state;
    enum { N = 16 * 16 * 24 };
    static float x[N], y[2][N], gamma[24], beta[24];
    for (int i = 0; i < N; i++) x[i] = 100 + noise(i);
    x[0] = 130; // the first position is not like the others
    for (int i = 0; i < 24; i++) gamma[i] = 1, beta[i] = 0;
    const lm_desc clip = lm_desc_make(LM_F32, 5, (int64_t[]){1, 1, 16, 16, 24});
    const lm_desc row = lm_desc_make(LM_F32, 1, (int64_t[]){24});
    const lm_op op = {LM_OP_NORM, .attr.norm = {2, 1e-5f, false}};
    lm_io io = {.in = {{clip, x}, {row, gamma}, {row, beta}}, .out = {{clip, y[0]}}};
    lm_device *reference = open_device("reference", 1);
    run_op(reference, &op, &io);
    lm_device_close(&reference);
    for (int level = 0; level < LEVELS; level++) {
        lm_device *d = open_level(level, 1);
        if (!d) continue;
        io.out[0].data = y[1];
        run_op(d, &op, &io);
        double wrong = 0, all = 0;
        for (int i = 0; i < N; i++) {
            wrong += ((double)y[1][i] - y[0][i]) * ((double)y[1][i] - y[0][i]);
            all += (double)y[0][i] * y[0][i];
        }
        assert_true(wrong / all <= 1e-10);
        lm_device_close(&d);
    }
}

static void test_bf16_rounding(void **state) {
    (void)state;
    static const uint32_t from[] = {0x3f800000, 0x3f808000, 0x3f818000, 0x3f808001, 0xbf80ffff, 0x7f7fffff, 0x7f800000,
                                    0xff800000, 0x7fffffff, 0xff800001, 0x00000001, 0x00018000, 0x80000000};
    static const uint16_t to[] = {0x3f80, 0x3f80, 0x3f82, 0x3f81, 0xbf81, 0x7f80, 0x7f80,
                                  0xff80, 0x7fff, 0xffc0, 0x0000, 0x0002, 0x8000};
    enum { CASES = sizeof from / sizeof *from, COPIES = 3, N = CASES * COPIES };
    static uint32_t x[N], back[N];
    uint16_t y[N];
    for (int i = 0; i < N; i++) x[i] = from[i % CASES];
    const lm_desc f32 = lm_desc_make(LM_F32, 1, (int64_t[]){N}), bf16 = lm_desc_make(LM_BF16, 1, (int64_t[]){N});
    for (int level = 0; level < LEVELS; level++) {
        lm_device *d = open_level(level, 1);
        if (!d) continue;
        run_op(d, &(lm_op){LM_OP_CAST, .attr.cast = {LM_BF16}}, &(lm_io){.in = {{f32, x}}, .out = {{bf16, y}}});
        run_op(d, &(lm_op){LM_OP_CAST, .attr.cast = {LM_F32}}, &(lm_io){.in = {{bf16, y}}, .out = {{f32, back}}});
        for (int i = 0; i < N; i++) {
            assert_int_equal(y[i], to[i % CASES]);
            assert_int_equal(back[i], (uint32_t)y[i] << 16);
        }
        lm_device_close(&d);
    }
}

static void test_silu_at_the_ends(void **state) {
    (void)state;
    float x[] = {-INFINITY, -1e30f, -200, -88, -20, -0.0f, 0, 1e-30f, 20, 88, 200, 1e30f, INFINITY, NAN, -1, 1, 2};
    enum { N = sizeof x / sizeof *x };
    float y[N];
    const lm_desc row = lm_desc_make(LM_F32, 1, (int64_t[]){N});
    for (int level = 0; level < LEVELS; level++) {
        lm_device *d = open_level(level, 1);
        if (!d) continue;
        run_op(d, &(lm_op){.kind = LM_OP_SILU}, &(lm_io){.in = {{row, x}}, .out = {{row, y}}});
        for (int i = 1; i < N; i++) {
            double right = x[i] == INFINITY ? INFINITY : x[i] / (1 + exp(-(double)x[i]));
            if (isnan(right))
                assert_true(isnan(y[i]));
            else if (isinf(right))
                assert_true(isinf(y[i]));
            else if (x[i] > -88)
                assert_true(fabs(y[i] - right) <= 3e-7 * fabs(right));
            else
                assert_true(y[i] <= 0 && y[i] > -1e-6); // e^x stops at e^-87
        }
        lm_device_close(&d);
    }
}

// GELU and its slope keep their digits far left of 0 too.
static void test_gelu_everywhere(void **state) {
    (void)state;
    enum { N = 1201 };
    float x[N + 3], one[N + 3], y[N + 3], slope[N + 3];
    for (int i = 0; i < N + 3; i++) x[i] = (float)(i - N / 2) / 50, one[i] = 1;
    x[N] = NAN, x[N + 1] = INFINITY, x[N + 2] = -1e30f;
    const lm_desc row = lm_desc_make(LM_F32, 1, (int64_t[]){N + 3});
    for (int level = 0; level < LEVELS; level++) {
        lm_device *d = open_level(level, 1);
        if (!d) continue;
        run_op(d, &(lm_op){.kind = LM_OP_GELU}, &(lm_io){.in = {{row, x}}, .out = {{row, y}}});
        run_op(d, &(lm_op){.kind = LM_OP_GELU_GRAD}, &(lm_io){.in = {{row, x}, {row, one}}, .out = {{row, slope}}});
        for (int i = 0; i < N; i++) {
            double phi = 0.5 * erfc(-x[i] * sqrt(0.5)), density = 0.3989422804014327 * exp(-0.5 * x[i] * x[i]);
            assert_true(fabs(y[i] - x[i] * phi) <= 5e-6 * fabs(x[i] * phi));
            assert_true(fabs(slope[i] - (phi + x[i] * density)) <= 1e-6 * (phi + fabs(x[i]) * density) + 1e-12);
        }
        assert_true(isnan(y[N]) && isnan(slope[N]) && isinf(y[N + 1]));
        assert_true(y[N + 2] <= 0 && y[N + 2] > -1e-6);
        lm_device_close(&d);
    }
}

// norm -> silu -> add over 70 frames, which are three a piece.
static void test_chains_change_no_bit(void **state) {
    (void)state;
    enum { N = 70 * 3 * 2 * 20 };
    static float x[N], a[N], b[N], y[2][N], gamma[20], beta[20];
    for (int i = 0; i < N; i++) x[i] = noise(i);
    for (int i = 0; i < 20; i++) gamma[i] = 1 + noise(i), beta[i] = noise(i + 99);
    const lm_desc clip = lm_desc_make(LM_F32, 5, (int64_t[]){2, 35, 3, 2, 20});
    const lm_desc row = lm_desc_make(LM_F32, 1, (int64_t[]){20});
    const lm_op ops[3] = {{LM_OP_NORM, .attr.norm = {5, 1e-5f, false}}, {.kind = LM_OP_SILU}, {.kind = LM_OP_ADD}};
    for (int chained = 0; chained < 2; chained++) {
        lm_io io[3] = {{.in = {{clip, x}, {row, gamma}, {row, beta}}, .out = {{clip, a}}},
                       {.in = {{clip, a}}, .out = {{clip, b}}},
                       {.in = {{clip, b}, {clip, x}}, .out = {{clip, y[chained]}}}};
        lm_device *d = open_device("cpu", 2);
        lm_error e = {0};
        lm_call calls[3];
        size_t bytes = 1;
        void *workspace = NULL;
        for (int i = 0; i < 3; i++) {
            calls[i].io = &io[i];
            assert_int_equal(lm_kernel_create(&e, d, &ops[i], &io[i], &calls[i].kernel), LM_OK);
            assert_int_equal(calls[i].kernel->frames, 70);
            if (calls[i].kernel->workspace > bytes) bytes = calls[i].kernel->workspace;
        }
        assert_int_equal(d->backend->alloc(&e, d, bytes, &workspace), LM_OK);
        if (chained) assert_int_equal(d->backend->run(&e, d, calls, 3, workspace, 1), LM_OK);
        for (int i = 0; i < 3 && !chained; i++)
            assert_int_equal(d->backend->run(&e, d, &calls[i], 1, workspace, 1), LM_OK);
        for (int i = 0; i < 3; i++) d->backend->release(d, calls[i].kernel);
        d->backend->release_memory(d, workspace);
        lm_device_close(&d);
    }
    assert_memory_equal(y[0], y[1], sizeof y[0]);
}

static void test_squares(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 17, 4096, 65537, 300001};
    float *x = lm_alloc(300001, sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < 300001; i++) x[i] = noise(i);
    for (int level = 0; level < LEVELS; level++) {
        lm_device *d[3] = {open_level(level, 1), open_level(level, 2), open_level(level, 3)};
        for (int i = 0; i < 5 && d[0]; i++) {
            double right = 0, sum[3];
            for (int64_t k = 0; k < sizes[i]; k++) right += (double)x[k] * x[k];
            for (int t = 0; t < 3; t++)
                assert_int_equal(d[t]->backend->squares(NULL, d[t], x, sizes[i], &sum[t]), LM_OK);
            assert_true(fabs(sum[0] - right) <= 1e-6 * right);
            assert_true(sum[0] == sum[1] && sum[0] == sum[2]);
        }
        for (int t = 0; t < 3; t++) lm_device_close(&d[t]);
    }
    lm_free(x);
}

// Ten steps from the same state: within rounding of the reference, which computes in double.
static void test_adamw(void **state) {
    (void)state;
    enum { N = 40003, ARRAYS = 4 };
    float *right[ARRAYS], *ours[ARRAYS], *g = lm_alloc(N, sizeof *g);
    for (int i = 0; i < ARRAYS; i++) {
        right[i] = lm_alloc(N, sizeof(float));
        ours[i] = lm_alloc(N, sizeof(float));
        assert_true(right[i] && ours[i] && g);
    }
    lm_device *reference = open_device("reference", 1);
    for (int level = 0; level < LEVELS; level++) {
        lm_device *d = open_level(level, 2);
        if (!d) continue;
        for (int i = 0; i < N; i++) {
            right[0][i] = ours[0][i] = right[3][i] = ours[3][i] = noise(i);
            right[1][i] = ours[1][i] = right[2][i] = ours[2][i] = 0;
        }
        for (int step = 1; step <= 10; step++) {
            lm_adamw p = {1e-2f, 0.9f, 0.99f, 1e-8f, 0.05f, step % 2 ? 1 : 0.3f, 0.95f, step};
            for (int i = 0; i < N; i++) g[i] = noise(i + step);
            float *const *r = right, *const *o = ours;
            assert_int_equal(
                reference->backend->adamw(NULL, reference, &p, r[0], g, r[1], r[2], step > 5 ? NULL : r[3], N), LM_OK);
            assert_int_equal(d->backend->adamw(NULL, d, &p, o[0], g, o[1], o[2], step > 5 ? NULL : o[3], N), LM_OK);
        }
        for (int k = 0; k < ARRAYS; k++)
            for (int i = 0; i < N; i++) assert_true(fabsf(ours[k][i] - right[k][i]) <= 2e-6f);
        lm_device_close(&d);
    }
    lm_device_close(&reference);
    for (int i = 0; i < ARRAYS; i++) {
        lm_free(right[i]);
        lm_free(ours[i]);
    }
    lm_free(g);
}

static void test_refusals(void **state) {
    (void)state;
    lm_error e = {0};
    lm_device *d = NULL;
    assert_int_equal(lm_device_open(&e, "gpu", 1, &d), LM_USAGE);
    assert_non_null(strstr(e.text, "gpu"));
    lm_error_clear(&e);
    setenv("LUMIERE_CPU", "avx1024", 1);
    assert_int_equal(lm_device_open(&e, "cpu", 1, &d), LM_USAGE);
    unsetenv("LUMIERE_CPU");
    assert_non_null(strstr(e.text, "avx1024"));
    lm_error_clear(&e);
    d = open_device("cpu", 1);
    const lm_desc doubles = lm_desc_make(LM_F64, 1, (int64_t[]){4});
    lm_kernel *k = NULL;
    lm_io io = {.in = {{doubles, NULL}}, .out = {{doubles, NULL}}};
    assert_int_equal(lm_kernel_create(&e, d, &(lm_op){.kind = LM_OP_SILU}, &io, &k), LM_FAILED);
    assert_non_null(strstr(e.text, "silu"));
    lm_device_close(&d);
}

// As on the reference device: nothing is read or written there, and nothing else stands for it.
static void test_ids_outside_the_table(void **state) {
    (void)state;
    static const lm_op_kind kinds[] = {LM_OP_EMBEDDING, LM_OP_EMBEDDING_GRAD};
    static const char *const names[] = {"cpu", "reference"};
    int32_t ids[] = {1, -1, 2};
    float table[] = {1, 2, 3, 4, 5, 6}, y[9] = {0};
    const lm_desc tokens = lm_desc_make(LM_I32, 2, (int64_t[]){1, 3});
    const lm_desc rows = lm_desc_make(LM_F32, 2, (int64_t[]){2, 3}),
                  out = lm_desc_make(LM_F32, 3, (int64_t[]){1, 3, 3});
    for (int i = 0; i < 4; i++) {
        bool grad = kinds[i / 2] == LM_OP_EMBEDDING_GRAD;
        const lm_operand t = {rows, table}, o = {out, y};
        lm_io io = {.in = {{tokens, ids}, grad ? o : t}, .out = {grad ? t : o}};
        const lm_op op = {.kind = kinds[i / 2]};
        lm_device *d = open_device(names[i % 2], 1);
        lm_error e = {0};
        assert_int_equal(try_op(&e, d, &op, &io), LM_FAILED);
        assert_string_equal(e.text, "embedding: id -1 at position 1; ids must lie in 0 to 1");
        lm_device_close(&d);
    }
}

// The ceiling of a device: a kernel can't be asked for more, so it is no less than a slow loop's.
static void test_peaks(void **state) {
    (void)state;
    static const char *const names[] = {"cpu", "reference"};
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) {
            lm_error e = {0};
            lm_device *d = open_device(names[i], 1);
            double peak = 0;
            lm_dtype of = LM_I32;
            assert_int_equal(d->backend->peak(&e, d, k ? LM_BF16 : LM_F32, &peak, &of), LM_OK);
            assert_true(peak > 1e7 && peak < 1e13);
            assert_true(i ? of == LM_F64 : of == LM_F32 || (k && of == LM_BF16));
            lm_device_close(&d);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_large_shapes),
        cmocka_unit_test(test_norm_far_from_zero),
        cmocka_unit_test(test_bf16_rounding),
        cmocka_unit_test(test_silu_at_the_ends),
        cmocka_unit_test(test_gelu_everywhere),
        cmocka_unit_test(test_chains_change_no_bit),
        cmocka_unit_test(test_squares),
        cmocka_unit_test(test_adamw),
        cmocka_unit_test(test_ids_outside_the_table),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_peaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
