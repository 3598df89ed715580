// Guidance and thresholding; percentiles against numpy's.
#include "data/diffusion_vectors.h"
#include "diffusion/guidance.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { N = 60 };

static void picture(float *x) {
    for (int i = 0; i < N; i++) x[i] = (float)(2.5 * sin(0.71 * i) * cos(0.13 * i));
}

static void guidance_goes_from_u_through_v(void **state) {
    (void)state;
    const float u[3] = {1, -2, 0.5f};
    float v[3] = {2, -2, 0};
    lm_guide(v, u, 3, 4);
    assert_true(v[0] == 5 && v[1] == -2 && v[2] == -1.5f);
    float same[3] = {2, -3, 0.25f};
    lm_guide(same, u, 3, 1);
    assert_true(same[0] == 2 && same[1] == -3 && same[2] == 0.25f);
    lm_guide(same, u, 3, 0);
    assert_true(same[0] == u[0] && same[1] == u[1] && same[2] == u[2]);
}

static void what_is_given_replaces_the_prediction(void **state) {
    (void)state;
    const float condition[3][4] = {{0.5f, -1, 0.25f, 1}, {0.5f, 0.5f, 0.5f, 0}, {0, 1, -0.5f, 1}};
    const float x[9] = {1, 2, -1, 0.5f, 0, 3, -2, 0.75f, 1};
    float v[9], x0[9];
    for (int i = 0; i < 9; i++) v[i] = 0.1f * (float)i;
    const lm_level l = lm_level_at(0.3);
    lm_keep_given(l, condition[0], x, 3, v);
    lm_v_to_x0(l, x, v, 9, x0);
    for (int i = 0; i < 9; i++) {
        if (condition[i / 3][3] == 1)
            assert_true(fabsf(x0[i] - condition[i / 3][i % 3]) < 1e-6f);
        else
            assert_true(v[i] == 0.1f * (float)i);
    }
}

static void clamp_bounds_both_sides(void **state) {
    (void)state;
    float x[4] = {-3, -0.5f, 0.75f, 1.25f};
    lm_clamp(x, 4, 1);
    assert_true(x[0] == -1 && x[1] == -0.5f && x[2] == 0.75f && x[3] == 1);
}

static void percentiles_are_numpys(void **state) {
    (void)state;
    const double p[] = {0.001, 0.5, 0.8, 0.95, 0.995};
    float x[N], scratch[N];
    picture(x);
    for (int i = 0; i < 5; i++) assert_true(fabsf(lm_percentile_abs(x, N, p[i], scratch) - abs_percentiles[i]) < 1e-6f);
    assert_true(lm_percentile_abs(x, 1, 0.9, scratch) == fabsf(x[0]));
    const float equal[5] = {2, -2, 2, 2, -2};
    assert_true(lm_percentile_abs(equal, 5, 0.7, scratch) == 2);
    float largest = 0;
    for (int i = 0; i < N; i++) largest = fmaxf(largest, fabsf(x[i]));
    assert_true(lm_percentile_abs(x, N, 1, scratch) == largest);
}

static void dynamic_threshold_is_imagens(void **state) {
    (void)state;
    float x[N], scratch[N];
    picture(x);
    lm_dynamic_threshold(x, N, 0.8, scratch);
    for (int i = 0; i < N; i++) assert_true(fabsf(x[i] - thresholded_80[i]) < 1e-6f);
    float small[3] = {0.1f, -0.2f, 0.3f};
    lm_dynamic_threshold(small, 3, 0.9, scratch);
    assert_true(small[0] == 0.1f && small[1] == -0.2f && small[2] == 0.3f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(guidance_goes_from_u_through_v), cmocka_unit_test(what_is_given_replaces_the_prediction),
        cmocka_unit_test(clamp_bounds_both_sides),        cmocka_unit_test(percentiles_are_numpys),
        cmocka_unit_test(dynamic_threshold_is_imagens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
