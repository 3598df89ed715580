// Truncated singular value decompositions: exact ranks, the best approximation's error, impossible ranks.
#include "store_test.h"

#include "base/memory.h"
#include "base/random.h"
#include "store/low_rank.h"

#include <math.h>
#include <string.h>

enum { MOST = 96 };

typedef struct factors {
    float left[MOST * MOST], right[MOST * MOST];
} factors;
static factors f;

static void random_numbers(float *out, int n, uint32_t item) {
    lm_random_normal(out, n, 3, LM_FOR_TEST, item, 0, 0);
}

// rows x columns with the singular values s: the sum of s_i u_i v_i^T, u and v columns of two reflections.
static void fill(float *a, int rows, int columns, const double *s, int count) {
    static float u[MOST], v[MOST];
    double uu = 0, vv = 0;
    random_numbers(u, rows, 1);
    random_numbers(v, columns, 2);
    for (int i = 0; i < rows; i++) uu += (double)u[i] * (double)u[i];
    for (int i = 0; i < columns; i++) vv += (double)v[i] * (double)v[i];
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            double sum = 0;
            for (int k = 0; k < count; k++)
                sum += s[k] * ((r == k) - 2 * (double)u[r] * (double)u[k] / uu) *
                       ((c == k) - 2 * (double)v[c] * (double)v[k] / vv);
            a[r * columns + c] = (float)sum;
        }
}

static double product(int r, int c, int rows, int columns, int rank) {
    double sum = 0;
    for (int k = 0; k < rank; k++) sum += (double)f.left[k * rows + r] * (double)f.right[k * columns + c];
    return sum;
}

// Square root of the sum of squares of a less the product.
static double error_of(const float *a, int rows, int columns, int rank) {
    double sum = 0;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) {
            double d = (double)a[r * columns + c] - product(r, c, rows, columns, rank);
            sum += d * d;
        }
    return sqrt(sum);
}

static double norm_of(const float *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

static void approximate(const float *a, int rows, int columns, int rank) {
    lm_error e = {0};
    memset(&f, 0x7f, sizeof f);
    if (lm_low_rank(&e, a, rows, columns, rank, f.left, f.right) != LM_OK) fail_msg("%s", e.text);
}

static void the_error_is_that_of_the_singular_values_left_out(void **state) {
    (void)state;
    static const int shapes[][2] = {{40, 90}, {90, 40}, {5, 60}, {60, 60}, {1, 7}, {7, 1}};
    static float a[MOST * MOST];
    for (int i = 0; i < 6; i++) {
        int rows = shapes[i][0], columns = shapes[i][1], count = rows < columns ? rows : columns;
        double s[MOST];
        for (int k = 0; k < count; k++) s[k] = 3.0 / (1 + k);
        fill(a, rows, columns, s, count);
        for (int rank = 1; rank <= count; rank += 3) {
            double left_out = 0;
            for (int k = rank; k < count; k++) left_out += s[k] * s[k];
            approximate(a, rows, columns, rank);
            double error = error_of(a, rows, columns, rank);
            if (!(error <= sqrt(left_out) * 1.01 + 1e-5 && error >= sqrt(left_out) * 0.999 - 1e-5))
                fail_msg("%dx%d, rank %d: error %g, not %g", rows, columns, rank, error, sqrt(left_out));
            for (int k = 0; k < rank && k < 6; k++) { // balanced, in falling order
                double norm = norm_of(f.left + k * rows, rows), other = norm_of(f.right + k * columns, columns);
                assert_true(fabs(norm * norm - s[k]) < 2e-3 * s[0] && fabs(other * other - s[k]) < 2e-3 * s[0]);
            }
        }
    }
}

static void a_matrix_of_low_rank_is_met_exactly(void **state) {
    (void)state;
    static float a[64 * 80];
    const double s[] = {1e3, 1, 1, 1e-3};
    fill(a, 64, 80, s, 4);
    approximate(a, 64, 80, 4);
    assert_true(error_of(a, 64, 80, 4) < 1e-4);
    approximate(a, 64, 80, 20); // more than it has
    assert_true(error_of(a, 64, 80, 20) < 1e-4);
    for (int i = 0; i < 20 * 64; i++) assert_true(isfinite(f.left[i]));
}

static void zeros_stay_zeros(void **state) {
    (void)state;
    static float a[8 * 9];
    approximate(a, 8, 9, 3);
    for (int i = 0; i < 3 * 8; i++) assert_true(f.left[i] == 0);
    for (int i = 0; i < 3 * 9; i++) assert_true(f.right[i] == 0);
}

static void the_same_matrix_gives_the_same_bytes(void **state) {
    (void)state;
    static float a[30 * 50];
    static factors first;
    random_numbers(a, 30 * 50, 7);
    approximate(a, 30, 50, 8);
    first = f;
    approximate(a, 30, 50, 8);
    assert_memory_equal(&first, &f, sizeof f);
}

static void impossible_ranks_are_refused(void **state) {
    (void)state;
    static const float a[6] = {1, 2, 3, 4, 5, 6};
    lm_error e = {0};
    assert_status(&e, LM_USAGE, lm_low_rank(&e, a, 2, 3, 0, f.left, f.right));
    assert_message(&e, "rank 0 of a matrix of 2 x 3");
    lm_error_clear(&e);
    assert_status(&e, LM_USAGE, lm_low_rank(&e, a, 2, 3, 3, f.left, f.right));
    assert_message(&e, "1 to 2 are possible");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_error_is_that_of_the_singular_values_left_out),
        cmocka_unit_test(a_matrix_of_low_rank_is_met_exactly),
        cmocka_unit_test(zeros_stay_zeros),
        cmocka_unit_test(the_same_matrix_gives_the_same_bytes),
        cmocka_unit_test(impossible_ranks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
