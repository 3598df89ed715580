// lumiere_measure on clips whose figures are known.
#include "measure/made_clip.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static lumiere_measures m;

static void measure(lumiere_clip *c, const lumiere_measure_options *o) {
    lumiere_measures_free(&m);
    assert_status(lumiere_measure(context, c, o, &m), LUMIERE_OK, "");
}

static void assert_near(double found, double expected, double tolerance) {
    if (!(fabs(found - expected) <= tolerance)) fail_msg("%.9g, not %.9g", found, expected);
}

static double luma_wave(double x, double y) {
    return 128 + 40 * sin(0.21 * x - 0.16 * y) + 35 * sin(0.07 * x + 0.12 * y + 1) + 20 * sin(0.6 * x + 0.5 * y + 2);
}

static int textured(const void *user, int t, int y, int x, int k) {
    const double *v = user; // pixels a frame right and down, degrees a frame about (31.5, 31.5)
    double angle = v[2] * t * 3.14159265358979 / 180, a = x - 31.5 - v[0] * t, b = y - 31.5 - v[1] * t;
    return (int)lround(luma_wave(31.5 + cos(angle) * a + sin(angle) * b, 31.5 - sin(angle) * a + cos(angle) * b)) -
           10 * k;
}

// A white square of 8x8 that moves right by a pixel a frame and comes in again on the left.
static int square(const void *user, int t, int y, int x, int k) {
    (void)user, (void)k;
    return (x - 4 - t + 256) % 64 < 8 && y >= 20 && y < 28 ? 255 : 0;
}

static uint32_t scrambled(uint32_t a) {
    a = (a ^ a >> 16) * 0x7feb352dU;
    a = (a ^ a >> 15) * 0x846ca68bU;
    return a ^ a >> 16;
}

static int noise(const void *user, int t, int y, int x, int k) {
    (void)user;
    return scrambled((uint32_t)(((t * 64 + y) * 64 + x) * 3 + k)) >> 24;
}

static void a_still_clip_has_no_difference(void **state) {
    (void)state;
    lumiere_clip *c = clip_make(12, 64, 64, textured, (const double[3]){0});
    measure(c, NULL);
    assert_true(m.frames == 12 && m.width == 64 && m.height == 64 && m.fps == 16);
    assert_true(m.difference == 0 && m.flicker == 0 && m.level_flicker == 0 && m.loop_difference == 0);
    assert_true(isnan(m.loop_ratio) && isnan(m.seam_ratio));
    assert_true(m.warp_error == 0 && m.warp_covered == 1 && m.speed == 0);
    assert_true(m.moved_x == 0 && m.moved_y == 0);
    lumiere_clip_free(&c);
}

static void a_moving_square_is_followed(void **state) {
    (void)state;
    lumiere_clip *c = clip_make(40, 64, 64, square, NULL);
    measure(c, NULL);
    const double column = 255 * 8 / (64.0 * 64.0);
    assert_near(m.difference, 2 * column, 1e-12);
    assert_near(m.differences[17], 2 * column, 1e-12);
    assert_near(m.flicker, 4 * column, 1e-12);
    assert_near(m.level_flicker, 0, 1e-12);
    assert_near(m.loop_difference, 16 * column, 1e-12); // both squares, whole
    assert_near(m.loop_ratio, 8, 1e-12);
    for (int t = 0; t < 40; t++) assert_near(m.path_x[t], (4 + 3.5 + t) / 64, 1e-12);
    assert_near(m.path_y[25], 23.5 / 64, 1e-12);
    assert_near(m.moved_x, 32.0 / 64, 1e-12);
    assert_near(m.moved_y, 0, 1e-12);
    assert_near(m.range_x, 39.0 / 64, 1e-12);
    assert_true(m.warp_error < 0.1 * m.difference && m.warp_covered > 0.9);
    lumiere_clip_free(&c);
}

