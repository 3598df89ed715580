// Sizes, rates and lengths made to fit: what resampling must keep, and what is said of it.
#include "base/memory.h"
#include "base/random.h"
#include "tasks/fit.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static lm_stream stream = {.seed = 7, .purpose = LM_FOR_TEST};

static int between(int low, int high) {
    return low + (int)lm_stream_below(&stream, high - low + 1);
}

static uint8_t *random_bytes(int n, bool mask) {
    uint8_t *out = lm_alloc((size_t)n, 1);
    assert_non_null(out);
    for (int i = 0; i < n; i++)
        out[i] = (uint8_t)(mask ? 255 * (lm_stream_below(&stream, 5) == 0) : lm_stream_below(&stream, 256));
    return out;
}

static uint8_t *resample(const lm_fit *fit, bool mask, const uint8_t *from) {
    const uint8_t background[3] = {1, 2, 3};
    lm_error e = {0};
    lm_fitter *f;
    if (lm_fitter_create(&e, fit, mask, &f) != LM_OK) fail_msg("%s", e.text);
    uint8_t *out = lm_alloc((size_t)fit->width * (size_t)fit->height, mask ? 1 : 3);
    assert_non_null(out);
    lm_fitter_frame(f, from, background, out);
    lm_fitter_free(&f);
    assert_null(f);
    return out;
}

static void fits_are_centred(void **state) {
    (void)state;
    lm_fit f = lm_fit_make(LM_FIT_CROP, 1280, 720, 64, 64);
    assert_int_equal(f.cut_width, 720);
    assert_int_equal(f.cut_height, 720);
    assert_int_equal(f.left, 280);
    assert_int_equal(f.top, 0);
    f = lm_fit_make(LM_FIT_PAD, 1280, 720, 64, 64);
    assert_int_equal(f.shown_width, 64);
    assert_int_equal(f.shown_height, 36);
    assert_int_equal(f.y, 14);
    f = lm_fit_make(LM_FIT_STRETCH, 1280, 720, 64, 64);
    assert_int_equal(f.cut_width, 1280);
    assert_int_equal(f.shown_height, 64);
}

// Whatever the sizes, every part lies inside, and a picture of one colour keeps it.
static void any_size_fits(void **state) {
    (void)state;
    for (int i = 0; i < 300; i++) {
        int wide = i % 7 ? 90 : 1, w = between(1, wide), h = between(1, 90);
        lm_fit f = lm_fit_make((lm_fit_kind)(i % 3), w, h, between(1, 70), between(1, 70));
        assert_true(f.left >= 0 && f.top >= 0 && f.cut_width >= 1 && f.cut_height >= 1);
        assert_true(f.left + f.cut_width <= w && f.top + f.cut_height <= h);
        assert_true(f.x >= 0 && f.y >= 0 && f.x + f.shown_width <= f.width && f.y + f.shown_height <= f.height);
        uint8_t *from = lm_alloc((size_t)w * (size_t)h, 3);
        assert_non_null(from);
        memset(from, 200, (size_t)w * (size_t)h * 3);
        uint8_t *out = resample(&f, false, from);
        for (int y = 0; y < f.height; y++)
            for (int x = 0; x < f.width; x++) {
                bool shown = x >= f.x && x < f.x + f.shown_width && y >= f.y && y < f.y + f.shown_height;
                assert_int_equal(out[3 * (y * f.width + x) + 1], shown ? 200 : 2);
            }
        lm_free(from);
        lm_free(out);
    }
}

static void same_size_keeps_the_bytes(void **state) {
    (void)state;
    uint8_t *from = random_bytes(17 * 13 * 3, false);
    const lm_fit same = lm_fit_make(LM_FIT_CROP, 17, 13, 17, 13), cut = lm_fit_make(LM_FIT_CROP, 17, 13, 10, 13);
    uint8_t *out = resample(&same, false, from);
    assert_memory_equal(out, from, 17 * 13 * 3);
    lm_free(out);
    out = resample(&cut, false, from);
    for (int y = 0; y < 13; y++) assert_memory_equal(out + y * 30, from + (y * 17 + cut.left) * 3, 30);
    lm_free(out);
    lm_free(from);
}

