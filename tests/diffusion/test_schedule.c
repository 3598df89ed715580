// The schedule, v prediction and noise against the specification's values and their own definitions.
#include "base/random.h"
#include "data/diffusion_vectors.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { N = 60 };

static void vectors(float *noise, float *mean) {
    for (int i = 0; i < N; i++) {
        noise[i] = (float)(1.5 * sin(0.37 * i + 0.2));
        mean[i] = (float)(0.9 * cos(1.3 * i));
    }
}

static void level_is_on_the_unit_circle(void **state) {
    (void)state;
    for (int i = 0; i <= 100; i++) {
        lm_level l = lm_level_at(i / 100.0);
        assert_true(fabs(l.alpha * l.alpha + l.sigma * l.sigma - 1) < 1e-15);
    }
    assert_true(lm_level_at(0).alpha == 1 && lm_level_at(0).sigma == 0);
    assert_true(isinf(lm_level_lambda(lm_level_at(0))));
    assert_true(fabs(lm_level_lambda(lm_level_at(0.5))) < 1e-15);
    for (int i = 1; i < 100; i++) { // a shift by 3 is log 3 less in lambda
        double before = lm_level_lambda(lm_level_at(i / 100.0));
        assert_true(fabs(before - lm_level_lambda(lm_level_at(lm_time_shifted(i / 100.0, 3))) - log(3)) < 1e-12);
        assert_true(lm_time_shifted(i / 100.0, 1) == i / 100.0);
    }
    assert_true(lm_time_shifted(0, 3) == 0 && lm_time_shifted(1, 3) == 1);
    assert_true(fabs(lm_level_lambda(lm_level_at(0.25)) - log(1 / tan(acos(-1) / 8))) < 1e-14);
}

static void target_matches_the_specification(void **state) {
    (void)state;
    float noise[N], x0[N], xt[N], v[N], back[N];
    vectors(noise, x0);
    lm_level l = lm_level_at(0.3);
    lm_v_target(l, x0, noise, N, xt, v);
    lm_v_to_x0(l, xt, v, N, back);
    for (int i = 0; i < N; i++) {
        assert_true(fabsf(xt[i] - target_xt[i]) < 1e-6f);
        assert_true(fabsf(v[i] - target_v[i]) < 1e-6f);
        assert_true(fabsf(back[i] - x0[i]) < 1e-6f);
    }
}

static void noise_does_not_depend_on_the_batch(void **state) {
    (void)state;
    enum { FRAMES = 7, FRAME = 5 * 3 * 3 };
    float all[FRAMES * FRAME], fewer[3 * FRAME], one[FRAME], other[FRAMES * FRAME];
    lm_noise_fill(all, FRAMES, FRAME, 42, 3, 9);
    lm_noise_fill(fewer, 3, FRAME, 42, 3, 9);
    assert_memory_equal(all, fewer, sizeof fewer);
    for (int f = 0; f < FRAMES; f++) {
        lm_random_normal(one, FRAME, 42, LM_FOR_NOISE, 3, (uint32_t)f, 9);
        assert_memory_equal(all + f * FRAME, one, sizeof one);
    }
    const struct {
        uint64_t seed;
        uint32_t clip, step;
    } keys[] = {{43, 3, 9}, {42, 4, 9}, {42, 3, 10}};
    for (int k = 0; k < 3; k++) {
        lm_noise_fill(other, FRAMES, FRAME, keys[k].seed, keys[k].clip, keys[k].step);
        assert_memory_not_equal(all, other, sizeof all);
    }
    assert_memory_not_equal(all, all + FRAME, sizeof one);
}

static void noise_is_standard_normal(void **state) {
    (void)state;
    enum { FRAME = 48 * 48 * 3 };
    static float x[4 * FRAME];
    lm_noise_fill(x, 4, FRAME, 1, 0, 0);
    double sum = 0, squares = 0;
    for (int i = 0; i < 4 * FRAME; i++) {
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    assert_true(fabs(sum / (4 * FRAME)) < 0.02);
    assert_true(fabs(squares / (4 * FRAME) - 1) < 0.03);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(level_is_on_the_unit_circle),
        cmocka_unit_test(target_matches_the_specification),
        cmocka_unit_test(noise_does_not_depend_on_the_batch),
        cmocka_unit_test(noise_is_standard_normal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