static void a_loop_closes(void **state) {
    (void)state;
    lumiere_clip *c = clip_make(64, 64, 64, square, NULL); // once around
    measure(c, &(lumiere_measure_options){.no_flow = true});
    assert_near(m.loop_ratio, 1, 1e-12);
    assert_true(isnan(m.warp_error) && isnan(m.warp_covered) && isnan(m.speed) && isnan(m.warp_errors[5]));
    lumiere_clip_free(&c);
}

// What bench/evaluate_model.py says of the same clip; printed by tests/oracle/foreground_path.py.
static int disc(const void *user, int t, int y, int x, int k) {
    (void)user;
    int a = 10 * x - (60 + 9 * t), b = 10 * y - (50 + 7 * t);
    bool inside = a * a + b * b < 6400 && t != 2 && t != 20;
    return 30 + (x * 7 + y * 13 + t * 5 + k * 11) % 17 + (inside ? 180 - 60 * k : 0);
}

static void the_foreground_is_where_the_evaluation_sees_it(void **state) {
    (void)state;
    lumiere_clip *c = clip_make(23, 37, 29, disc, NULL);
    measure(c, &(lumiere_measure_options){.no_flow = true});
    assert_near(m.moved_x, 0.467703453756, 1e-11);
    assert_near(m.moved_y, 0.354778816447, 1e-11);
    assert_near((m.path_x[0] + m.path_x[1] + m.path_x[3]) / 3, 0.196811807774, 1e-11);
    assert_true(isnan(m.path_x[2]) && isnan(m.path_y[20]) && !isnan(m.path_x[3]));
    lumiere_clip_free(&c);
}

// A level more every frame, and four more at each multiple of 12 or 14.
static void seams_are_found(void **state) {
    (void)state;
    enum { FRAMES = 72 };
    int even[FRAMES], jumps[FRAMES], steps[FRAMES];
    for (int t = 0; t < FRAMES; t++) {
        even[t] = t;
        jumps[t] = t + 4 * (t / 14);
        steps[t] = t + 4 * (t / 12);
    }
    lumiere_clip *reference = clip_make(FRAMES, 3, 2, level_of_frame, even);
    lumiere_clip *seamed = clip_make(FRAMES, 5, 7, level_of_frame, jumps);
    lumiere_clip *cut = clip_make(FRAMES, 5, 7, level_of_frame, steps);
    lumiere_measure_options o = {.window = 16, .overlap = 2, .no_flow = true};
    measure(reference, &o);
    assert_int_equal(m.borders, 8); // windows begin at 14, 28, 42, 56 and end at 16, 30, 44, 58
    assert_near(m.seam_ratio, 1, 1e-12);
    assert_true(isnan(m.border_gain));
    measure(seamed, &o);
    assert_near(m.border_difference, 3, 1e-12);
    double rest = (62 * 1 + 5) / 63.0; // 70, where no window changes, is among them
    assert_near(m.seam_ratio, 3 / rest, 1e-12);
    measure(cut, &(lumiere_measure_options){.window = 12, .no_flow = true, .reference = reference});
    assert_int_equal(m.borders, 5);
    assert_near(m.seam_ratio, 5, 1e-12);
    assert_near(m.border_gain, 5, 1e-12);
    assert_near(m.rest_gain, 1, 1e-12);
    measure(cut, &(lumiere_measure_options){.window = 72, .overlap = 71, .no_flow = true}); // one window
    assert_true(m.borders == 0 && isnan(m.seam_ratio) && isnan(m.border_difference));
    measure(cut, &(lumiere_measure_options){.window = 1, .no_flow = true}); // every pair is a border
    assert_true(m.borders == 71 && isnan(m.seam_ratio));
    lumiere_clip_free(&reference);
    lumiere_clip_free(&seamed);
    lumiere_clip_free(&cut);
}