static void shrinking_is_the_mean_of_the_area(void **state) {
    (void)state;
    uint8_t *from = random_bytes(12 * 8 * 3, false);
    const lm_fit f = lm_fit_make(LM_FIT_STRETCH, 12, 8, 3, 4);
    uint8_t *out = resample(&f, false, from);
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 3; x++)
            for (int c = 0; c < 3; c++) {
                int sum = 0;
                for (int k = 0; k < 8; k++) sum += from[((2 * y + k / 4) * 12 + 4 * x + k % 4) * 3 + c];
                assert_true(fabs(out[(y * 3 + x) * 3 + c] - sum / 8.0) <= 0.501);
            }
    lm_free(out);
    lm_free(from);
}

static void enlarging_keeps_straight_lines_straight(void **state) {
    (void)state;
    uint8_t from[16 * 3];
    for (int x = 0; x < 16; x++) memset(from + 3 * x, 10 * x + 20, 3);
    const lm_fit f = lm_fit_make(LM_FIT_STRETCH, 16, 1, 40, 1);
    uint8_t *out = resample(&f, false, from);
    for (int x = 5; x < 35; x++) assert_true(fabs(out[3 * x] - (20 + 10 * ((x + 0.5) * 0.4 - 0.5))) <= 0.501);
    lm_free(out);
}

static void masks_spread_to_what_they_touch(void **state) {
    (void)state;
    for (int i = 0; i < 50; i++) {
        int w = between(1, 30), h = between(1, 30);
        const lm_fit f = lm_fit_make(LM_FIT_STRETCH, w, h, between(1, w), between(1, h));
        uint8_t *from = random_bytes(w * h, true), *out = resample(&f, true, from);
        for (int y = 0; y < f.height; y++)
            for (int x = 0; x < f.width; x++) {
                bool touched = false;
                for (int v = y * h / f.height; v < h && v * f.height < (y + 1) * h; v++)
                    for (int u = x * w / f.width; u < w && u * f.width < (x + 1) * w; u++) touched |= from[v * w + u];
                assert_int_equal(out[y * f.width + x], touched ? 255 : 0);
            }
        lm_free(from);
        lm_free(out);
    }
}

static void time_is_resampled_to_the_nearest(void **state) {
    (void)state;
    for (int i = 0; i < 80; i++) {
        assert_int_equal(lm_fit_frame_at(i, 16, 16, 80), i);
        assert_int_equal(lm_fit_frame_at(i, 16, 32, 160), 2 * i);
        assert_int_equal(lm_fit_frame_at(i, 16, 8, 10), (i + 1) / 2 < 9 ? (i + 1) / 2 : 9);
        assert_int_equal(lm_fit_frame_at(i, 16, 30, 1), 0);
    }
    assert_int_equal(lm_fit_duration(30, 30, 16), 16);
    assert_int_equal(lm_fit_duration(1, 240, 0.1), 1);
    assert_int_equal(lm_fit_duration(4096, 0.1, 240), LM_MAX_READ_FRAMES);
}

static void the_fit_is_reported(void **state) {
    (void)state;
    static const struct {
        lm_fit_kind kind;
        int width, height, frames;
        double fps;
        const char *text;
    } cases[] = {
        {LM_FIT_CROP, 64, 64, 80, 16, "64x64; 80 frames"},
        {LM_FIT_CROP, 1280, 720, 300, 30,
         "1280x720, the middle 720x720, shrunk to 64x64; the first 149 of 300 frames at 30 a second become 80 at 16"},
        {LM_FIT_PAD, 20, 40, 1, 0, "20x40, enlarged to 32x64, within 64x64; one frame held for 80"},
        {LM_FIT_STRETCH, 20, 40, 40, 16, "20x40, stretched to 64x64; 40 frames, the last held until frame 80"},
        {LM_FIT_CROP, 64, 64, 200, 16, "64x64; the first 80 of 200 frames"},
        {LM_FIT_CROP, 65, 64, 20, 8, "65x64, the middle 64x64; 20 frames at 8 a second become 80 at 16, the last held"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        const lm_fit f = lm_fit_make(cases[i].kind, cases[i].width, cases[i].height, 64, 64);
        lm_fit_describe(&f, cases[i].frames, cases[i].fps, 80, 16, text, sizeof text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_are_centred),
        cmocka_unit_test(any_size_fits),
        cmocka_unit_test(same_size_keeps_the_bytes),
        cmocka_unit_test(shrinking_is_the_mean_of_the_area),
        cmocka_unit_test(enlarging_keeps_straight_lines_straight),
        cmocka_unit_test(masks_spread_to_what_they_touch),
        cmocka_unit_test(time_is_resampled_to_the_nearest),
        cmocka_unit_test(the_fit_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
