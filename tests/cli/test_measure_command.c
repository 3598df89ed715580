// lumiere measure and lumiere compare as a user meets them: what they print and write, exit codes, messages.
#include "cli/clip_files.h"
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char *work;
static command_result r;

#define RUN_HERE(...) RUN(&r, work, __VA_ARGS__)

// One line on stderr that holds what, nothing on stdout.
static void assert_says(const char *what) {
    if (r.code) fail_msg("exit code %d: %s", r.code, r.err);
    if (!strstr(r.out, what)) fail_msg("%s does not say \"%s\"", r.out, what);
}

static void in_work(char *out, size_t size, const char *name) {
    snprintf(out, size, "%s/%s", work, name);
}

// A white square of 8x8 in a clip of 64 by height, a pixel further to the right in every frame.
static void write_square(const char *name, int frames, int height, int level) {
    char path[512];
    lm_clip c;
    assert_int_equal(lm_clip_alloc(NULL, frames, 64, height, 3, &c), LM_OK);
    for (int i = 0; i < frames * height * 64; i++) {
        int x = i % 64, y = i / 64 % height, t = i / 64 / height;
        memset(c.data + 3 * i, x >= t + 4 && x < t + 12 && y >= 20 && y < 28 ? 255 : level, 3);
    }
    c.fps = 16;
    in_work(path, sizeof path, name);
    write_clip(&c, path);
    lm_clip_free(&c);
}

static void figures_are_printed(void **state) {
    (void)state;
    RUN_HERE("measure", "square.npy", "--windows", "16,2");
    assert_says("square.npy: 40 frames of 64x64\n");
    assert_says("adjacent difference   0.996\n");
    assert_says("flicker               1.992 (of the level alone: 0.000)\n");
    assert_says("loop closure          8.000 (difference 7.969)\n");
    assert_says("seam ratio            1.000 at 4 borders of windows 16,2 (difference 0.996 there)\n");
    assert_says("warping error         0.0");
    assert_says("foreground moved      +0.500 right, +0.000 down (range 0.609, 0.000; widths)\n");
    assert_string_equal(r.err, "");
    RUN_HERE("measure", "square.npy", "--no-flow", "--windows", "14", "--reference", "low.npy");
    assert_says("against reference     0.500 at borders, 0.500 elsewhere\n"); // 64 rows against 32
    assert_null(strstr(r.out, "warping"));
    RUN_HERE("measure", "one.png");
    assert_says("one.png: 1 frame of 64x64\n");
    assert_says("adjacent difference   -\n");
    assert_says("warping error         - (- % of pixels, moving - pixels a frame)\n");
}

static double member(const json_t *o, const char *name) {
    const json_t *v = json_object_get(o, name);
    if (!json_is_number(v)) fail_msg("%s is not a number", name);
    return json_number_value(v);
}

