#include "media_test.h"

#include "base/memory.h"

#include <malloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char recipe[] = "{\"prompt\":\"a \\\"red\\\" fox & <b>'s \xc3\xa9t\xc3\xa9 \xf0\x9f\xa6\x8a\","
                             "\"seed\":9007199254740993,\"guidance\":7.5,\"nested\":{\"z\":null,\"a\":[1,true]}}";

static const int sizes[][3] = {{9, 64, 48}, {5, 33, 47}, {1, 64, 64}, {1, 1, 1}, {3, 2, 5}}; // frames, width, height
enum { SIZES = sizeof sizes / sizeof *sizes };

static bool is_timed(const char *path) {
    return !strstr(path, ".npy") && path[strlen(path) - 1] != '/';
}

static void assert_recipe(const char *path, const char *expected) {
    lm_error e = {0};
    char *found;
    if (lm_media_read_recipe(&e, path, &found) != LM_OK) fail_msg("%s", e.text);
    if (expected)
        assert_string_equal(found, expected);
    else
        assert_null(found);
    lm_free(found);
}

static void check_exact(const char *path, int channels) {
    for (int i = 0; i < SIZES; i++) {
        lm_clip c = make_clip(sizes[i][0], sizes[i][1], sizes[i][2], channels);
        write_clip(path, &c, recipe);
        lm_clip back = read_clip(path);
        assert_same_pixels(&c, &back);
        assert_true(back.fps == (is_timed(path) && c.frames > 1 ? 16 : 0));
        lm_clip_free(&back);
        lm_clip_free(&c);
    }
    assert_recipe(path, recipe);
}

static void lossless_formats_give_the_same_pixels(void **state) {
    (void)state;
    check_exact("rgb.apng", 3);
    check_exact("rgb.webp", 3);
    check_exact("rgb.npy", 3);
}

static void lossless_formats_keep_alpha(void **state) {
    (void)state;
    check_exact("alpha.apng", 4);
    check_exact("alpha.webp", 4);
}

static void png_holds_one_frame(void **state) {
    (void)state;
    for (int channels = 3; channels <= 4; channels++) {
        lm_clip c = make_clip(1, 31, 7, channels);
        write_clip("one.PNG", &c, recipe);
        lm_clip back = read_clip("one.PNG");
        assert_same_pixels(&c, &back);
        assert_true(back.fps == 0);
        lm_clip_free(&back);
        lm_clip_free(&c);
    }
    assert_recipe("one.PNG", recipe);
}

static void folder_holds_numbered_frames(void **state) {
    (void)state;
    lm_clip c = make_clip(12, 10, 6, 4);
    write_clip("frames//", &c, recipe);
    lm_clip back = read_clip("frames");
    assert_same_pixels(&c, &back);
    assert_recipe("frames/", recipe);
    assert_int_equal(access("frames/frame-0012.png", R_OK), 0);
    assert_int_equal(access("frames/recipe.json", R_OK), 0);
    assert_int_equal(access("frames.json", R_OK), -1);
    lm_clip_free(&back);
    lm_clip_free(&c);
}

static void check_lossy(const char *path) {
    for (int i = 0; i < SIZES; i++) {
        lm_clip c = make_clip(sizes[i][0], sizes[i][1], sizes[i][2], 3);
        write_clip(path, &c, recipe);
        lm_clip back = read_clip(path);
        int even = strstr(path, ".mp4") != NULL; // H.264's 4:2:0 has even sides
        assert_int_equal(back.frames, c.frames);
        assert_int_equal(back.width, c.width + even * (c.width % 2));
        assert_int_equal(back.height, c.height + even * (c.height % 2));
        assert_int_equal(back.channels, 3);
        double psnr = clip_psnr(&c, &back);
        if (psnr < 30) fail_msg("%s: %g dB at %d x %d", path, psnr, c.width, c.height);
        if (c.frames >= 5) assert_true(back.fps == 16); // GIF counts in hundredths of a second
        lm_clip_free(&back);
        lm_clip_free(&c);
    }
    assert_recipe(path, recipe);
}

