#include "media_test.h"

#include "base/memory.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void assert_unreadable(const char *path, const char *piece) {
    lm_error e = {0};
    lm_clip c;
    assert_error(&e, LM_MEDIA, lm_media_read(&e, path, 0, &c), piece);
    assert_null(c.data);
    assert_non_null(strstr(e.text, path));
}

static void assert_unwritable(const char *path, const lm_clip *c, lm_status status, const char *piece) {
    lm_error e = {0};
    assert_error(&e, status, lm_media_write(&e, path, c, NULL), piece);
}

// Writes the first percent of a clip's file in that format to path.
static void store_part(const char *whole, int frames, int percent, const char *path) {
    lm_clip c = make_clip(frames, 48, 32, 3);
    write_clip(whole, &c, NULL);
    size_t size;
    uint8_t *bytes = load_bytes(whole, &size);
    store_bytes(path, bytes, size * (size_t)percent / 100);
    lm_free(bytes);
    lm_clip_free(&c);
}

static void missing_file(void **state) {
    (void)state;
    assert_unreadable("nothing.mp4", "No such file");
}

static void empty_file(void **state) {
    (void)state;
    store_bytes("empty.mp4", "", 0);
    assert_unreadable("empty.mp4", "is empty");
}

static void text_that_is_named_mp4(void **state) {
    (void)state;
    store_bytes("text.mp4", "This is not a video, whatever its name.\n", 40);
    assert_unreadable("text.mp4", "not a picture or video");
}

static void playlist_that_names_other_files(void **state) {
    (void)state;
    static const char text[] = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n";
    store_bytes("list.mp4", text, sizeof text - 1);
    assert_unreadable("list.mp4", "not a picture or video");
}

static void truncated_files(void **state) {
    (void)state;
    static const struct {
        const char *whole, *part;
        int frames;
        const char *piece;
    } cases[] = {{"whole.png", "part.png", 1, "truncated"},        {"whole.mp4", "part.mp4", 9, "truncated"},
                 {"whole.webm", "part.webm", 9, "truncated"},      {"whole.gif", "part.gif", 9, "truncated"},
                 {"whole.apng", "part.apng", 9, "truncated"},      {"whole.webp", "part.webp", 9, "truncated"},
                 {"whole.npy", "part.npy", 9, "bytes of npy data"}};
    static const int percents[] = {50, 75, 95};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < 3; k++) {
            store_part(cases[i].whole, cases[i].frames, percents[k], cases[i].part);
            assert_unreadable(cases[i].part, cases[i].piece);
        }
}

static void cut_in_their_first_bytes(void **state) {
    (void)state;
    const char *names[] = {"head.mp4", "head.webm", "head.gif", "head.webp", "head.npy"};
    for (int i = 0; i < 5; i++) {
        lm_clip c = make_clip(2, 16, 16, 3);
        write_clip(names[i], &c, NULL);
        assert_int_equal(truncate(names[i], 11), 0);
        assert_unreadable(names[i], "");
        lm_clip_free(&c);
    }
}

static void sound_alone(void **state) {
    (void)state;
    static const uint8_t header[44] =
        "RIFF\x24\x1f\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\10\0data\0\x1f\0";
    uint8_t wav[44 + 7936];
    memset(wav, 128, sizeof wav);
    memcpy(wav, header, sizeof header);
    store_bytes("sound.wav", wav, sizeof wav);
    assert_unreadable("sound.wav", "no picture or video");
}

// Sides of 100,000 in headers of each kind; nothing of that size may be allocated.
static void huge_sizes(void **state) {
    (void)state;
    static uint8_t png[64] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\1\x86\xa0\0\1\x86\xa0\10\2";
    store_bytes("huge.png", png, sizeof png);
    assert_unreadable("huge.png", "100000 x 100000 pixels; from 1 to 8192");
    static const char text[] =
        "\x93NUMPY\1\0\x76\0{'descr': '|u1', 'fortran_order': False, 'shape': (1, 100000, 100000, 3), }";
    char npy[128];
    memset(npy, ' ', sizeof npy);
    memcpy(npy, text, sizeof text - 1);
    npy[127] = '\n';
    store_bytes("huge.npy", npy, sizeof npy);
    assert_unreadable("huge.npy", "100000 x 100000 pixels");
    uint8_t bmp[64] = {'B', 'M', 64};
    bmp[10] = 54, bmp[14] = 40, bmp[18] = 0xa0, bmp[19] = 0x86, bmp[20] = 1, bmp[22] = 1, bmp[26] = 1, bmp[28] = 24;
    store_bytes("huge.bmp", bmp, sizeof bmp);
    assert_unreadable("huge.bmp", "too large");
}

