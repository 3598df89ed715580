// Windows and their means: coverage for every length, against the specification, against the mean written out.
#include "data/cascade_vectors.h"
#include "diffusion/multidiffusion.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

// The reference's list of starts: 0, stride ... below length - window, then length - window.
static void every_element_is_held(void **state) {
    (void)state;
    for (int length = 1; length <= 70; length++)
        for (int window = 1; window <= 20; window++)
            for (int overlap = 0; overlap < window; overlap++) {
                lm_windows w = lm_windows_make(length, window, overlap);
                int cover[70] = {0}, count = 0, size = window < length ? window : length;
                assert_int_equal(w.window, size);
                for (int start = 0; start < length - size; start += window - overlap, count++) {
                    assert_int_equal(lm_window_start(&w, count), start);
                    for (int k = 0; k < size; k++) cover[start + k]++;
                }
                assert_int_equal(lm_window_start(&w, count), length - size);
                for (int k = 0; k < size; k++) cover[length - size + k]++;
                assert_int_equal(w.count, count + 1);
                for (int at = 0; at < length; at++) {
                    assert_true(cover[at] > 0);
                    assert_int_equal(lm_window_cover(&w, at), cover[at]);
                }
            }
}

static void check_joined(int frames, int window, int overlap, const float *want) {
    float clip[21 * 2 * 3], sum[21 * 2 * 3] = {0}, part[21 * 2 * 3];
    for (int i = 0; i < 21 * 2 * 3; i++) clip[i] = (float)(sin(0.37 * i) * cos(0.011 * i));
    lm_grid g = {lm_windows_make(frames, window, overlap), lm_windows_make(1, 1, 0), lm_windows_make(2, 2, 0), 3};
    for (int i = 0; i < g.time.count; i++) {
        lm_grid_take(&g, i, 0, 0, clip, 0, part);
        for (int64_t k = 0; k < lm_grid_floats(&g); k++) part[k] = 0.5f * part[k] + 0.25f * (float)(k / 6);
        lm_grid_add(&g, i, 0, 0, part, sum, 0);
    }
    lm_grid_divide(&g, sum, 0, frames);
    for (int k = 0; k < frames * 6; k++)
        if (!(fabsf(sum[k] - want[k]) <= 1e-6f))
            fail_msg("%d frames, window %d, overlap %d: number %d is %g, not %g", frames, window, overlap, k,
                     (double)sum[k], (double)want[k]);
}

static void windows_join_as_specified(void **state) {
    (void)state;
    check_joined(21, 8, 3, joined_21_8_3);
    check_joined(21, 16, 2, joined_21_16_2);
    check_joined(5, 8, 3, joined_5_8_3);
    check_joined(16, 8, 0, joined_16_8_0);
    check_joined(21, 8, 7, joined_21_8_7);
}

static float number(int64_t i) {
    return (float)sin(1.7 * (double)i) - 0.2f;
}

static void one_window_is_the_identity(void **state) {
    (void)state;
    enum { FRAMES = 5, HEIGHT = 6, WIDTH = 4, N = FRAMES * HEIGHT * WIDTH * 3 };
    lm_grid g = {lm_windows_make(FRAMES, 16, 2), lm_windows_make(HEIGHT, 64, 16), lm_windows_make(WIDTH, 64, 16), 3};
    float clip[N], out[N], sum[N] = {0};
    for (int i = 0; i < N; i++) clip[i] = number(i);
    assert_int_equal(lm_grid_floats(&g), N);
    lm_grid_take(&g, 0, 0, 0, clip, 0, out);
    assert_memory_equal(out, clip, sizeof clip);
    lm_grid_add(&g, 0, 0, 0, out, sum, 0);
    lm_grid_divide(&g, sum, 0, FRAMES);
    assert_memory_equal(sum, clip, sizeof clip);
}

// Tiles along all three axes, frame by frame from a part of the clip: as the mean over all windows written out.
static void tiles_in_all_axes_are_means(void **state) {
    (void)state;
    enum { FRAMES = 7, HEIGHT = 9, WIDTH = 11, C = 2, FRAME = HEIGHT * WIDTH * C };
    lm_grid g = {lm_windows_make(FRAMES, 3, 1), lm_windows_make(HEIGHT, 4, 1), lm_windows_make(WIDTH, 5, 3), C};
    static float clip[FRAMES * FRAME], sum[FRAMES * FRAME], part[3 * 4 * 5 * C];
    static double total[FRAMES * FRAME];
    static int held[FRAMES * FRAME];
    memset(sum, 0, sizeof sum);
    memset(total, 0, sizeof total);
    memset(held, 0, sizeof held);
    for (int i = 0; i < FRAMES * FRAME; i++) clip[i] = number(i);
    for (int i = 0; i < g.time.count; i++)
        for (int r = 0; r < g.rows.count; r++)
            for (int c = 0; c < g.columns.count; c++) {
                int f0 = lm_window_start(&g.time, i), y0 = lm_window_start(&g.rows, r),
                    x0 = lm_window_start(&g.columns, c), skip = i % 2 ? f0 : 0;
                lm_grid_take(&g, i, r, c, clip + skip * FRAME, skip, part);
                for (int k = 0; k < 3 * 4 * 5 * C; k++) {
                    int frame = f0 + k / (4 * 5 * C), y = y0 + k / (5 * C) % 4, x = x0 + k / C % 5, ch = k % C;
                    int at = ((frame * HEIGHT + y) * WIDTH + x) * C + ch;
                    assert_true(part[k] == clip[at]);
                    part[k] += (float)(i + 2 * r + 5 * c);
                    total[at] += (double)part[k];
                    held[at]++;
                }
                lm_grid_add(&g, i, r, c, part, sum + skip * FRAME, skip);
            }
    lm_grid_divide(&g, sum, 0, 4);
    lm_grid_divide(&g, sum + 4 * FRAME, 4, FRAMES - 4);
    for (int i = 0; i < FRAMES * FRAME; i++) assert_true(fabs((double)sum[i] - total[i] / held[i]) < 1e-5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_is_held),
        cmocka_unit_test(windows_join_as_specified),
        cmocka_unit_test(one_window_is_the_identity),
        cmocka_unit_test(tiles_in_all_axes_are_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