static void lossy_formats_come_close(void **state) {
    (void)state;
    check_lossy("clip.mp4");
    check_lossy("clip.webm");
    check_lossy("clip.gif");
}

// A wrong matrix or range shifts flat colours; 4:2:0 leaves them as they are.
static void videos_keep_flat_colours(void **state) {
    (void)state;
    static const uint8_t colors[][3] = {{255, 255, 255}, {0, 0, 0}, {200, 30, 40}, {20, 160, 60}, {30, 60, 220}};
    const char *paths[] = {"flat.mp4", "flat.webm", "flat.gif"};
    for (int p = 0; p < 3; p++)
        for (size_t i = 0; i < sizeof colors / sizeof *colors; i++) {
            lm_clip c = make_clip(2, 16, 16, 3);
            for (int k = 0; k < 2 * 16 * 16; k++) memcpy(c.data + k * 3, colors[i], 3);
            write_clip(paths[p], &c, NULL);
            lm_clip back = read_clip(paths[p]);
            for (int k = 0; k < 2 * 16 * 16 * 3; k++) assert_in_range(back.data[k] - c.data[k] + 4, 0, 8);
            lm_clip_free(&back);
            lm_clip_free(&c);
        }
}

static void gif_keeps_half_of_alpha(void **state) {
    (void)state;
    lm_clip c = make_clip(4, 24, 20, 4);
    write_clip("alpha.gif", &c, NULL);
    lm_clip back = read_clip("alpha.gif");
    assert_int_equal(back.channels, 4);
    assert_int_equal(back.frames, 4);
    for (int i = 0; i < 4 * 24 * 20; i++) assert_int_equal(back.data[i * 4 + 3], c.data[i * 4 + 3] < 128 ? 0 : 255);
    lm_clip_free(&back);
    lm_clip_free(&c);
}

// Whatever was in memory before: where the C library can be told to, new memory is filled with this.
static void fill_new_memory(int byte) {
#ifdef M_PERTURB
    mallopt(M_PERTURB, byte);
#else
    (void)byte;
#endif
}

static void same_frames_give_same_bytes(void **state) {
    (void)state;
    const char *pairs[][2] = {{"1.mp4", "2.mp4"},   {"1.webm", "2.webm"}, {"1.gif", "2.gif"},
                              {"1.apng", "2.apng"}, {"1.webp", "2.webp"}, {"1.npy", "2.npy"}};
    lm_clip c = make_clip(9, 40, 30, 3);
    for (int i = 0; i < 6; i++) {
        size_t sizes_found[2];
        uint8_t *bytes[2];
        for (int k = 0; k < 2; k++) {
            fill_new_memory(k ? 37 : 200);
            write_clip(pairs[i][k], &c, recipe);
            fill_new_memory(0);
            bytes[k] = load_bytes(pairs[i][k], &sizes_found[k]);
        }
        if (sizes_found[0] != sizes_found[1] || memcmp(bytes[0], bytes[1], sizes_found[0]))
            fail_msg("%s and %s differ", pairs[i][0], pairs[i][1]);
        lm_free(bytes[0]);
        lm_free(bytes[1]);
    }
    lm_clip_free(&c);
}

static void mp4_has_its_index_first(void **state) {
    (void)state;
    lm_clip c = make_clip(9, 64, 48, 3);
    write_clip("fast.mp4", &c, NULL);
    size_t size;
    uint8_t *bytes = load_bytes("fast.mp4", &size);
    const uint8_t *index = memmem(bytes, size, "moov", 4), *data = memmem(bytes, size, "mdat", 4);
    assert_non_null(index);
    assert_non_null(data);
    assert_true(index < data);
    lm_free(bytes);
    lm_clip_free(&c);
}