static void store_npy(const char *path, const char *header, size_t data) {
    static char bytes[4096];
    size_t n = strlen(header);
    assert_true(n + 11 + data < sizeof bytes);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, "\x93NUMPY\1\0", 8);
    bytes[8] = (char)(n + 1);
    memcpy(bytes + 10, header, n);
    bytes[10 + n] = '\n';
    store_bytes(path, bytes, n + 11 + data);
}

static void damaged_npy(void **state) {
    (void)state;
    static const struct {
        const char *header, *piece;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 2, 3), }", "not uint8"},
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (1, 2, 2, 3), }", "Fortran"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 3), }", "not (frames, height, width, 3)"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 2, 4), }", "4 npy channels"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 2, 2, 3), }", "0 npy frames"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (9999, 2, 2, 3), }", "9999 npy frames"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 2, 2, 3), }", "not (frames"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 2, 2, 3), }", "not (frames"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 2, 3), }",
         "12 bytes of npy data; its shape needs 6"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 2, 3), }", "its shape needs 24"},
        {"{'descr': '|u1', 'shape': (1, 2, 2, 3), }", "damaged npy header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 2, 3), 'shape': (1, 2, 2, 3)}", "not (frames"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 2, 3), } more", "damaged npy header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 2, 3)", "damaged npy header"},
        {"", "damaged npy header"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        store_npy("bad.npy", cases[i].header, 12);
        assert_unreadable("bad.npy", cases[i].piece);
    }
    store_npy("good.npy", "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 2, 3)}", 12);
    lm_clip c = read_clip("good.npy");
    lm_clip_free(&c);
    store_bytes("version.npy", "\x93NUMPY\4\0\1\0\0\0{", 13);
    assert_unreadable("version.npy", "npy version");
    store_bytes("magic.npy", "\x93NUMPX\1\0\1\0{", 11);
    assert_unreadable("magic.npy", "not a picture or video");
    store_bytes("length.npy", "\x93NUMPY\1\0\xff\xff{", 11);
    assert_unreadable("length.npy", "cut off in its header");
}

static void damaged_pixels(void **state) {
    (void)state;
    lm_clip c = make_clip(1, 48, 32, 3);
    write_clip("damaged.png", &c, NULL);
    size_t size;
    uint8_t *bytes = load_bytes("damaged.png", &size);
    bytes[size / 2] ^= 0x55;
    store_bytes("damaged.png", bytes, size);
    assert_unreadable("damaged.png", "damaged");
    lm_free(bytes);
    lm_clip_free(&c);
}

static void folders_without_a_clip(void **state) {
    (void)state;
    assert_int_equal(mkdir("hollow", 0777), 0);
    assert_unreadable("hollow", "holds no frame");
    lm_clip small = make_clip(1, 8, 8, 3), large = make_clip(1, 9, 8, 3), text = make_clip(1, 8, 8, 3);
    assert_int_equal(mkdir("mixed", 0777), 0);
    write_clip("mixed/1.png", &small, NULL);
    write_clip("mixed/2.png", &large, NULL);
    assert_unreadable("mixed", "2.png: frame 2 is 9 x 8, those before it are 8 x 8");
    assert_int_equal(mkdir("noise", 0777), 0);
    write_clip("noise/1.png", &text, NULL);
    store_bytes("noise/2.png", "noise", 5);
    assert_unreadable("noise", "noise/2.png: not a picture");
    lm_clip_free(&small);
    lm_clip_free(&large);
    lm_clip_free(&text);
}

static void too_many_frames(void **state) {
    (void)state;
    lm_clip c = make_clip(LM_MAX_READ_FRAMES + 1, 1, 1, 3);
    write_clip("many.gif", &c, NULL);
    assert_unreadable("many.gif", "more than 4096 frames");
    lm_clip_free(&c);
}

static void check_refused(const char *path, lm_status status, const char *piece) {
    lm_error e = {0};
    assert_error(&e, status, lm_media_check_output(&e, path, &(lm_clip){0}, true, false), piece);
}

