// Samplers on data whose v is known exactly: normal around a mean, standard deviation C. DDIM against the
// specification's own values, and the order of convergence of both against the exact solution of the probability-flow
// ODE.
#include "data/diffusion_vectors.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum { N = 60 };
static const double C2 = 0.25;

static double mean_at(int64_t i) {
    return (float)(0.9 * cos(1.3 * (double)i));
}

static void starting_noise(float *x) {
    for (int i = 0; i < N; i++) x[i] = (float)(1.5 * sin(0.37 * i + 0.2));
}

static lm_status gaussian_v(lm_error *e, void *user, const float *x, double t, float *v) {
    (void)e;
    if (user) (*(int *)user)++;
    lm_level l = lm_level_at(t);
    for (int64_t i = 0; i < N; i++) {
        double mean = mean_at(i);
        double x0 = mean + l.alpha * C2 / (l.alpha * l.alpha * C2 + l.sigma * l.sigma) * (x[i] - l.alpha * mean);
        v[i] = (float)(l.alpha * (x[i] - l.alpha * x0) / l.sigma - l.sigma * x0);
    }
    return LM_OK;
}

static void assert_ddim(const float *expected, int steps, double t_start, double clamp, float *x) {
    lm_error e = {0};
    int calls = 0;
    lm_sampler s = {.kind = LM_SAMPLER_DDIM,
                    .steps = steps,
                    .t_start = t_start,
                    .clamp = clamp,
                    .denoise = gaussian_v,
                    .user = &calls};
    assert_int_equal(lm_sample(&e, &s, x, N), LM_OK);
    assert_int_equal(calls, steps);
    double worst = 0;
    for (int i = 0; i < N; i++) worst = fmax(worst, fabs((double)x[i] - expected[i]));
    // single precision: eps = (x - alpha x0) / sigma loses digits where sigma is small
    if (worst > 2e-5) fail_msg("DDIM with %d steps is off by %g", steps, worst);
}

static void ddim_matches_the_specification(void **state) {
    (void)state;
    const struct {
        int steps;
        double clamp;
        const float *expected;
    } cases[] = {{1, 1, ddim_clamped_1}, {5, 1, ddim_clamped_5}, {25, 1, ddim_clamped_25}, {10, 1e9, ddim_free_10}};
    for (int c = 0; c < 4; c++) {
        float x[N];
        starting_noise(x);
        assert_ddim(cases[c].expected, cases[c].steps, 0.999, cases[c].clamp, x);
    }
    float x[N], noise[N];
    lm_level half = lm_level_at(0.5);
    starting_noise(noise);
    for (int i = 0; i < N; i++) x[i] = (float)(half.alpha * mean_at(i) + half.sigma * noise[i]);
    assert_ddim(ddim_from_half_6, 6, 0.5, 1, x);
}

// The ODE keeps every point at the same number of standard deviations, sqrt(alpha^2 c^2 + sigma^2) at t, from the mean.
static double error_after(lm_sampler_kind kind, int steps, double from, double to) {
    lm_error e = {0};
    lm_sampler s = {
        .kind = kind, .steps = steps, .t_start = from, .t_end = to, .clamp = INFINITY, .denoise = gaussian_v};
    lm_level l = lm_level_at(from), end = lm_level_at(to);
    double ratio =
        sqrt((end.alpha * end.alpha * C2 + end.sigma * end.sigma) / (l.alpha * l.alpha * C2 + l.sigma * l.sigma));
    float x[N], start[N];
    double sum = 0;
    starting_noise(start);
    memcpy(x, start, sizeof x);
    assert_int_equal(lm_sample(&e, &s, x, N), LM_OK);
    for (int i = 0; i < N; i++) {
        double exact = end.alpha * mean_at(i) + ratio * (start[i] - l.alpha * mean_at(i));
        sum += (x[i] - exact) * (x[i] - exact);
    }
    return sqrt(sum / N);
}

// Least-squares slope of log error over log steps.
static double convergence_order(lm_sampler_kind kind, const int *steps, int count, double from, double to) {
    const char *name = kind == LM_SAMPLER_DDIM ? "DDIM" : "DPM-Solver++(2M)";
    double sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (int i = 0; i < count; i++) {
        double error = error_after(kind, steps[i], from, to), x = log(steps[i]), y = log(error);
        print_message("%s, t %g to %g, %3d steps: error %.3g\n", name, from, to, steps[i], error);
        sx += x, sy += y, sxx += x * x, sxy += x * y;
    }
    double order = -(count * sxy - sx * sy) / (count * sxx - sx * sx);
    print_message("%s, t %g to %g: order %.2f\n", name, from, to, order);
    return order;
}

static void convergence_has_the_solvers_order(void **state) {
    (void)state;
    const int steps[] = {24, 32, 48, 64, 96, 128};
    double ddim = convergence_order(LM_SAMPLER_DDIM, steps, 6, 0.9, 0.1);
    double dpmpp = convergence_order(LM_SAMPLER_DPMPP_2M, steps, 6, 0.9, 0.1);
    assert_true(ddim > 0.9 && ddim < 1.1);
    assert_true(dpmpp > 1.85 && dpmpp < 2.15);
}

