// What is said of a clip without reading its frames is what reading them would give, and costs no frames.
#include "media_test.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static lm_clip_facts look_at(const char *path, char **recipe) {
    lm_error e = {0};
    lm_clip_facts f;
    char *none = NULL;
    if (lm_media_look(&e, path, &f, recipe ? recipe : &none) != LM_OK) fail_msg("%s", e.text);
    lm_free(none);
    return f;
}

static void expect_as_read(const char *path, double seconds) {
    lm_clip c = read_clip(path);
    lm_clip_facts f = look_at(path, NULL);
    if (f.frames != c.frames || f.width != c.width || f.height != c.height || f.fps != c.fps)
        fail_msg("%s: %d frames of %dx%d at %g are read, and %d of %dx%d at %g seen", path, c.frames, c.width, c.height,
                 c.fps, f.frames, f.width, f.height, f.fps);
    if (f.seconds < seconds - 0.002 || f.seconds > seconds + 0.002) fail_msg("%s: %g seconds", path, f.seconds);
    lm_clip_free(&c);
}

static void every_format_is_seen_as_it_is_read(void **state) {
    (void)state;
    static const char *const names[] = {"a.mp4", "a.webm", "a.gif", "a.apng", "a.webp"};
    lm_clip clip = make_clip(12, 34, 20, 3), one = make_clip(1, 34, 20, 4);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        write_clip(names[i], &clip, NULL);
        expect_as_read(names[i], 0.75);
    }
    write_clip("a.npy", &clip, NULL);
    write_clip("a/", &clip, "{\"prompt\":\"a bee\"}");
    write_clip("a.png", &one, NULL);
    write_clip("one.webp", &one, NULL);
    write_clip("one.gif", &one, NULL);
    write_clip("b.npy", &clip, "{\"fps\":8}"); // the rate of the recipe beside
    write_clip("b/", &clip, "{\"fps\":8}");
    expect_as_read("b.npy", 1.5);
    expect_as_read("b/", 1.5);
    assert_true(look_at("b/", NULL).fps == 8);
    static const char *const still[] = {"a.npy", "a/", "a", "a.png", "one.webp", "one.gif"};
    for (size_t i = 0; i < sizeof still / sizeof *still; i++) expect_as_read(still[i], 0);
    lm_clip_free(&clip);
    lm_clip_free(&one);
}

static void pictures_are_seen_turned(void **state) {
    (void)state;
    char path[400];
    snprintf(path, sizeof path, "%s/media/turned.jpg", LM_TEST_DATA);
    expect_as_read(path, 0);
    lm_clip_facts f = look_at(path, NULL);
    assert_int_equal(f.width, 8);
    assert_int_equal(f.height, 16);
}

static void recipes_are_found(void **state) {
    (void)state;
    static const char *const names[] = {"r.mp4", "r.webm", "r.gif", "r.webp", "r.npy", "r/"};
    lm_clip clip = make_clip(3, 16, 16, 3);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *recipe = NULL;
        write_clip(names[i], &clip, "{\"prompt\":\"a bee\"}");
        look_at(names[i], &recipe);
        assert_non_null(recipe);
        assert_string_equal(recipe, "{\"prompt\":\"a bee\"}");
        lm_free(recipe);
    }
    lm_clip_free(&clip);
}

// A GIF whose screen is large and whose frames are of one pixel each: 20 bytes or so a frame.
static void store_gif(const char *path, int side, int frames) {
    static const uint8_t start[] = "GIF89a";
    static const uint8_t frame[] = {0x21, 0xf9, 4, 4, 10, 0, 0, 0, 0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0};
    uint8_t *bytes = lm_alloc_zero((size_t)frames * sizeof frame + 64, 1), *p = bytes;
    assert_non_null(bytes);
    memcpy(p, start, 6);
    p[6] = p[8] = (uint8_t)side, p[7] = p[9] = (uint8_t)(side >> 8);
    p[10] = 0x80; // a palette of two colours
    memset(p + 16, 255, 3);
    p += 19;
    for (int i = 0; i < frames; i++, p += sizeof frame) memcpy(p, frame, sizeof frame);
    *p++ = 0x3b;
    store_bytes(path, bytes, (size_t)(p - bytes));
    lm_free(bytes);
}