static void outputs_that_make_no_sense(void **state) {
    (void)state;
    lm_clip c = make_clip(2, 8, 8, 3), alpha = make_clip(2, 8, 8, 4), still = make_clip(2, 8, 8, 3);
    still.fps = 0;
    const char *endings[] = {"clip", "clip.avi", ".mp4", "mp4", ""};
    for (int i = 0; i < 5; i++) {
        check_refused(endings[i], LM_USAGE, "use .mp4 .webm .gif .png .apng .webp .npy, or /");
        assert_unwritable(endings[i], &c, LM_USAGE, "use .mp4 .webm");
    }
    assert_unwritable("two.png", &c, LM_USAGE, "holds one frame and the clip has 2");
    assert_unwritable("alpha.mp4", &alpha, LM_USAGE, ".mp4 holds no alpha");
    assert_unwritable("still.mp4", &still, LM_USAGE, "the clip has no rate");
    lm_error e = {0};
    assert_error(&e, LM_USAGE, lm_media_write(&e, "r.npy", &c, "[1]"), "must be a JSON object");
    assert_int_equal(access("r.npy", F_OK), -1);
    lm_clip_free(&c);
    lm_clip_free(&alpha);
    lm_clip_free(&still);
}

static void unwritable_places(void **state) {
    (void)state;
    lm_clip c = make_clip(1, 8, 8, 3);
    store_bytes("file", "x", 1);
    assert_int_equal(mkdir("taken.mp4", 0777), 0);
    assert_int_equal(mkdir("full", 0777), 0);
    store_bytes("full/other", "x", 1);
    check_refused("absent/a.mp4", LM_MEDIA, "'absent'");
    check_refused("file/a.mp4", LM_MEDIA, "'file' is not a folder");
    check_refused("taken.mp4", LM_MEDIA, "it is a folder");
    check_refused("full/", LM_MEDIA, "not empty");
    assert_unwritable("absent/a.npy", &c, LM_MEDIA, "absent");
    assert_unwritable("absent/a/", &c, LM_MEDIA, "absent");
    assert_unwritable("file/a.npy", &c, LM_MEDIA, "file");
    assert_unwritable("taken.mp4", &c, LM_MEDIA, "folder");
    assert_unwritable("full/", &c, LM_MEDIA, "not empty");
    assert_unwritable("/proc/lumiere.npy", &c, LM_MEDIA, "/proc");
    if (geteuid()) { // permissions don't stop root
        assert_int_equal(mkdir("locked", 0555), 0);
        check_refused("locked/a.mp4", LM_MEDIA, "Permission denied");
        assert_unwritable("locked/a.mp4", &c, LM_MEDIA, "Permission denied");
    }
    lm_clip_free(&c);
}

// A limit on the size of files stands for a full disk; the file that was there stays as it was.
static void full_disk(void **state) {
    (void)state;
    lm_clip c = make_clip(8, 64, 64, 3);
    store_bytes("kept.npy", "before", 6);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    lm_error e[2] = {{0}, {0}};
    lm_status file = lm_media_write(&e[0], "kept.npy", &c, NULL), folder = lm_media_write(&e[1], "frames/", &c, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_error(&e[0], LM_MEDIA, file, "File too large");
    assert_error(&e[1], LM_MEDIA, folder, "File too large");
    size_t size;
    uint8_t *bytes = load_bytes("kept.npy", &size);
    assert_int_equal(size, 6);
    assert_memory_equal(bytes, "before", 6);
    assert_int_equal(access("frames", F_OK), -1);
    lm_free(bytes);
    lm_clip_free(&c);
}

static void recipes_that_are_none(void **state) {
    (void)state;
    lm_clip c = make_clip(1, 4, 4, 3);
    write_clip("noted.npy", &c, NULL);
    store_bytes("noted.npy.json", "[1, 2]", 6);
    lm_error e = {0};
    char *json;
    assert_error(&e, LM_MEDIA, lm_media_read_recipe(&e, "noted.npy", &json), "must hold a JSON object");
    lm_error_clear(&e);
    assert_error(&e, LM_MEDIA, lm_media_read_recipe(&e, "absent.npy", &json), "No such file");
    assert_null(json);
    lm_clip_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_file),
        cmocka_unit_test(empty_file),
        cmocka_unit_test(text_that_is_named_mp4),
        cmocka_unit_test(playlist_that_names_other_files),
        cmocka_unit_test(truncated_files),
        cmocka_unit_test(cut_in_their_first_bytes),
        cmocka_unit_test(sound_alone),
        cmocka_unit_test(huge_sizes),
        cmocka_unit_test(damaged_npy),
        cmocka_unit_test(damaged_pixels),
        cmocka_unit_test(folders_without_a_clip),
        cmocka_unit_test(too_many_frames),
        cmocka_unit_test(outputs_that_make_no_sense),
        cmocka_unit_test(unwritable_places),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(recipes_that_are_none),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
