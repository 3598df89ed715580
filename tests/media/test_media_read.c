#include "media_test.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// Files that other programs made: tests/oracle/media_vectors.py.
static const char folder[] = LM_TEST_DATA "/media";

static const uint8_t *at(const lm_clip *c, int f, int y, int x) {
    return c->data + (((size_t)f * (size_t)c->height + (size_t)y) * (size_t)c->width + (size_t)x) * (size_t)c->channels;
}

static lm_clip read_vector(const char *name) {
    char *path = lm_format("%s/%s", folder, name);
    lm_clip c = read_clip(path);
    lm_free(path);
    return c;
}

// BT.601, limited range, as float; what a byte rounded from it may differ by is 0.5, and 0.02 for fixed point.
static void yuv444_is_converted_exactly(void **state) {
    (void)state;
    lm_clip c = read_vector("yuv444.webm");
    assert_int_equal(c.frames, 2);
    assert_int_equal(c.width, 32);
    assert_int_equal(c.height, 16);
    assert_true(c.fps == 16);
    for (int f = 0; f < 2; f++)
        for (int s = 0; s < 4; s++) {
            double luma = (40 + 50 * s + 10 * f - 16) * 255.0 / 219;
            double u = (90 + 20 * s - 128) * 255.0 / 224, v = (160 - 20 * s - 128) * 255.0 / 224;
            double rgb[3] = {luma + 1.402 * v, luma - 0.344136 * u - 0.714136 * v, luma + 1.772 * u};
            for (int y = 0; y < 16; y++)
                for (int x = 8 * s; x < 8 * s + 8; x++)
                    for (int k = 0; k < 3; k++)
                        assert_true(fabs(at(&c, f, y, x)[k] - fmin(255, fmax(0, rgb[k]))) < 0.52);
        }
    lm_clip_free(&c);
}

static void exif_orientation_is_applied(void **state) {
    (void)state;
    lm_clip c = read_vector("turned.jpg");
    assert_int_equal(c.width, 8);
    assert_int_equal(c.height, 16);
    assert_int_equal(c.channels, 3);
    for (int x = 0; x < 8; x++) {
        assert_true(at(&c, 0, 2, x)[0] > 240 && at(&c, 0, 2, x)[2] < 15);
        assert_true(at(&c, 0, 13, x)[2] > 240 && at(&c, 0, 13, x)[0] < 15);
    }
    lm_clip_free(&c);
}

static void lossy_webp_keeps_straight_alpha(void **state) {
    (void)state;
    lm_clip c = read_vector("blend.webp");
    size_t size;
    uint8_t *pixels = load_bytes(LM_TEST_DATA "/media/blend.rgba", &size);
    assert_int_equal(c.channels, 4);
    assert_int_equal(size, 9 * 7 * 4);
    assert_memory_equal(c.data, pixels, size);
    lm_free(pixels);
    lm_clip_free(&c);
}

static void gray_with_alpha_becomes_rgba(void **state) {
    (void)state;
    lm_clip c = read_vector("gray_alpha.png");
    assert_int_equal(c.channels, 4);
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 4; x++) {
            const uint8_t *p = at(&c, 0, y, x);
            for (int k = 0; k < 3; k++) assert_int_equal(p[k], 10 * x + y);
            assert_int_equal(p[3], 255 - 60 * x);
        }
    lm_clip_free(&c);
}

static void put_matrix(uint8_t *mp4, size_t size, const int32_t m[9]) {
    uint8_t *header = memmem(mp4, size, "tkhd", 4);
    assert_non_null(header);
    for (int i = 0; i < 9; i++)
        for (int k = 0; k < 4; k++) header[44 + 4 * i + k] = (uint8_t)((uint32_t)m[i] >> (24 - 8 * k));
}

// The track header's matrix, ISO/IEC 14496-12: a quarter turn clockwise, half a turn, and a mirrored one.
static void display_matrix_is_applied(void **state) {
    (void)state;
    enum { ONE = 1 << 16, W = 32, H = 20 };
    static const int32_t matrices[3][9] = {{0, ONE, 0, -ONE, 0, 0, H * ONE, 0, 1 << 30},
                                           {-ONE, 0, 0, 0, -ONE, 0, W * ONE, H * ONE, 1 << 30},
                                           {-ONE, 0, 0, 0, ONE, 0, W * ONE, 0, 1 << 30}};
    lm_clip source = make_clip(3, W, H, 3);
    write_clip("turn.mp4", &source, NULL);
    lm_clip c = read_clip("turn.mp4");
    size_t size;
    uint8_t *mp4 = load_bytes("turn.mp4", &size);
    for (int i = 0; i < 3; i++) {
        put_matrix(mp4, size, matrices[i]);
        lm_clip t;
        assert_int_equal(lm_media_read_memory(NULL, "turned", mp4, size, 0, &t), LM_OK);
        assert_int_equal(t.width, i == 0 ? H : W);
        assert_int_equal(t.height, i == 0 ? W : H);
        for (int f = 0; f < 3; f++)
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++) {
                    const uint8_t *p = i == 0   ? at(&t, f, x, H - 1 - y)
                                       : i == 1 ? at(&t, f, H - 1 - y, W - 1 - x)
                                                : at(&t, f, y, W - 1 - x);
                    assert_memory_equal(p, at(&c, f, y, x), 3);
                }
        lm_clip_free(&t);
    }
    lm_free(mp4);
    lm_clip_free(&c);
    lm_clip_free(&source);
}

