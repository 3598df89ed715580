// Every op, forward and backward, on random shapes against PyTorch's results and on the CPU device against the
// reference.
#include "base/memory.h"
#include "devices/devices.h"
#include "formula.h"
#include "op_cases.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct vectors {
    op_case *cases;
    int count;
    float *samples;
    int64_t floats;
} vectors;

static float *read_samples(int64_t *floats) {
    FILE *f = fopen(LM_TEST_DATA "/op_samples.bin", "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *floats = ftell(f) / (long)sizeof(float);
    rewind(f);
    float *samples = malloc((size_t)*floats * sizeof *samples);
    assert_non_null(samples);
    assert_int_equal(fread(samples, sizeof *samples, (size_t)*floats, f), *floats);
    fclose(f);
    return samples;
}

static int setup(void **state) {
    static vectors v;
    lm_error e = {0};
    v.cases = op_cases_read(&e, &v.count);
    if (!v.cases) print_error("%s\n", e.text);
    assert_non_null(v.cases);
    v.samples = read_samples(&v.floats);
    *state = &v;
    return 0;
}

static int teardown(void **state) {
    vectors *v = *state;
    lm_free(v->cases);
    free(v->samples);
    return 0;
}

static lm_device *open_device(const char *name, int threads) {
    lm_device *d = NULL;
    lm_error e = {0};
    if (lm_device_open(&e, name, threads, &d) != LM_OK) print_error("%s\n", e.text);
    assert_non_null(d);
    return d;
}

static void run_case(lm_device *d, const op_case *c, lm_dtype compute, op_result *out) {
    lm_error e = {0};
    lm_status s = op_case_run(&e, d, c, compute, out);
    if (s != LM_OK) print_error("%s on %s: %s\n", c->text, d->backend->name, e.text);
    assert_int_equal(s, LM_OK);
}

// Worst error of each kind, to be shown at the end.
typedef struct worst {
    double error[LM_OP_COUNT];
    int failures;
} worst;

static void judge(worst *w, const op_case *c, double error, double tolerance, const char *device) {
    if (!(error <= w->error[c->op.kind])) w->error[c->op.kind] = error;
    if (error <= tolerance) return;
    w->failures++;
    print_error("%s: error %.2e, allowed %.0e: %s\n", device, error, tolerance, c->text);
}

static void show(const worst *w, const char *what) {
    print_message("worst normalised mean square error, %s:\n", what);
    for (int k = 0, column = 0; k < LM_OP_COUNT; k++)
        if (w->error[k] > 0)
            print_message("  %-20s %.1e%s", lm_op_name((lm_op_kind)k), w->error[k], ++column % 4 ? "" : "\n");
    print_message("\n");
}

// The samples hold each case twice: from fp32 operands and from operands rounded to bf16.
static void against_pytorch(const vectors *v, const char *device, lm_dtype compute) {
    lm_device *d = open_device(device, 2);
    worst w = {0};
    int64_t at = 0;
    for (int i = 0; i < v->count; i++) {
        const op_case *c = &v->cases[i];
        op_result r;
        run_case(d, c, compute, &r);
        double tolerance = op_case_tolerance(c, compute, &r);
        for (int rounded = 0; rounded < 2; rounded++)
            for (int k = 0; k < LM_MAX_OUTPUTS; k++) {
                if (!r.out[k]) continue;
                int64_t n = lm_desc_count(&r.desc[k]);
                assert_true(at + formula_record_size(n) <= v->floats);
                if (rounded == (compute == LM_BF16))
                    judge(&w, c, formula_error(r.out[k], n, v->samples + at), tolerance, device);
                at += formula_record_size(n);
            }
        op_result_free(&r);
    }
    assert_int_equal(at, v->floats);
    char what[64];
    snprintf(what, sizeof what, "%s in %s against PyTorch", device, lm_dtype_name(compute));
    show(&w, what);
    lm_device_close(&d);
    assert_int_equal(w.failures, 0);
}

static void test_reference_f64(void **state) {
    against_pytorch(*state, "reference", LM_F64);
}
static void test_reference_f32(void **state) {
    against_pytorch(*state, "reference", LM_F32);
}
static void test_reference_bf16(void **state) {
    against_pytorch(*state, "reference", LM_BF16);
}
static void test_cpu_f32(void **state) {
    against_pytorch(*state, "cpu", LM_F32);
}
static void test_cpu_bf16(void **state) {
    against_pytorch(*state, "cpu", LM_BF16);
}

static double full_error(const double *y, const double *right, int64_t n) {
    double wrong = 0, squares = 1e-30;
    for (int64_t i = 0; i < n; i++) {
        wrong += (y[i] - right[i]) * (y[i] - right[i]);
        squares += right[i] * right[i];
    }
    return wrong / squares;
}

static void against_reference(const vectors *v, lm_dtype compute) {
    lm_device *cpu = open_device("cpu", 2), *reference = open_device("reference", 1);
    worst w = {0};
    for (int i = 0; i < v->count; i++) {
        const op_case *c = &v->cases[i];
        op_result a, b;
        run_case(cpu, c, compute, &a);
        run_case(reference, c, compute, &b);
        for (int k = 0; k < LM_MAX_OUTPUTS; k++)
            if (a.out[k])
                judge(&w, c, full_error(a.out[k], b.out[k], lm_desc_count(&a.desc[k])),
                      op_case_tolerance(c, compute, &a), "cpu against reference");
        op_result_free(&a);
        op_result_free(&b);
    }
    lm_device_close(&cpu);
    lm_device_close(&reference);
    assert_int_equal(w.failures, 0);
}

static void test_cpu_against_reference_f32(void **state) {
    against_reference(*state, LM_F32);
}
static void test_cpu_against_reference_bf16(void **state) {
    against_reference(*state, LM_BF16);
}

static void test_thread_count_changes_no_bit(void **state) {
    const vectors *v = *state;
    lm_device *one = open_device("cpu", 1), *three = open_device("cpu", 3);
    int failures = 0;
    for (int i = 0; i < 2 * v->count; i++) {
        const op_case *c = &v->cases[i / 2];
        op_result a, b;
        run_case(one, c, i % 2 ? LM_BF16 : LM_F32, &a);
        run_case(three, c, i % 2 ? LM_BF16 : LM_F32, &b);
        for (int k = 0; k < LM_MAX_OUTPUTS; k++) {
            if (!a.out[k] || !memcmp(a.out[k], b.out[k], (size_t)lm_desc_count(&a.desc[k]) * sizeof(double))) continue;
            failures++;
            print_error("1 and 3 threads differ: %s\n", c->text);
        }
        op_result_free(&a);
        op_result_free(&b);
    }
    lm_device_close(&one);
    lm_device_close(&three);
    assert_int_equal(failures, 0);
}

static void test_cases_cover_every_op(void **state) {
    const vectors *v = *state;
    int count[LM_OP_COUNT] = {0};
    for (int i = 0; i < v->count; i++) count[v->cases[i].op.kind]++;
    for (int k = LM_OP_VIEW + 1; k < LM_OP_COUNT; k++) {
        if (count[k] < 50) print_error("%s has %d cases\n", lm_op_name((lm_op_kind)k), count[k]);
        assert_true(count[k] >= 50);
    }
}

static void test_reference_refuses_an_id_outside_its_table(void **state) {
    (void)state;
    lm_device *d = open_device("reference", 1);
    lm_error e = {0};
    lm_kernel *kernel = NULL;
    int32_t ids[] = {0, 4, 3};
    float table[4 * 2] = {0}, y[3 * 2] = {0};
    lm_io io = {
        .in = {{lm_desc_make(LM_I32, 2, (int64_t[]){1, 3}), ids}, {lm_desc_make(LM_F32, 2, (int64_t[]){4, 2}), table}},
        .out = {{lm_desc_make(LM_F32, 3, (int64_t[]){1, 3, 2}), y}}};
    assert_int_equal(lm_kernel_create(&e, d, &(lm_op){.kind = LM_OP_EMBEDDING}, &io, &kernel), LM_OK);
    void *workspace = lm_alloc_aligned(kernel->workspace);
    assert_non_null(workspace);
    assert_int_equal(d->backend->run(&e, d, &(lm_call){kernel, &io}, 1, workspace, 1), LM_FAILED);
    assert_string_equal(e.text, "embedding: id 4 at position 1; ids must lie in 0 to 3");
    lm_free(workspace);
    d->backend->release(d, kernel);
    lm_device_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases_cover_every_op),
        cmocka_unit_test(test_reference_f64),
        cmocka_unit_test(test_reference_f32),
        cmocka_unit_test(test_reference_bf16),
        cmocka_unit_test(test_cpu_f32),
        cmocka_unit_test(test_cpu_bf16),
        cmocka_unit_test(test_cpu_against_reference_f32),
        cmocka_unit_test(test_cpu_against_reference_bf16),
        cmocka_unit_test(test_thread_count_changes_no_bit),
        cmocka_unit_test(test_reference_refuses_an_id_outside_its_table),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
