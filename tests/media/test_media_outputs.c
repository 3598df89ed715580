// What a write would refuse is refused when it is asked for beforehand, with the same status and in the same words.
#include "media_test.h"

#include "base/files.h"
#include "base/memory.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char recipe[] = "{\"prompt\":\"a bee\"}";

static int entries(const char *folder) {
    DIR *d = opendir(folder);
    int n = -2;
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static lm_clip clip_of(int frames, int channels, double fps) {
    lm_clip c = make_clip(frames, 8, 8, channels);
    c.fps = fps;
    return c;
}

static lm_clip shape_of(const lm_clip *c) {
    lm_clip shape = *c;
    shape.data = NULL;
    return shape;
}

static void refused(const char *path, const lm_clip *c, lm_status status, const char *piece) {
    lm_error asked = {0}, written = {0};
    const lm_clip shape = shape_of(c);
    int before = entries(".");
    assert_error(&asked, status, lm_media_check_output(&asked, path, &shape, true, false), piece);
    assert_int_equal(entries("."), before);
    assert_error(&written, status, lm_media_write(&written, path, c, recipe), piece);
    assert_non_null(strstr(written.text, asked.text));
}

static void shapes_that_an_ending_cannot_hold(void **state) {
    (void)state;
    lm_clip two = clip_of(2, 3, 16), fast = clip_of(2, 3, 60), slow = clip_of(2, 3, 0.001), alpha = clip_of(2, 4, 16);
    refused("two.png", &two, LM_USAGE, "holds one frame and the clip has 2");
    refused("fast.gif", &fast, LM_USAGE, "60 frames a second; a GIF counts time in 1/100 s");
    refused("alpha.mp4", &alpha, LM_USAGE, "holds no alpha");
    refused("alpha.npy", &alpha, LM_USAGE, "holds no alpha");
    static const char *const timed[] = {"s.mp4", "s.webm", "s.gif", "s.apng", "s.webp"};
    for (int i = 0; i < 5; i++) refused(timed[i], &slow, LM_USAGE, "0.001 frames a second can't be written");
    refused("two.avi", &two, LM_USAGE, "no ending that says what to write");
    assert_int_equal(entries("."), 0);
    lm_error e = {0};
    assert_error(&e, LM_USAGE, lm_media_check_output(&e, "again/", &two, false, true), "written once");
    lm_clip *all[] = {&two, &fast, &slow, &alpha};
    for (int i = 0; i < 4; i++) lm_clip_free(all[i]);
}

// The check says yes to no rate that the write then says no to.
static void rates_that_can_be_written(void **state) {
    (void)state;
    static const double rates[] = {0.01, 0.1, 3.14159265, 12.345678, 23.976, 49.999, 50, 59.94, 119.88, 240, 1000};
    static const char *const names[] = {"r.mp4", "r.webm", "r.gif", "r.apng", "r.webp", "r.npy"};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        for (int k = 0; k < 6; k++) {
            lm_error asked = {0}, written = {0};
            lm_clip c = clip_of(3, 3, rates[i]), shape = shape_of(&c);
            lm_status first = lm_media_check_output(&asked, names[k], &shape, false, false);
            lm_status second = lm_media_write(&written, names[k], &c, NULL);
            if (first != second) fail_msg("%s at %g: '%s', then '%s'", names[k], rates[i], asked.text, written.text);
            bool too_fast = k == 2 && rates[i] > 50;
            assert_int_equal(first, too_fast ? LM_USAGE : LM_OK);
            lm_clip_free(&c);
        }
    for (int k = 0; k < 6; k++) unlink(names[k]);
}

static void places_where_nothing_can_be_written(void **state) {
    (void)state;
    lm_clip c = clip_of(2, 3, 16);
    lm_error e = {0};
    char name[300] = "";
    assert_int_equal(mkfifo("pipe.gif", 0666), 0);
    assert_int_equal(mkdir("taken.gif", 0777), 0);
    assert_int_equal(mkdir("b.gif.part", 0777), 0);
    assert_int_equal(symlink("elsewhere", "c.gif.part"), 0);
    assert_int_equal(mkfifo("d.gif.part", 0666), 0);
    refused("pipe.gif", &c, LM_MEDIA, "a device or pipe");
    refused("taken.gif", &c, LM_MEDIA, "it is a folder");
    refused("b.gif", &c, LM_MEDIA, "b.gif.part', its name until it is complete, is a folder");
    refused("c.gif", &c, LM_MEDIA, "c.gif.part', its name until it is complete, is a link");
    refused("d.gif", &c, LM_MEDIA, "d.gif.part', its name until it is complete, is a device or pipe");
    refused("/proc/x.npy", &c, LM_MEDIA, "the folder '/proc' takes no files");
    refused("no/such/x.npy", &c, LM_MEDIA, "there is no folder 'no/such'");
    refused("pipe.gif/x.npy", &c, LM_MEDIA, "'pipe.gif' is not a folder");
    lm_file_writer *w;
    assert_int_equal(lm_file_create(&e, "e.npy", LM_MEDIA, &w), LM_OK);
    refused("e.npy", &c, LM_MEDIA, "another process is writing it");
    lm_file_discard(&w);
    memset(name, 'n', 247);
    strcpy(name + 247, ".npy");
    refused(name, &c, LM_MEDIA, "File name too long");
    static const char *const made[] = {"pipe.gif", "taken.gif", "b.gif.part", "c.gif.part", "d.gif.part"};
    for (int i = 0; i < 5; i++) assert_int_equal(remove(made[i]), 0);
    assert_int_equal(entries("."), 0);
    lm_clip_free(&c);
}

// The recipe beside it is the last thing that is written: when it can't be, the clip is there, and that is said.
static void recipes_that_cannot_be_written(void **state) {
    (void)state;
    lm_clip c = clip_of(2, 3, 16);
    char longest[300] = "";
    memset(longest, 'n', 242);
    strcpy(longest + 242, ".npy");
    assert_int_equal(mkdir("a.npy.json", 0777), 0);
    assert_int_equal(mkfifo("b.npy.json", 0666), 0);
    assert_int_equal(mkdir("c.npy.json.part", 0777), 0);
    const char *const names[] = {"a.npy", "b.npy", "c.npy", longest};
    for (int i = 0; i < 4; i++) {
        lm_error e = {0};
        char whole[200];
        snprintf(whole, sizeof whole, "wrote '%.100s', which is whole, but not its recipe", names[i]);
        assert_int_equal(lm_media_check_output(&e, names[i], &(lm_clip){0}, false, false), LM_OK);
        assert_error(&e, LM_MEDIA, lm_media_check_output(&e, names[i], &(lm_clip){0}, true, false),
                     i < 3 ? ".json" : "File name too long");
        lm_error_clear(&e);
        assert_error(&e, LM_MEDIA, lm_media_write(&e, names[i], &c, recipe), whole);
        lm_clip back = read_clip(names[i]);
        assert_same_pixels(&back, &c);
        lm_clip_free(&back);
        assert_int_equal(unlink(names[i]), 0);
    }
    static const char *const made[] = {"a.npy.json", "b.npy.json", "c.npy.json.part"};
    for (int i = 0; i < 3; i++) assert_int_equal(remove(made[i]), 0);
    lm_clip_free(&c);
}

static void folders_that_cannot_be_replaced(void **state) {
    (void)state;
    lm_clip c = clip_of(2, 3, 16);
    char name[300] = "";
    assert_int_equal(mkdir("empty", 0777), 0);
    assert_int_equal(chdir("empty"), 0);
    refused("./", &c, LM_MEDIA, "it is the present folder");
    refused("../empty/", &c, LM_MEDIA, "it is the present folder");
    assert_int_equal(chdir(".."), 0);
    memset(name, 'n', 249);
    strcpy(name + 249, "/");
    refused(name, &c, LM_MEDIA, "File name too long");
    refused("/proc/x/", &c, LM_MEDIA, "the folder '/proc' takes no files");
    refused("no/such/x/", &c, LM_MEDIA, "there is no folder 'no/such'");
    assert_int_equal(symlink("empty", "link"), 0);
    assert_int_equal(mkdir("empty/inside", 0777), 0);
    refused("link/", &c, LM_MEDIA, "not empty");
    assert_int_equal(rmdir("empty/inside"), 0);
    assert_int_equal(unlink("link"), 0);
    assert_int_equal(rmdir("empty"), 0);
    lm_clip_free(&c);
}

static void links_to_folders_are_followed(void **state) {
    (void)state;
    lm_clip c = clip_of(2, 3, 16);
    lm_error e = {0};
    struct stat info;
    assert_int_equal(mkdir("real", 0750), 0);
    assert_int_equal(symlink("real", "link"), 0);
    assert_int_equal(symlink("new", "dangling"), 0);
    static const char *const names[] = {"link/", "dangling/", "real2/"};
    for (int i = 0; i < 3; i++) {
        if (lm_media_check_output(&e, names[i], &c, true, false) != LM_OK) fail_msg("%s", e.text);
        write_clip(names[i], &c, recipe);
        assert_int_equal(entries(names[i]), 3);
    }
    assert_true(!lstat("link", &info) && S_ISLNK(info.st_mode));
    assert_true(!stat("real", &info) && (info.st_mode & 07777) == 0750);
    assert_int_equal(entries("real"), 3);
    assert_int_equal(entries("new"), 3);
    lm_clip_free(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_that_an_ending_cannot_hold),   cmocka_unit_test(rates_that_can_be_written),
        cmocka_unit_test(places_where_nothing_can_be_written), cmocka_unit_test(recipes_that_cannot_be_written),
        cmocka_unit_test(folders_that_cannot_be_replaced),     cmocka_unit_test(links_to_folders_are_followed),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
