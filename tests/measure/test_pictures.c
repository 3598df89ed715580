// Slices through clips and clips side by side: every pixel where it belongs, and how far two clips are apart.
#include "measure/made_clip.h"

#include <math.h>
#include <string.h>

// Another one for every place.
static int place(const void *user, int t, int y, int x, int k) {
    (void)user;
    return k == 0 ? t : k == 1 ? y : x;
}

static int shifted(const void *user, int t, int y, int x, int k) {
    return place(user, t, y, x, k) + *(const int *)user;
}

static void rows_of_slices_are_frames(void **state) {
    (void)state;
    lumiere_clip *c = clip_make(6, 5, 4, place, NULL), *xt, *yt;
    assert_status(lumiere_clip_slice(context, c, LUMIERE_SLICE_XT, 3, &xt), LUMIERE_OK, "");
    assert_status(lumiere_clip_slice(context, c, LUMIERE_SLICE_YT, 2, &yt), LUMIERE_OK, "");
    assert_true(lumiere_clip_frames(xt) == 1 && lumiere_clip_width(xt) == 5 && lumiere_clip_height(xt) == 6);
    assert_true(lumiere_clip_frames(yt) == 1 && lumiere_clip_width(yt) == 4 && lumiere_clip_height(yt) == 6);
    for (int t = 0; t < 6; t++) {
        for (int x = 0; x < 5; x++) assert_memory_equal(clip_pixel(xt, 0, t, x), clip_pixel(c, t, 3, x), 3);
        for (int y = 0; y < 4; y++) assert_memory_equal(clip_pixel(yt, 0, t, y), clip_pixel(c, t, y, 2), 3);
    }
    lumiere_clip_free(&xt);
    lumiere_clip_free(&yt);
    assert_status(lumiere_clip_slice(context, c, LUMIERE_SLICE_XT, 4, &xt), LUMIERE_USAGE, "no row 4");
    assert_null(xt);
    assert_status(lumiere_clip_slice(context, c, LUMIERE_SLICE_YT, -1, &yt), LUMIERE_USAGE, "from 0 to 4");
    lumiere_clip_free(&c);
}

static void distance_is_known(void **state) {
    (void)state;
    lumiere_comparison r;
    lumiere_clip *a = clip_make(6, 5, 4, place, NULL), *b = clip_make(9, 5, 4, shifted, &(int){5});
    lumiere_clip *c = clip_make(6, 4, 5, place, NULL);
    assert_status(lumiere_compare(context, a, b, NULL, NULL, &r), LUMIERE_OK, "");
    assert_true(r.frames == 6 && r.difference == 5);
    assert_true(fabs(r.psnr - 20 * log10(255 / 5.0)) < 1e-9);
    assert_status(lumiere_compare(context, a, a, NULL, NULL, &r), LUMIERE_OK, "");
    assert_true(isinf(r.psnr) && r.difference == 0);
    assert_status(lumiere_compare(context, a, c, NULL, NULL, &r), LUMIERE_OK, "");
    assert_true(isnan(r.psnr) && isnan(r.difference));
    lumiere_clip_free(&a);
    lumiere_clip_free(&b);
    lumiere_clip_free(&c);
}

// 3x2 pixels, 4 frames, beside 5x6 pixels, 7 frames: the first is enlarged three times.
static void both_are_shown(void **state) {
    (void)state;
    lumiere_clip *a = clip_make(4, 3, 2, place, NULL), *b = clip_make(7, 5, 6, place, NULL), *both;
    lumiere_compare_options o = {.gap = 2};
    b->clip.fps = 24;
    for (int shortest = 0; shortest < 2; shortest++) {
        o.shortest = shortest;
        assert_status(lumiere_compare(context, a, b, &o, &both, NULL), LUMIERE_OK, "");
        assert_int_equal(lumiere_clip_frames(both), shortest ? 4 : 7);
        assert_int_equal(lumiere_clip_width(both), 9 + 2 + 5);
        assert_int_equal(lumiere_clip_height(both), 6);
        assert_true(lumiere_clip_fps(both) == 16);
        for (int t = 0; t < lumiere_clip_frames(both); t++)
            for (int y = 0; y < 6; y++)
                for (int x = 0; x < 16; x++) {
                    const uint8_t *p = clip_pixel(both, t, y, x), gray[3] = {128, 128, 128};
                    const uint8_t *q = x < 9    ? clip_pixel(a, t < 4 ? t : 3, y / 3, x / 3)
                                       : x < 11 ? gray
                                                : clip_pixel(b, t, y, x - 11);
                    assert_memory_equal(p, q, 3);
                }
        lumiere_clip_free(&both);
    }
    a->clip.fps = 0;
    assert_status(lumiere_compare(context, a, b, NULL, &both, NULL), LUMIERE_OK, "");
    assert_true(lumiere_clip_fps(both) == 24 && lumiere_clip_width(both) == 14);
    lumiere_clip_free(&both);
    b->clip.fps = 0;
    assert_status(lumiere_compare(context, b, a, NULL, &both, NULL), LUMIERE_OK, "");
    assert_true(lumiere_clip_fps(both) == 16);
    lumiere_clip_free(&both);
    o.fps = 10;
    assert_status(lumiere_compare(context, b, a, &o, &both, NULL), LUMIERE_OK, "");
    assert_true(lumiere_clip_fps(both) == 10);
    lumiere_clip_free(&both);
    lumiere_clip_free(&a);
    lumiere_clip_free(&b);
}

static void too_wide_is_refused(void **state) {
    (void)state;
    lumiere_clip *a = clip_make(1, 2000, 1, black, NULL), *b = clip_make(1, 1, 2000, black, NULL), *both;
    assert_status(lumiere_compare(context, a, b, NULL, &both, NULL), LUMIERE_USAGE, "4000001 pixels wide");
    assert_null(both);
    assert_status(lumiere_compare(context, a, a, &(lumiere_compare_options){.gap = -1}, &both, NULL), LUMIERE_USAGE,
                  "gap of -1");
    assert_status(lumiere_compare(context, a, a, &(lumiere_compare_options){.gap = 2000000000}, &both, NULL),
                  LUMIERE_USAGE, "gap");
    lumiere_clip_free(&a);
    lumiere_clip_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_slices_are_frames),
        cmocka_unit_test(distance_is_known),
        cmocka_unit_test(both_are_shown),
        cmocka_unit_test(too_wide_is_refused),
    };
    return cmocka_run_group_tests(tests, context_open, context_close);
}
