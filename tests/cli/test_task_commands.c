// The tasks' commands as a user meets them: arguments, inputs that can't be used, recipes that make the same bytes.
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
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char *work, model[256];
static command_result r;

#define TASK(task, ...) RUN(&r, work, task, "--model", model, "--threads", "1", __VA_ARGS__)

static void in_work(char *out, size_t size, const char *name) {
    snprintf(out, size, "%s/%s", work, name);
}

static void store(const char *name, const void *bytes, size_t size) {
    char path[512];
    in_work(path, sizeof path, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

// frames of width x height, each pixel of each frame another colour; alpha 0 in the left half when there is any.
static void store_clip(const char *name, int frames, int width, int height, int channels) {
    char path[512];
    lm_error e = {0};
    lm_clip c;
    in_work(path, sizeof path, name);
    assert_int_equal(lm_clip_alloc(&e, frames, width, height, channels, &c), LM_OK);
    c.fps = 8;
    for (int i = 0; i < frames * width * height; i++) {
        for (int k = 0; k < 3; k++) c.data[i * channels + k] = (uint8_t)(i * (17 + 6 * k) + 40);
        if (channels == 4) c.data[i * 4 + 3] = i % width < width / 2 ? 0 : 255;
    }
    write_clip(&c, path);
    lm_clip_free(&c);
}

static void arguments_are_checked(void **state) {
    (void)state;
    RUN(&r, work, "animate", "--model", model);
    expect_refused(&r, 2, "no input");
    TASK("animate", "clip.npy");
    expect_refused(&r, 2, "no prompt");
    TASK("animate", "clip.npy", "a bee", "flying");
    expect_refused(&r, 2, "one argument too many");
    TASK("animate", "--input", "clip.npy", "a bee", "flying");
    expect_refused(&r, 2, "one argument too many");
    TASK("inpaint", "clip.npy", "a bee");
    expect_refused(&r, 2, "--mask");
    TASK("inpaint", "clip.npy", "a bee", "--mask", "mask.png", "--box", "1,1,2,2");
    expect_refused(&r, 2, "give one");
    static const char *const boxes[] = {"", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,3,4x", "1,2,3,", "1,2,3,99999999999"};
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        TASK("inpaint", "clip.npy", "a bee", "--box", boxes[i]);
        expect_refused(&r, 2, "four whole numbers");
    }
    TASK("inpaint", "clip.npy", "a bee", "--box", "8,0,2,2");
    expect_refused(&r, 2, "outside");
    TASK("outpaint", "clip.npy", "a bee");
    expect_refused(&r, 2, "--pad");
    TASK("outpaint", "clip.npy", "a bee", "--pad", "-1,0,0,0");
    expect_refused(&r, 2, "pad of -1");
    TASK("outpaint", "clip.npy", "a bee", "--pad", "8190,0,0,0");
    expect_refused(&r, 2, "with the pads");
    TASK("edit", "clip.npy", "a bee", "--strength", "1.5");
    expect_refused(&r, 2, "--strength");
    TASK("edit", "clip.npy", "a bee", "--mask", "mask.png");
    expect_refused(&r, 2, "unknown option --mask");
    TASK("edit", "clip.npy", "a bee", "--background", "#12345");
    expect_refused(&r, 2, "#rrggbb");
    TASK("animate", "clip.npy", "a bee", "--fit", "shrink");
    expect_refused(&r, 2, "crop|pad|stretch");
    TASK("animate", "clip.npy", "a bee", "--feather", "3");
    expect_refused(&r, 2, "unknown option --feather");
}

static void masks_of_another_size_need_a_fit(void **state) {
    (void)state;
    store_clip("small.png", 1, 5, 6, 3);
    TASK("inpaint", "clip.npy", "a bee", "--mask", "small.png", "-o", "m.npy");
    expect_refused(&r, 5, "the mask is 5x6 and the input 8x8");
    TASK("inpaint", "clip.npy", "a bee", "--mask", "small.png", "-o", "m.npy", "-q", "--fit", "stretch");
    expect_done(&r);
    store_clip("three.npy", 3, 8, 8, 3);
    TASK("inpaint", "clip.npy", "a bee", "--mask", "three.npy", "-o", "m.npy");
    expect_refused(&r, 5, "the mask has 3 frames and the input 4");
}

// A PNG header that promises 100000 x 100000 pixels, and a PPM one.
static const uint8_t huge_png[] = {0x89, 'P',  'N',  'G', 13, 10,   26,   10, 0, 0, 0, 13, 'I',  'H',  'D',  'R', 0,
                                   1,    0x86, 0xa0, 0,   1,  0x86, 0xa0, 8,  2, 0, 0, 0,  0x1f, 0x0e, 0xf6, 0x0e};
static const char huge_ppm[] = "P6 100000 100000 255\nabcdefgh";

static void inputs_that_hold_no_picture_end_with_5(void **state) {
    (void)state;
    uint8_t wav[44 + 3200] =
        "RIFF\xa4\x0c\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\x80\x0c\0";
    store("sound.wav", wav, sizeof wav);
    store("empty.png", "", 0);
    store("text.mp4", "no video", 8);
    store("huge.png", huge_png, sizeof huge_png);
    store("huge.ppm", huge_ppm, sizeof huge_ppm);
    static const struct {
        const char *name, *what;
    } inputs[] = {{"sound.wav", "no picture or video"}, {"empty.png", "is empty"}, {"text.mp4", "text.mp4"},
                  {"huge.png", "100000 x 100000"},      {"huge.ppm", "huge.ppm"},  {"missing.png", "missing.png"}};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        TASK("animate", inputs[i].name, "a bee", "-o", "bad.npy");
        expect_refused(&r, 5, inputs[i].what);
        TASK("inpaint", "clip.npy", "a bee", "--mask", inputs[i].name, "-o", "bad.npy");
        expect_refused(&r, 5, inputs[i].what);
    }
}

#if !defined(__SANITIZE_ADDRESS__) // the sanitizer reserves terabytes of address space
static void huge_headers_take_little_memory(void **state) {
    (void)state;
    static const char *const names[] = {"huge.png", "huge.ppm"};
    store("huge.png", huge_png, sizeof huge_png);
    store("huge.ppm", huge_ppm, sizeof huge_ppm);
    for (int i = 0; i < 2; i++) {
        char line[1024];
        snprintf(line, sizeof line,
                 "cd '%s' && ulimit -v 1000000 && '%s/lumiere' animate %s 'a bee' --model '%s' -t 1 2>stderr", work,
                 LM_BINARY_DIR, names[i], model);
        int status = system(line);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 5);
    }
}
#endif