// Down to t = 0 evenly spaced times make the last steps in lambda long, so that the error falls as log(n) / n^2.
static void convergence_holds_down_to_no_noise(void **state) {
    (void)state;
    const int steps[] = {128, 192, 256, 384};
    double ddim = convergence_order(LM_SAMPLER_DDIM, steps, 4, 0.999, 0);
    double dpmpp = convergence_order(LM_SAMPLER_DPMPP_2M, steps, 4, 0.999, 0);
    assert_true(ddim > 0.9 && ddim < 1.1);
    assert_true(dpmpp > 1.5 && dpmpp < 2.15);
    for (int n = 12; n <= 48; n *= 2)
        assert_true(error_after(LM_SAMPLER_DPMPP_2M, n, 0.999, 0) < 0.25 * error_after(LM_SAMPLER_DDIM, n, 0.999, 0));
}

static void one_step_of_either_is_the_prediction(void **state) {
    (void)state;
    lm_error e = {0};
    float x[2][N], v[N], x0[N];
    for (int k = 0; k < 2; k++) {
        lm_sampler s = {.kind = k ? LM_SAMPLER_DDIM : LM_SAMPLER_DPMPP_2M,
                        .steps = 1,
                        .t_start = 0.999,
                        .clamp = 1,
                        .denoise = gaussian_v};
        starting_noise(x[k]);
        assert_int_equal(lm_sample(&e, &s, x[k], N), LM_OK);
    }
    float noise[N];
    starting_noise(noise);
    gaussian_v(&e, NULL, noise, 0.999, v);
    lm_v_to_x0(lm_level_at(0.999), noise, v, N, x0);
    for (int i = 0; i < N; i++) {
        float expected = fminf(fmaxf(x0[i], -1), 1);
        assert_true(fabsf(x[0][i] - expected) < 1e-6f && fabsf(x[1][i] - expected) < 1e-6f);
    }
}

static lm_status not_a_number(lm_error *e, void *user, const float *x, double t, float *v) {
    LM_TRY(gaussian_v(e, NULL, x, t, v));
    if (++*(int *)user == 3) v[17] = NAN;
    return LM_OK;
}

static lm_status failing(lm_error *e, void *user, const float *x, double t, float *v) {
    (void)user, (void)x, (void)t, (void)v;
    return lm_fail(e, LM_MODEL, "no network");
}

static bool stop_at_two(void *user, int step, int steps, const float *x0) {
    (void)user;
    assert_int_equal(steps, 9);
    assert_non_null(x0);
    return step < 2;
}

static void failures_end_the_run(void **state) {
    (void)state;
    float x[N];
    int calls = 0;
    lm_error e = {0};
    lm_sampler s = {
        .kind = LM_SAMPLER_DPMPP_2M, .steps = 9, .t_start = 0.999, .clamp = 1, .denoise = not_a_number, .user = &calls};
    starting_noise(x);
    assert_int_equal(lm_sample(&e, &s, x, N), LM_FAILED);
    assert_non_null(strstr(e.text, "not a number in step 3 of 9"));

    lm_error_clear(&e);
    s.denoise = failing;
    assert_int_equal(lm_sample(&e, &s, x, N), LM_MODEL);

    lm_error_clear(&e);
    calls = 0;
    s.denoise = gaussian_v;
    s.progress = stop_at_two;
    starting_noise(x);
    assert_int_equal(lm_sample(&e, &s, x, N), LM_CANCELLED);
    assert_int_equal(calls, 2);

    const struct {
        int steps;
        double start, end;
    } wrong[] = {{0, 0.999, 0}, {-3, 0.999, 0}, {5, 1, 0}, {5, 0.2, 0.2}, {5, 0.5, -0.1}, {5, NAN, 0}};
    for (int i = 0; i < 6; i++) {
        lm_error_clear(&e);
        s.steps = wrong[i].steps, s.t_start = wrong[i].start, s.t_end = wrong[i].end;
        assert_int_equal(lm_sample(&e, &s, x, N), LM_USAGE);
    }
}

static void dynamic_threshold_replaces_the_clamp(void **state) {
    (void)state;
    lm_error e = {0};
    lm_sampler s = {.kind = LM_SAMPLER_DDIM, .steps = 8, .t_start = 0.999, .clamp = 0.01, .denoise = gaussian_v};
    float clamped[N], thresholded[N];
    starting_noise(clamped);
    starting_noise(thresholded);
    assert_int_equal(lm_sample(&e, &s, clamped, N), LM_OK);
    s.dynamic_threshold = 0.9;
    assert_int_equal(lm_sample(&e, &s, thresholded, N), LM_OK);
    float most = 0;
    for (int i = 0; i < N; i++) {
        assert_true(fabsf(clamped[i]) <= 0.01f);
        assert_true(fabsf(thresholded[i]) <= 1);
        most = fmaxf(most, fabsf(thresholded[i]));
    }
    assert_true(most > 0.5f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ddim_matches_the_specification),
        cmocka_unit_test(convergence_has_the_solvers_order),
        cmocka_unit_test(convergence_holds_down_to_no_noise),
        cmocka_unit_test(one_step_of_either_is_the_prediction),
        cmocka_unit_test(failures_end_the_run),
        cmocka_unit_test(dynamic_threshold_replaces_the_clamp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