static void rates_survive(void **state) {
    (void)state;
    const char *paths[] = {"rate.mp4", "rate.webm", "rate.gif", "rate.apng", "rate.webp"};
    const double rates[] = {8, 16, 24, 25};
    for (int p = 0; p < 5; p++)
        for (int r = 0; r < 4; r++) {
            lm_clip c = make_clip(7, 16, 16, 3);
            c.fps = rates[r];
            write_clip(paths[p], &c, NULL);
            lm_clip back = read_clip(paths[p]);
            if (back.fps != rates[r]) fail_msg("%s: %g instead of %g", paths[p], back.fps, rates[r]);
            lm_clip_free(&back);
            lm_clip_free(&c);
        }
}

static void recipe_lies_beside_as_text(void **state) {
    (void)state;
    lm_clip c = make_clip(1, 4, 4, 3);
    write_clip("pretty.npy", &c, "{\"seed\":7,\"prompt\":\"\xc3\xa9\"}");
    size_t size;
    char *text = (char *)load_bytes("pretty.npy.json", &size);
    text[size] = 0;
    assert_string_equal(text, "{\n  \"seed\": 7,\n  \"prompt\": \"\xc3\xa9\"\n}\n");
    lm_free(text);
    lm_clip_free(&c);
}

// A comment that another program left is no recipe: the file beside counts.
static void foreign_comment_is_no_recipe(void **state) {
    (void)state;
    lm_clip c = make_clip(1, 4, 4, 3);
    write_clip("plain.png", &c, NULL);
    assert_recipe("plain.png", NULL);
    store_bytes("plain.png.json", "{ \"seed\": 3 }\n", 14);
    assert_recipe("plain.png", "{\"seed\":3}");
    lm_clip_free(&c);
}

static void long_recipes_fit(void **state) {
    (void)state;
    char text[3000];
    memset(text, 'x', sizeof text);
    memcpy(text, "{\"prompt\":\"", 11);
    memcpy(text + sizeof text - 3, "\"}", 3);
    const char *paths[] = {"long.mp4", "long.webm", "long.gif", "long.apng", "long.webp", "long.npy", "long/"};
    lm_clip c = make_clip(2, 16, 16, 3);
    for (int i = 0; i < 7; i++) {
        write_clip(paths[i], &c, text);
        assert_recipe(paths[i], text);
    }
    lm_clip_free(&c);
}

static void first_frames_can_be_asked_for(void **state) {
    (void)state;
    const char *paths[] = {"part.mp4", "part.webm", "part.gif", "part.apng", "part.webp", "part.npy", "part/"};
    lm_clip c = make_clip(6, 16, 16, 3);
    for (int i = 0; i < 7; i++) {
        write_clip(paths[i], &c, NULL);
        lm_clip back;
        assert_int_equal(lm_media_read(NULL, paths[i], 4, &back), LM_OK);
        assert_int_equal(back.frames, 4);
        assert_true(clip_psnr(&c, &back) > 30);
        lm_clip_free(&back);
    }
    lm_clip_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lossless_formats_give_the_same_pixels),
        cmocka_unit_test(lossless_formats_keep_alpha),
        cmocka_unit_test(png_holds_one_frame),
        cmocka_unit_test(folder_holds_numbered_frames),
        cmocka_unit_test(lossy_formats_come_close),
        cmocka_unit_test(videos_keep_flat_colours),
        cmocka_unit_test(gif_keeps_half_of_alpha),
        cmocka_unit_test(same_frames_give_same_bytes),
        cmocka_unit_test(mp4_has_its_index_first),
        cmocka_unit_test(rates_survive),
        cmocka_unit_test(recipe_lies_beside_as_text),
        cmocka_unit_test(foreign_comment_is_no_recipe),
        cmocka_unit_test(long_recipes_fit),
        cmocka_unit_test(first_frames_can_be_asked_for),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