// Each task's clip, made again from what inspect prints.
static void recipes_make_the_same_bytes(void **state) {
    (void)state;
    static const char *const lines[] = {
        "animate picture.png 'a bee' --background '#102030'",
        "inpaint clip.npy 'it'\\''s a bee' --mask mask.npy --feather 1.5 --no-composite",
        "inpaint clip.npy 'a bee' --box 1,2,3,4 -W 11 -H 9 --fit pad",
        "outpaint clip.npy 'a bee' --pad 3,0,2,1",
        "cinemagraph picture.png 'a bee' --box 0,0,8,4 -f 7 --loop",
        "edit clip.npy 'a bee' --strength 0.35 --steps 5 --fps 12.5",
        "generate 'a bee' --loop",
    };
    char first[512], second[512];
    in_work(first, sizeof first, "first.npy");
    in_work(second, sizeof second, "second.npy");
    store_clip("mask.npy", 4, 8, 8, 3);
    store_clip("picture.png", 1, 10, 8, 4);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[4096];
        snprintf(line, sizeof line, "cd '%s' && rm -f second.npy && '%s/lumiere' %s -s 9 -o first.npy -q --model '%s'",
                 work, LM_BINARY_DIR, lines[i], model);
        assert_int_equal(system(line), 0);
        RUN(&r, work, "inspect", "first.npy", "--as-args");
        expect_done(&r);
        snprintf(line, sizeof line, "cd '%s' && '%s/'%.*s -o second.npy -q 2>warnings && test ! -s warnings", work,
                 LM_BINARY_DIR, (int)strcspn(r.out, "\n"), r.out);
        if (system(line)) fail_msg("%s", line);
        if (!same_bytes(first, second)) fail_msg("other bytes: %s", r.out);
    }
    store_clip("clip.npy", 4, 8, 8, 3);
    store_clip("other.npy", 4, 8, 8, 3);
    TASK("edit", "picture.png", "a bee", "-q", "-o", "m.npy", "--input-hash", "0123456789abcdef");
    expect_done(&r);
    assert_non_null(strstr(r.err, "picture.png is not what it was"));
    TASK("inpaint", "clip.npy", "a bee", "-q", "-o", "m.npy", "--mask", "mask.npy", "--mask-hash", "0");
    expect_done(&r);
    assert_non_null(strstr(r.err, "mask.npy is not what it was"));
}

static void transparent_parts_lie_over_the_background(void **state) {
    (void)state;
    store_clip("half.png", 1, 8, 8, 4);
    static const struct {
        const char *colour;
        uint8_t rgb[3];
    } cases[] = {{NULL, {255, 255, 255}}, {"black", {0, 0, 0}}, {"#0a0B0c", {10, 11, 12}}};
    for (int i = 0; i < 3; i++) {
        if (cases[i].colour)
            TASK("animate", "half.png", "a bee", "-o", "a.npy", "-q", "--background", cases[i].colour);
        else
            TASK("animate", "half.png", "a bee", "-o", "a.npy", "-q");
        expect_done(&r);
        lm_clip picture = read_clip(work, "half.png"), clip = read_clip(work, "a.npy");
        for (int k = 0; k < 64; k++)
            assert_memory_equal(clip.data + 3 * k, k % 8 < 4 ? cases[i].rgb : picture.data + 4 * k, 3);
        lm_clip_free(&picture);
        lm_clip_free(&clip);
    }
}