// Against windows written down one by one.
static void borders_are_where_windows_change(void **state) {
    (void)state;
    for (int frames = 1; frames <= 40; frames++)
        for (int window = 1; window <= 20; window++)
            for (int overlap = 0; overlap < window; overlap += 1 + window / 3) {
                uint64_t held[41] = {0}, number = 1;
                int last = frames > window ? frames - window : 0, borders = 0;
                for (int start = 0;; start += window - overlap, number <<= 1) {
                    if (start > last) start = last;
                    for (int t = start; t < start + window && t < frames; t++) held[t] |= number;
                    if (start == last) break;
                }
                for (int t = 1; t < frames; t++) borders += held[t] != held[t - 1];
                lumiere_clip *c = clip_make(frames, 1, 1, black, NULL);
                measure(c, &(lumiere_measure_options){.window = window, .overlap = overlap, .no_flow = true});
                if (m.borders != borders)
                    fail_msg("%d frames, windows %d,%d: %d borders, not %d", frames, window, overlap, m.borders,
                             borders);
                lumiere_clip_free(&c);
            }
}

// Independent bytes: E|a - b| = 256/3, E|a - 2b + c| = 7/12 256, but for what rounding to bytes adds.
static void noise_has_the_differences_of_noise(void **state) {
    (void)state;
    lumiere_clip *c = clip_make(20, 64, 64, noise, NULL);
    measure(c, NULL);
    assert_near(m.difference, 256 / 3.0, 0.5);
    assert_near(m.flicker, 256 * 7 / 12.0, 1);
    assert_near(m.level_flicker, 1.3, 1); // a mean's second difference: sqrt(6) 73.9 / sqrt(3 64 64) sqrt(2 / pi)
    assert_near(m.loop_ratio, 1, 0.01);
    assert_true(m.warp_error > 0.5 * m.difference); // no motion explains it
    lumiere_clip_free(&c);
}

static void flicker_is_told_from_motion(void **state) {
    (void)state;
    const int levels[] = {100, 110, 100, 110, 100, 110};
    lumiere_clip *c = clip_make(6, 9, 4, level_of_frame, levels);
    measure(c, NULL);
    assert_near(m.difference, 10, 1e-12);
    assert_near(m.flicker, 20, 1e-12);
    assert_near(m.level_flicker, 20, 1e-12);
    lumiere_clip_free(&c);
}

static void motion_explains_what_moves(void **state) {
    (void)state;
    const double translation[] = {1.5, -0.75, 0}, rotation[] = {0, 0, 2};
    lumiere_clip *c = clip_make(8, 64, 64, textured, translation);
    measure(c, NULL);
    print_message("translation: adjacent difference %.3f, warping error %.3f on %.1f %%, %.3f pixels a frame\n",
                  m.difference, m.warp_error, 100 * m.warp_covered, m.speed);
    assert_true(m.warp_error < 0.1 * m.difference && m.warp_covered > 0.9);
    assert_near(m.speed, hypot(1.5, 0.75), 0.05);
    lumiere_clip_free(&c);
    c = clip_make(8, 64, 64, textured, rotation);
    measure(c, NULL);
    print_message("rotation: adjacent difference %.3f, warping error %.3f on %.1f %%\n", m.difference, m.warp_error,
                  100 * m.warp_covered);
    assert_true(m.warp_error < 0.1 * m.difference && m.warp_covered > 0.9);
    // of the mean distance from the middle, 0.3826 x 64 pixels
    assert_near(m.speed, 0.3826 * 64 * 2 * 3.14159265 / 180, 0.05);
    lumiere_clip_free(&c);
}

// Another picture from frame 5 on.
static int with_cut(const void *user, int t, int y, int x, int k) {
    return textured(user, t, t < 5 ? y : x + 40, t < 5 ? x : 3 * y, k);
}

static void a_cut_is_the_worst_pair(void **state) {
    (void)state;
    lumiere_clip *c = clip_make(9, 64, 64, with_cut, (const double[]){0.4, 0.2, 0});
    measure(c, NULL);
    for (int i = 0; i < 8; i++) assert_true(i == 4 || m.warp_errors[i] < 0.3 * m.warp_errors[4]);
    lumiere_clip_free(&c);
}

