// Reduction, enlargement and noise of the low-resolution condition, against PyTorch's; one step of DDIM on its own.
#include "data/cascade_vectors.h"
#include "diffusion/cascade.h"
#include "diffusion/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { HEIGHT = 32, WIDTH = 48, N = HEIGHT * WIDTH * 3 };

static void picture(float *x, int n) {
    for (int i = 0; i < n; i++) x[i] = (float)(sin(0.37 * i) * cos(0.011 * i));
}

static void pictures_are_reduced_and_enlarged_as_by_pytorch(void **state) {
    (void)state;
    static float x[N], low[N / 16], large[N], part[8 * 20 * 3];
    picture(x, N);
    lm_reduce(x, HEIGHT / 4, WIDTH / 4, low);
    for (int i = 0; i < N / 16; i++) assert_true(fabsf(low[i] - reduced_32x48[i]) < 1e-6f);
    lm_enlarge(low, HEIGHT / 4, WIDTH / 4, 0, 0, HEIGHT, WIDTH, large);
    for (int i = 0; i < N; i += 7) assert_true(fabsf(large[i] - enlarged_every_7th[i / 7]) < 1e-6f);
    lm_enlarge(low, HEIGHT / 4, WIDTH / 4, 13, 28, 8, 20, part);
    for (int y = 0; y < 8; y++)
        assert_memory_equal(part + y * 20 * 3, large + ((13 + y) * WIDTH + 28) * 3, 20 * 3 * sizeof(float));
}

static void one_pixel_is_enlarged_to_16(void **state) {
    (void)state;
    const float pixel[3] = {0.5f, -1, 0.25f};
    float out[16 * 3];
    lm_enlarge(pixel, 1, 1, 0, 0, 4, 4, out);
    for (int i = 0; i < 16 * 3; i++) assert_true(out[i] == pixel[i % 3]);
}

static void noise_is_mixed_in(void **state) {
    (void)state;
    float x[3] = {1, -0.5f, 0};
    const float noise[3] = {2, 1, -1};
    lm_add_noise(lm_level_at(0), noise, 3, x);
    assert_true(x[0] == 1 && x[1] == -0.5f && x[2] == 0);
    lm_add_noise((lm_level){0.75, 0.5}, noise, 3, x);
    assert_true(x[0] == 1.75f && x[1] == 0.125f && x[2] == -0.5f);
}

static void residuals_are_what_enlarging_lacks(void **state) {
    (void)state;
    const float cond[3] = {0.5f, -0.25f, 0}, clip[3] = {0.75f, -1, 0.125f};
    float x[3] = {clip[0], clip[1], clip[2]};
    lm_to_residual(cond, 0.5, 8, 3, x);
    assert_true(x[0] == -2 && x[1] == -4 && x[2] == 1);
    lm_from_residual(cond, 0.5, 8, 3, x);
    assert_memory_equal(x, clip, sizeof x);
    float none[3] = {0};
    lm_from_residual(cond, 1, 8, 3, none);
    assert_memory_equal(none, cond, sizeof cond);
}

static lm_status guess(lm_error *e, void *user, const float *x, double t, float *v) {
    (void)e, (void)user;
    for (int i = 0; i < 60; i++) v[i] = 0.8f * x[i] - (float)t;
    return LM_OK;
}

// Steps taken one by one, in two parts of the array, are lm_sample's.
static void steps_add_up_to_a_sample(void **state) {
    (void)state;
    float want[60], x[60], v[60];
    picture(want, 60);
    picture(x, 60);
    const lm_sampler s = {
        .kind = LM_SAMPLER_DDIM, .steps = 5, .t_start = 0.999, .clamp = 1, .denoise = guess, .user = NULL};
    lm_error e = {0};
    assert_int_equal(lm_sample(&e, &s, want, 60), LM_OK);
    for (int i = 0; i < 5; i++) {
        double t = lm_step_time(0.999, 0, i, 5), next = lm_step_time(0.999, 0, i + 1, 5);
        guess(&e, NULL, x, t, v);
        assert_true(lm_ddim_step(t, next, 1, x, v, 20));
        assert_true(lm_ddim_step(t, next, 1, x + 20, v + 20, 40));
    }
    assert_memory_equal(x, want, sizeof want);
    v[7] = NAN;
    assert_false(lm_ddim_step(0.5, 0.25, 1, x, v, 60));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_reduced_and_enlarged_as_by_pytorch),
        cmocka_unit_test(one_pixel_is_enlarged_to_16),
        cmocka_unit_test(noise_is_mixed_in),
        cmocka_unit_test(residuals_are_what_enlarging_lacks),
        cmocka_unit_test(steps_add_up_to_a_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