// A 2 x 1 BMP of 24 bits: rows are padded to four bytes, pixels are blue, green, red.
static void bmp_is_read(void **state) {
    (void)state;
    uint8_t bmp[62] = {'B', 'M', 62};
    bmp[10] = 54, bmp[14] = 40, bmp[18] = 2, bmp[22] = 1, bmp[26] = 1, bmp[28] = 24, bmp[34] = 8;
    memcpy(bmp + 54, (uint8_t[]){3, 2, 1, 30, 20, 10}, 6);
    store_bytes("tiny.bmp", bmp, sizeof bmp);
    lm_clip c = read_clip("tiny.bmp");
    assert_int_equal(c.width, 2);
    assert_memory_equal(c.data, ((uint8_t[]){1, 2, 3, 10, 20, 30}), 6);
    assert_true(c.fps == 0);
    lm_clip_free(&c);
}

static void folder_is_read_in_order_of_names(void **state) {
    (void)state;
    lm_clip frames = make_clip(3, 8, 6, 3);
    write_clip("made/", &frames, "{\"seed\":1}");
    assert_int_equal(rename("made/frame-0001.png", "made/z.png"), 0);
    store_bytes("made/.hidden", "x", 1);
    lm_clip c = read_clip("made");
    assert_int_equal(c.frames, 3);
    size_t frame = 8 * 6 * 3;
    assert_memory_equal(c.data, frames.data + frame, 2 * frame);
    assert_memory_equal(c.data + 2 * frame, frames.data, frame);
    lm_clip_free(&c);
    lm_clip_free(&frames);
}

// 12 frames at 16 a second: by time where the rate is known at the start, otherwise whole.
static void first_seconds_are_read(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double seconds;
        int frames;
    } cases[] = {{"s.mp4", 0.25, 4},  {"s.mp4", 0.26, 5},  {"s.mp4", 1e-6, 1}, {"s.mp4", 100, 12}, {"s.webm", 0.5, 8},
                 {"s.gif", 0.25, 12}, {"s.webp", 0.1, 12}, {"s.npy", 0.1, 12}, {"s/", 0.1, 12}};
    lm_clip whole = make_clip(12, 32, 20, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lm_error e = {0};
        lm_clip c;
        if (access(cases[i].name, F_OK)) write_clip(cases[i].name, &whole, NULL);
        if (lm_media_read_start(&e, cases[i].name, cases[i].seconds, &c) != LM_OK) fail_msg("%s", e.text);
        assert_int_equal(c.frames, cases[i].frames);
        lm_clip all = read_clip(cases[i].name);
        assert_true(c.fps == all.fps);
        assert_memory_equal(c.data, all.data, (size_t)c.frames * 32 * 20 * 3);
        lm_clip_free(&c);
        lm_clip_free(&all);
    }
    lm_clip_free(&whole);
}

static void output_is_checked_beforehand(void **state) {
    (void)state;
    const char *good[] = {"a.mp4", "./a.WEBM", "a.gif", "a.png", "a.apng", "a.webp", "a.npy", "a/", "new//"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        lm_error e = {0};
        if (lm_media_check_output(&e, good[i], &(lm_clip){0}, true, false) != LM_OK) fail_msg("%s", e.text);
    }
    assert_int_equal(access("a", F_OK), -1); // nothing is left behind
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yuv444_is_converted_exactly),      cmocka_unit_test(exif_orientation_is_applied),
        cmocka_unit_test(lossy_webp_keeps_straight_alpha),  cmocka_unit_test(gray_with_alpha_becomes_rgba),
        cmocka_unit_test(display_matrix_is_applied),        cmocka_unit_test(bmp_is_read),
        cmocka_unit_test(folder_is_read_in_order_of_names), cmocka_unit_test(first_seconds_are_read),
        cmocka_unit_test(output_is_checked_beforehand),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