static void threads_change_nothing(void **state) {
    (void)state;
    lumiere_context *two;
    lumiere_measures other;
    lumiere_clip *c = clip_make(7, 40, 24, textured, (const double[]){0.8, 0.3, 1});
    measure(c, NULL);
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 3}, &two), LUMIERE_OK);
    assert_int_equal(lumiere_measure(two, c, NULL, &other), LUMIERE_OK);
    assert_memory_equal(m.warp_errors, other.warp_errors, 6 * sizeof(double));
    assert_true(m.warp_covered == other.warp_covered && m.speed == other.speed);
    lumiere_measures_free(&other);
    lumiere_context_free(&two);
    lumiere_clip_free(&c);
}

static void small_clips_have_fewer_figures(void **state) {
    (void)state;
    const lumiere_measure_options o = {.window = 2, .overlap = 1};
    lumiere_clip *c = clip_make(1, 1, 1, square, NULL);
    measure(c, &o);
    assert_true(isnan(m.difference) && isnan(m.flicker) && isnan(m.level_flicker) && isnan(m.loop_difference));
    assert_true(isnan(m.loop_ratio) && isnan(m.warp_error) && isnan(m.speed) && isnan(m.moved_x) && isnan(m.range_y));
    lumiere_clip_free(&c);
    c = clip_make(1, 64, 64, square, NULL);
    measure(c, NULL);
    assert_true(isnan(m.difference) && m.moved_x == 0 && m.range_x == 0);
    assert_near(m.path_x[0], 7.5 / 64, 1e-12);
    lumiere_clip_free(&c);
    c = clip_make(2, 64, 64, square, NULL);
    measure(c, NULL);
    assert_true(m.loop_ratio == 1 && isnan(m.flicker));
    assert_near(m.moved_x, 1.0 / 64, 1e-12);
    lumiere_clip_free(&c);
    c = clip_make(3, 1, 1, level_of_frame, (const int[]){0, 200, 255});
    measure(c, &o);
    assert_near(m.difference, 127.5, 1e-12);
    assert_near(m.flicker, 145, 1e-12);
    assert_true(m.warp_covered == 1 && m.speed == 0);
    assert_near(m.warp_error, 127.5, 1e-12);
    lumiere_clip_free(&c);
}

static void wrong_options_are_refused(void **state) {
    (void)state;
    lumiere_clip *c = clip_make(4, 3, 3, black, NULL), *other = clip_make(5, 3, 3, black, NULL);
    lumiere_measures_free(&m);
    static const int wrong[][2] = {{4, 4}, {4, 5}, {4, -1}, {-4, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        lumiere_measure_options o = {.window = wrong[i][0], .overlap = wrong[i][1]};
        assert_status(lumiere_measure(context, c, &o, &m), LUMIERE_USAGE, "can share");
        assert_null(m.differences);
    }
    lumiere_measure_options o = {.window = 2, .reference = other};
    assert_status(lumiere_measure(context, c, &o, &m), LUMIERE_USAGE, "as many");
    o.window = 0;
    assert_status(lumiere_measure(context, c, &o, &m), LUMIERE_USAGE, "no windows");
    lumiere_clip_free(&c);
    lumiere_clip_free(&other);
}

static int finish(void **state) {
    lumiere_measures_free(&m);
    return context_close(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_still_clip_has_no_difference),
        cmocka_unit_test(a_moving_square_is_followed),
        cmocka_unit_test(a_loop_closes),
        cmocka_unit_test(the_foreground_is_where_the_evaluation_sees_it),
        cmocka_unit_test(seams_are_found),
        cmocka_unit_test(borders_are_where_windows_change),
        cmocka_unit_test(noise_has_the_differences_of_noise),
        cmocka_unit_test(flicker_is_told_from_motion),
        cmocka_unit_test(motion_explains_what_moves),
        cmocka_unit_test(a_cut_is_the_worst_pair),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(small_clips_have_fewer_figures),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, context_open, finish);
}