static void masks_may_be_folders_and_inputs_too(void **state) {
    (void)state;
    char line[1024];
    store_clip("frames/", 4, 8, 8, 3);
    store_clip("masks/", 4, 8, 8, 3);
    TASK("inpaint", "frames", "a bee", "--mask", "masks", "-o", "f.npy", "-q", "-s", "1");
    expect_done(&r);
    TASK("inpaint", "clip.npy", "a bee", "--mask", "clip.npy", "-o", "g.npy", "-q", "-s", "1");
    expect_done(&r);
    snprintf(line, sizeof line, "cmp '%s/f.npy' '%s/g.npy'", work, work);
    assert_int_equal(system(line), 0);
}

// Input and mask are cut by time, both at the same frame, and known by their files.
static void masks_as_long_as_their_clip_fit(void **state) {
    (void)state;
    store_clip("long.mp4", 40, 8, 8, 3);
    store_clip("mask.mp4", 40, 8, 8, 3);
    TASK("inpaint", "long.mp4", "a bee", "--mask", "mask.mp4", "-s", "1", "-f", "4", "-o", "out.npy", "-q");
    assert_int_equal(r.code, 0);
    TASK("inpaint", "long.mp4", "a bee", "--mask", "mask.mp4", "-s", "1", "-o", "longer.npy", "-q");
    assert_int_equal(r.code, 0);
}

static char *member(const char *file, const char *key) {
    char path[512];
    in_work(path, sizeof path, file);
    json_t *recipe = json_load_file(path, 0, NULL);
    const char *text = json_string_value(json_object_get(recipe, key));
    char *copy = text ? strdup(text) : NULL;
    json_decref(recipe);
    return copy;
}

// 64 digits are of the file's bytes, whatever part of it was read; 16, as older recipes have them, of what was read.
static void inputs_are_known_by_their_files(void **state) {
    (void)state;
    store_clip("known.mp4", 40, 8, 8, 3);
    TASK("edit", "known.mp4", "a bee", "-s", "1", "-f", "2", "-o", "known.npy", "-q");
    assert_int_equal(r.code, 0);
    char *hash = member("known.npy.json", "input_hash"), *of = member("known.npy.json", "input_hash_of");
    assert_string_equal(of, "file");
    assert_int_equal(strlen(hash), 64);
    TASK("edit", "known.mp4", "a bee", "-s", "1", "-f", "8", "-o", "other.npy", "-q", "--input-hash", hash);
    assert_int_equal(r.code, 0);
    assert_string_equal(r.err, "");
    TASK("edit", "known.mp4", "a bee", "-s", "1", "-f", "2", "-o", "other.npy", "-q", "--input-hash",
         "0123456789abcdef");
    assert_int_equal(r.code, 0);
    char *old = strstr(r.err, "its hash is ");
    assert_non_null(old);
    char frames[17];
    snprintf(frames, sizeof frames, "%.16s", old + strlen("its hash is "));
    TASK("edit", "known.mp4", "a bee", "-s", "1", "-f", "2", "-o", "other.npy", "-q", "--input-hash", frames);
    assert_string_equal(r.err, "");
    store_clip("known.mp4", 39, 8, 8, 3);
    TASK("edit", "known.mp4", "a bee", "-s", "1", "-f", "2", "-o", "other.npy", "-q", "--input-hash", hash);
    assert_int_equal(r.code, 0);
    assert_non_null(strstr(r.err, "known.mp4 is not what it was"));
    free(hash);
    free(of);
}

static void the_fit_is_said(void **state) {
    (void)state;
    store_clip("wide.npy", 2, 20, 10, 3);
    TASK("edit", "wide.npy", "a bee", "-o", "w.npy", "--strength", "0", "--json");
    expect_done(&r);
    assert_non_null(strstr(r.err, "input: 20x10, the middle 10x10, shrunk to 8x8; 2 frames\n"));
    json_t *line = json_loads(r.out, 0, NULL), *recipe = json_object_get(line, "recipe");
    assert_string_equal(json_string_value(json_object_get(recipe, "task")), "edit");
    assert_string_equal(json_string_value(json_object_get(recipe, "input")), "wide.npy");
    json_decref(line);
    TASK("edit", "wide.npy", "a bee", "-o", "w.npy", "-q");
    expect_done(&r);
    assert_string_equal(r.err, "");
}

static int set_up(void **state) {
    (void)state;
    unsetenv("LUMIERE_MODEL");
    work = temporary_make();
    snprintf(model, sizeof model, "%s/tiny", work);
    tiny_model_make(model);
    store_clip("clip.npy", 4, 8, 8, 3);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(masks_of_another_size_need_a_fit),
        cmocka_unit_test(inputs_that_hold_no_picture_end_with_5),
#if !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(huge_headers_take_little_memory),
#endif
        cmocka_unit_test(recipes_make_the_same_bytes),
        cmocka_unit_test(transparent_parts_lie_over_the_background),
        cmocka_unit_test(masks_may_be_folders_and_inputs_too),
        cmocka_unit_test(masks_as_long_as_their_clip_fit),
        cmocka_unit_test(inputs_are_known_by_their_files),
        cmocka_unit_test(the_fit_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
