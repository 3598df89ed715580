// oneDNN's products of matrices against three loops: rows and columns of one element, both orders of each operand, with
// and without gaps between rows. Whole numbers, which bf16 and sums in floats hold exactly.
#include "base/memory.h"
#include "device/cpu/onednn.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const int64_t sizes[] = {1, 2, 9, 33, 64, 129};
enum { SIZES = sizeof sizes / sizeof *sizes, MOST = 129, GAP = 16, ROOM = MOST * (MOST + GAP) };

typedef struct matrix {
    int64_t rows, columns, row, column; // sizes, strides
} matrix;

static float a_values[ROOM], b_values[ROOM], c_values[ROOM], wanted[ROOM];
static uint16_t a_halves[ROOM], b_halves[ROOM];

static matrix make_matrix(int64_t rows, int64_t columns, bool turned, bool gaps) {
    const int64_t gap = gaps ? GAP : 0;
    return (matrix){rows, columns, turned ? 1 : columns + gap, turned ? rows + gap : 1};
}

static dnnl_status_t describe(const cpu_dnnl *d, const matrix *m, lm_dtype type, bool acc, dnnl_primitive_desc_t *out) {
    dn_op op = {.kind = DN_MATMUL};
    dn_layout *layout[] = {&op.x, &op.weights, &op.y};
    dnnl_status_t status = dnnl_success;
    for (int i = 0; status == dnnl_success && i < 3; i++) {
        const dnnl_dims_t size = {m[i].rows, m[i].columns}, stride = {m[i].row, m[i].column};
        status = lm_dn_layout_strided(layout[i], 2, size, i == 2 ? LM_F32 : type, stride);
    }
    if (status == dnnl_success) status = lm_dn_describe(d, &op, acc, NULL, out);
    lm_dn_op_free(&op);
    return status;
}

static void fill(float *values, uint16_t *halves, int seed) {
    for (int i = 0; i < ROOM; i++) {
        values[i] = (float)(i * seed % 17 - 8);
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        halves[i] = (uint16_t)(bits >> 16);
    }
}

// What c should be; elements between its rows stay.
static void multiply(const matrix *m, bool acc) {
    for (int i = 0; i < ROOM; i++) c_values[i] = wanted[i] = (float)(i % 5);
    for (int64_t i = 0; i < m[2].rows; i++)
        for (int64_t j = 0; j < m[2].columns; j++) {
            float sum = 0;
            for (int64_t k = 0; k < m[0].columns; k++)
                sum += a_values[i * m[0].row + k * m[0].column] * b_values[k * m[1].row + j * m[1].column];
            float *at = &wanted[i * m[2].row + j];
            *at = acc ? *at + sum : sum;
        }
}

static void check(const cpu_dnnl *d, const matrix *m, lm_dtype type, bool acc) {
    static const int args[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    lm_error e = {0};
    dnnl_primitive_desc_t pd = NULL;
    dn_primitive p;
    const dnnl_status_t status = describe(d, m, type, acc, &pd);
    if (status == dnnl_unimplemented && type == LM_BF16) return; // this processor has none
    assert_int_equal(status, dnnl_success);
    assert_int_equal(lm_dn_create(&e, d, pd, args, 3, &p), LM_OK);
    dnnl_primitive_desc_destroy(pd);
    void *scratch = lm_alloc_aligned(p.scratch + 1);
    assert_non_null(scratch);
    multiply(m, acc);
    const bool half = type == LM_BF16;
    void *data[] = {half ? (void *)a_halves : a_values, half ? (void *)b_halves : b_values, c_values};
    if (lm_dn_run(&e, d, &p, 0, data, scratch) != LM_OK) fail_msg("%s", e.text);
    if (memcmp(c_values, wanted, sizeof wanted))
        fail_msg("%s %s: [%lld,%lld] of strides %lld, %lld by [%lld,%lld] of %lld, %lld to rows %lld apart, acc %d",
                 p.impl, lm_dtype_name(type), (long long)m[0].rows, (long long)m[0].columns, (long long)m[0].row,
                 (long long)m[0].column, (long long)m[1].rows, (long long)m[1].columns, (long long)m[1].row,
                 (long long)m[1].column, (long long)m[2].row, acc);
    lm_free(scratch);
    lm_dn_destroy(&p);
}

static void products_of_all_strides(lm_dtype type) {
    lm_error e = {0};
    cpu_state s = {.threads = 1};
    if (lm_cpu_dnnl_open(&e, &s) != LM_OK) fail_msg("%s", e.text);
    fill(a_values, a_halves, 7919);
    fill(b_values, b_halves, 104729);
    for (int i = 0; i < SIZES * SIZES * SIZES; i++) {
        const int64_t rows = sizes[i % SIZES], inner = sizes[i / SIZES % SIZES], columns = sizes[i / SIZES / SIZES];
        for (unsigned way = 0; way < 64; way++) {
            const matrix m[] = {make_matrix(rows, inner, way & 1, way & 2),
                                make_matrix(inner, columns, way & 4, way & 8),
                                make_matrix(rows, columns, false, way & 16)};
            check(s.dnnl, m, type, way & 32);
        }
    }
    lm_cpu_dnnl_close(&s);
}

static void products_of_floats(void **state) {
    (void)state;
    products_of_all_strides(LM_F32);
}

static void products_of_bf16(void **state) {
    (void)state;
    products_of_all_strides(LM_BF16);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(products_of_floats), cmocka_unit_test(products_of_bf16)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