static void json_has_the_curves(void **state) {
    (void)state;
    RUN_HERE("measure", "square.npy", "--json", "--windows", "16,2");
    assert_int_equal(r.code, 0);
    json_t *o = json_loads(r.out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(o);
    assert_true(member(o, "frames") == 40 && member(o, "width") == 64 && member(o, "height") == 64);
    assert_true(member(o, "difference") == 0.99609375 && member(o, "loop_ratio") == 8 && member(o, "borders") == 4);
    assert_true(json_is_null(json_object_get(o, "fps"))); // .npy has none
    assert_int_equal(json_array_size(json_object_get(o, "differences")), 39);
    assert_int_equal(json_array_size(json_object_get(o, "flickers")), 38);
    assert_int_equal(json_array_size(json_object_get(o, "warp_errors")), 39);
    assert_int_equal(json_array_size(json_object_get(o, "path_x")), 40);
    assert_true(json_number_value(json_array_get(json_object_get(o, "moved"), 0)) == 0.5);
    json_decref(o);
    RUN_HERE("measure", "one.png", "--json");
    assert_int_equal(r.code, 0);
    o = json_loads(r.out, 0, NULL);
    assert_true(json_is_null(json_object_get(o, "difference")) && json_is_null(json_object_get(o, "warp_error")));
    assert_int_equal(json_array_size(json_object_get(o, "differences")), 0);
    assert_int_equal(json_array_size(json_object_get(o, "flickers")), 0);
    json_decref(o);
}

// In row 24 the square's edge moves by a pixel a frame; column 10 holds the square while it passes.
static void slices_are_written(void **state) {
    (void)state;
    RUN_HERE("measure", "square.npy", "--no-flow", "--xt", "xt.png", "--row", "24", "--yt", "yt.png", "--column", "10");
    assert_says("adjacent difference");
    lm_clip xt = read_clip(work, "xt.png"), yt = read_clip(work, "yt.png");
    assert_true(xt.frames == 1 && xt.width == 64 && xt.height == 40 && yt.width == 64 && yt.height == 40);
    for (int t = 0; t < 40; t++)
        for (int i = 0; i < 64; i++) {
            assert_int_equal(xt.data[(t * 64 + i) * 3], i >= t + 4 && i < t + 12 ? 255 : 0);
            assert_int_equal(yt.data[(t * 64 + i) * 3], i >= 20 && i < 28 && t <= 6 ? 255 : 0);
        }
    lm_clip_free(&xt);
    lm_clip_free(&yt);
    RUN_HERE("measure", "low.npy", "--no-flow", "--xt", "middle.npy", "--yt", "middle.webp"); // rows 16, columns 32
    assert_says("adjacent difference");
    xt = read_clip(work, "middle.npy");
    yt = read_clip(work, "middle.webp");
    assert_true(xt.width == 64 && xt.height == 40 && yt.width == 32 && yt.height == 40);
    lm_clip_free(&xt);
    lm_clip_free(&yt);
}

static void both_clips_are_shown(void **state) {
    (void)state;
    RUN_HERE("compare", "square.npy", "gray.npy", "-o", "both.npy");
    assert_says("mean difference       9.844\n"); // 10 but in the square, a 64th of the frame
    assert_says("PSNR                  28.20 dB\n");
    assert_says("over                  40 frames\n");
    lm_clip both = read_clip(work, "both.npy");
    assert_true(both.frames == 50 && both.width == 132 && both.height == 64);
    lm_clip_free(&both);
    RUN_HERE("compare", "square.npy", "low.npy", "-o", "both.mp4", "--gap", "0", "--fps", "12");
    assert_says("no figures: 64x64 and 64x32 are different sizes\n");
    both = read_clip(work, "both.mp4");
    assert_true(both.frames == 40 && both.width == 192 && both.height == 64 && both.fps == 12);
    lm_clip_free(&both);
    RUN_HERE("compare", "square.npy", "gray.npy", "--shortest", "-o", "both.npy", "--json");
    assert_says("\"output\":\"both.npy\"");
    both = read_clip(work, "both.npy");
    assert_int_equal(both.frames, 40);
    lm_clip_free(&both);
    RUN_HERE("compare", "square.npy", "square.npy");
    assert_says("PSNR                  equal\nmean difference       0.000\n");
    RUN_HERE("compare", "square.npy", "square.npy", "--json");
    assert_string_equal(r.out, "{\"output\":null,\"frames\":40,\"equal\":true,\"psnr\":null,\"difference\":0.0}\n");
}

static void write_bytes(const char *name, const char *bytes) {
    char path[512];
    in_work(path, sizeof path, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(bytes, f);
    fclose(f);
}

// Leaves three quarters of it.
static void cut_file(const char *name) {
    char path[512];
    struct stat s;
    in_work(path, sizeof path, name);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(truncate(path, s.st_size / 4 * 3), 0);
}

static void wrong_files_end_with_5(void **state) {
    (void)state;
    static const char *const wrong[] = {"nowhere.mp4", "empty.mp4", "text.mp4", "cut.mp4"};
    write_bytes("empty.mp4", "");
    write_bytes("text.mp4", "this is no video\n");
    write_square("cut.mp4", 40, 64, 0); // of which FFmpeg says much
    cut_file("cut.mp4");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        RUN_HERE("measure", wrong[i]);
        expect_refused(&r, 5, wrong[i]);
        RUN_HERE("measure", "square.npy", "--windows", "4,1", "--reference", wrong[i]);
        expect_refused(&r, 5, wrong[i]);
        RUN_HERE("compare", wrong[i], "square.npy");
        expect_refused(&r, 5, wrong[i]);
        RUN_HERE("compare", "square.npy", wrong[i], "-o", "never.npy");
        expect_refused(&r, 5, wrong[i]);
    }
    RUN_HERE("measure", "square.npy", "--xt", "nowhere/xt.png");
    expect_refused(&r, 5, "nowhere");
    RUN_HERE("compare", "square.npy", "square.npy", "-o", "nowhere/both.gif");
    expect_refused(&r, 5, "nowhere");
    char path[512];
    in_work(path, sizeof path, "never.npy");
    assert_int_not_equal(access(path, F_OK), 0);
}

static void wrong_usage_ends_with_2(void **state) {
    (void)state;
    static const char *const windows[] = {"", "0", "16,16", "16,-1", "-4,1", "16;2", "16,2,", "16,2,3", "a", "1e9"};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        RUN_HERE("measure", "square.npy", "--windows", windows[i]);
        expect_refused(&r, 2, "--windows is");
    }
    RUN_HERE("measure");
    expect_refused(&r, 2, "no clip");
    RUN_HERE("measure", "square.npy", "low.npy");
    expect_refused(&r, 2, "one argument too many");
    RUN_HERE("measure", "square.npy", "--row", "3");
    expect_refused(&r, 2, "--row needs --xt");
    RUN_HERE("measure", "square.npy", "--column", "3");
    expect_refused(&r, 2, "--column needs --yt");
    RUN_HERE("measure", "square.npy", "--reference", "low.npy");
    expect_refused(&r, 2, "--reference needs --windows");
    RUN_HERE("measure", "square.npy", "--windows", "16,2", "--reference", "gray.npy");
    expect_refused(&r, 2, "the reference has 50 frames, the clip 40");
    RUN_HERE("measure", "square.npy", "--xt", "xt.txt");
    expect_refused(&r, 2, "ending");
    RUN_HERE("measure", "square.npy", "--xt", "xt.png", "--row", "64");
    expect_refused(&r, 2, "no row 64 in a clip of 64x64; from 0 to 63");
    RUN_HERE("compare", "square.npy");
    expect_refused(&r, 2, "two clips");
    RUN_HERE("compare", "square.npy", "low.npy");
    expect_refused(&r, 2, "different sizes");
    RUN_HERE("compare", "square.npy", "square.npy", "-o", "both.png");
    expect_refused(&r, 2, "holds one frame");
    RUN_HERE("compare", "square.npy", "square.npy", "--gap", "-1");
    expect_refused(&r, 2, "--gap");
    for (int i = 0; i < 2; i++) {
        RUN_HERE(i ? "compare" : "measure", "--help");
        assert_says("usage: lumiere ");
    }
}

static int set_up(void **state) {
    (void)state;
    work = temporary_make();
    write_square("square.npy", 40, 64, 0);
    write_square("low.npy", 40, 32, 0);
    write_square("gray.npy", 50, 64, 10);
    write_square("one.png", 1, 64, 0);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_printed),    cmocka_unit_test(json_has_the_curves),
        cmocka_unit_test(slices_are_written),     cmocka_unit_test(both_clips_are_shown),
        cmocka_unit_test(wrong_files_end_with_5), cmocka_unit_test(wrong_usage_ends_with_2),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