static void more_frames_than_can_be_read_are_counted(void **state) {
    (void)state;
    lm_error e = {0};
    lm_clip c;
    store_gif("long.gif", 4, 5000);
    assert_error(&e, LM_MEDIA, lm_media_read(&e, "long.gif", 0, &c), "more than 4096 frames");
    lm_clip_facts f = look_at("long.gif", NULL);
    assert_int_equal(f.frames, 5000);
    assert_int_equal(f.width, 4);
    assert_true(f.fps == 10 && f.seconds == 500);
    static const char header[] =
        "{'descr': '|u1', 'fortran_order': False, 'shape': (5000, 1, 1, 3), }                                     \n";
    uint8_t bytes[10 + sizeof header - 1 + 15000] = "\x93NUMPY\x01";
    bytes[8] = sizeof header - 1;
    memcpy(bytes + 10, header, sizeof header - 1);
    store_bytes("long.npy", bytes, sizeof bytes);
    lm_error_clear(&e);
    assert_error(&e, LM_MEDIA, lm_media_read(&e, "long.npy", 0, &c), "5000 npy frames; from 1 to 4096 can be read");
    assert_int_equal(look_at("long.npy", NULL).frames, 5000);
}

// The peak of memory of a process that does only this, in bytes.
static int64_t peak_of_looking(const char *path) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        lm_error e = {0};
        lm_clip_facts f;
        char *recipe;
        lm_status s = lm_media_look(&e, path, &f, &recipe);
        _exit(s == LM_OK && f.frames > 0 ? 0 : 1);
    }
    int status;
    struct rusage used;
    assert_int_equal(wait4(child, &status, 0, &used), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return (int64_t)used.ru_maxrss << 10;
}

// 60 frames of 48 MB: less is used than four of them, of which libavformat decodes one to know its pixels. The peak of
// a file of one frame is what all this takes without frames.
static void looking_costs_no_frames(void **state) {
    (void)state;
    enum { SIDE = 4000 };
    store_gif("large.gif", SIDE, 60);
    store_gif("small.gif", 4, 60);
    int64_t large = peak_of_looking("large.gif"), small = peak_of_looking("small.gif");
    print_message("%lld MB for large frames, %lld MB for small ones\n", (long long)large >> 20, (long long)small >> 20);
    assert_true(large - small < 4LL * SIDE * SIDE * 3);
}

static void what_is_no_clip_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *path, *bytes, *piece;
    } cases[] = {
        {"empty", "", "is empty"},
        {"text.mp4", "this is no video", "not a picture or video"},
        {"cut.gif", "GIF89a\1\0\1\0\0\0\0", "is truncated"},
        {"cut.webp", "RIFF\x20\0\0\0WEBPVP8X", "truncated or damaged"},
    };
    static const size_t sizes[] = {0, 16, 13, 16};
    lm_error e = {0};
    lm_clip_facts f;
    char *recipe;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lm_error_clear(&e);
        store_bytes(cases[i].path, cases[i].bytes, sizes[i]);
        assert_error(&e, LM_MEDIA, lm_media_look(&e, cases[i].path, &f, &recipe), cases[i].piece);
        assert_null(recipe);
    }
    lm_error_clear(&e);
    assert_error(&e, LM_MEDIA, lm_media_look(&e, "none", &f, &recipe), "can't read 'none'");
    assert_int_equal(mkdir("folder", 0777), 0);
    lm_error_clear(&e);
    assert_error(&e, LM_MEDIA, lm_media_look(&e, "folder", &f, &recipe), "holds no frame");
    store_bytes("folder/a.png", "no picture", 10);
    lm_error_clear(&e);
    assert_error(&e, LM_MEDIA, lm_media_look(&e, "folder", &f, &recipe), "folder/a.png");
}

// Where the packets end before the header says they do.
static void cut_off_files_are_noticed(void **state) {
    (void)state;
    lm_clip clip = make_clip(12, 64, 64, 3);
    write_clip("whole.mp4", &clip, NULL);
    size_t size;
    uint8_t *bytes = load_bytes("whole.mp4", &size);
    store_bytes("cut.mp4", bytes, size * 3 / 4);
    lm_error e = {0};
    lm_clip_facts f;
    char *recipe;
    assert_error(&e, LM_MEDIA, lm_media_look(&e, "cut.mp4", &f, &recipe), "truncated");
    lm_free(bytes);
    lm_clip_free(&clip);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_is_seen_as_it_is_read),
        cmocka_unit_test(pictures_are_seen_turned),
        cmocka_unit_test(recipes_are_found),
        cmocka_unit_test(more_frames_than_can_be_read_are_counted),
        cmocka_unit_test(looking_costs_no_frames),
        cmocka_unit_test(what_is_no_clip_is_refused),
        cmocka_unit_test(cut_off_files_are_noticed),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
