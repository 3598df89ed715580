// A run's files: what can't be written, and what would be written over another file of the run, is refused before
// anything is computed; clips without a rate.
#include "cli/clip_files.h"
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char *work, model[256];
static command_result r;

// Shows a line a step: expect_refused, which takes one line alone, sees that nothing was computed.
#define COMMAND(name, ...)                                                                                             \
    RUN(&r, work, name, "--model", model, "--threads", "1", "--steps", "1", "--progress", "json", __VA_ARGS__)
#define GENERATE(...) COMMAND("generate", "a bee", "-W", "16", "-H", "16", "--no-upscale", __VA_ARGS__)

static const char *in_work(const char *name) {
    static char paths[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", work, name);
    return paths[next];
}

static bool exists(const char *name) {
    struct stat info;
    return !lstat(in_work(name), &info);
}

static void make_clip(const char *name, int frames, double fps) {
    lm_error e = {0};
    lm_clip c;
    assert_int_equal(lm_clip_alloc(&e, frames, 16, 16, 3, &c), LM_OK);
    for (int i = 0; i < frames * 16 * 16 * 3; i++) c.data[i] = (uint8_t)(i * 7 + i / 48);
    c.fps = fps;
    write_clip(&c, in_work(name));
    lm_clip_free(&c);
}

static void make_text(const char *name, const char *text) {
    FILE *f = fopen(in_work(name), "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void outputs_are_refused_first(void **state) {
    (void)state;
    static const char *const traps[] = {"folder.npy.json", "b.npy.part", "c-1.npy", "taken", "taken/full"};
    char longest[300] = "";
    for (int i = 0; i < 5; i++) assert_int_equal(mkdir(in_work(traps[i]), 0777), 0);
    assert_int_equal(mkfifo(in_work("pipe.npy"), 0666), 0);
    memset(longest, 'n', 242);
    strcpy(longest + 242, ".npy");
    GENERATE("-o", "pipe.npy");
    expect_refused(&r, 5, "pipe.npy': it is a device or pipe");
    GENERATE("-o", "folder.npy");
    expect_refused(&r, 5, "folder.npy.json': it is a folder");
    GENERATE("-o", "b.npy");
    expect_refused(&r, 5, "b.npy.part', its name until it is complete, is a folder");
    GENERATE("-o", longest);
    expect_refused(&r, 5, "File name too long");
    GENERATE("-o", "c.npy", "-b", "3");
    expect_refused(&r, 5, "c-1.npy': it is a folder");
    assert_false(exists("c-0.npy"));
    GENERATE("-o", "taken/");
    expect_refused(&r, 5, "not empty");
    GENERATE("-o", "/proc/x.npy");
    expect_refused(&r, 5, "/proc");
    GENERATE("-o", "many.png");
    expect_refused(&r, 2, "holds one frame and the clip has 4"); // the model's
    GENERATE("-o", "many.png", "-f", "3");
    expect_refused(&r, 2, "holds one frame and the clip has 3");
    GENERATE("-o", "fast.gif", "--fps", "60");
    expect_refused(&r, 2, "a GIF counts time in 1/100 s");
    GENERATE("-o", "d.npy", "--preview", "many.png");
    expect_refused(&r, 2, "holds one frame and the clip has 4");
    GENERATE("-o", "d.npy", "--preview", "previews/");
    expect_refused(&r, 2, "written once and not again");
    GENERATE("-o", "d.npy", "--preview", "pipe.npy");
    expect_refused(&r, 5, "a device or pipe");
    assert_false(exists("d.npy"));
    assert_int_equal(mkdir(in_work("here"), 0777), 0);
    run_command(&r, in_work("here"), (const char *const[]){"generate", "a bee", "-m", model, "-o", "../here/", NULL});
    expect_refused(&r, 5, "not empty"); // it holds this test's stdout
    GENERATE("-o", "one.png", "-f", "1", "--preview", "one-preview.png", "-q");
    expect_done(&r);
    for (int i = 4; i >= 0; i--) assert_int_equal(rmdir(in_work(traps[i])), 0);
    assert_int_equal(unlink(in_work("pipe.npy")), 0);
}

static void other_commands_refuse_first(void **state) {
    (void)state;
    assert_int_equal(mkfifo(in_work("pipe.png"), 0666), 0);
    RUN(&r, work, "measure", "clip.npy", "--xt", "pipe.png");
    expect_refused(&r, 5, "a device or pipe");
    RUN(&r, work, "compare", "clip.npy", "other.npy", "-o", "pipe.png");
    expect_refused(&r, 5, "a device or pipe");
    RUN(&r, work, "compare", "clip.npy", "other.npy", "-o", "both.png");
    expect_refused(&r, 2, "holds one frame and the clip has 5");
    RUN(&r, work, "compare", "clip.npy", "other.npy", "-o", "both.png", "--shortest");
    expect_refused(&r, 2, "holds one frame and the clip has 4");
    COMMAND("upscale", "clip.npy", "-o", "large.png");
    expect_refused(&r, 2, "holds one frame and the clip has 4");
    COMMAND("upscale", "clip.npy", "-o", "large.npy", "--preview", "pipe.png");
    expect_refused(&r, 5, "a device or pipe");
    COMMAND("upscale", "clip.npy", "-o", "large.gif", "--fps", "100");
    expect_refused(&r, 2, "a GIF");
    COMMAND("edit", "clip.npy", "a bee", "-o", "many.png");
    expect_refused(&r, 2, "holds one frame");
    assert_int_equal(unlink(in_work("pipe.png")), 0);
}

// One picture of many clips.
static void sheets_are_pictures(void **state) {
    (void)state;
    tiny_model_write_style(model, in_work("wild.safetensors"));
    COMMAND("stylize", "a bee", "--style", "./wild.safetensors", "--style-strip", "0,1", "-W", "16", "-H", "16", "-o",
            "sheet.png", "-q");
    expect_done(&r);
    COMMAND("stylize", "a bee", "--style", "./wild.safetensors", "--style-strip", "0,1", "-W", "2048", "-H", "16", "-f",
            "8", "-o", "sheet.png");
    expect_refused(&r, 5, "pictures of 65550 x 130 pixels");
    COMMAND("stylize", "a bee", "--style", "./wild.safetensors", "-W", "16", "-H", "16", "-o", "clips.png");
    expect_refused(&r, 2, "holds one frame");
}

static void expect_kept(const char *name, int code, const char *what) {
    char bytes[64], copy[64];
    snprintf(bytes, sizeof bytes, "%s", name);
    snprintf(copy, sizeof copy, "copy-of-%s", name);
    expect_refused(&r, code, what);
    assert_true(same_bytes(in_work(bytes), in_work(copy)));
}

// Each of them would have been replaced by something else of the same run.
static void no_file_of_a_run_eats_another(void **state) {
    (void)state;
    make_clip("copy-of-clip.npy", 4, 8);
    assert_int_equal(symlink("clip.npy", in_work("link.npy")), 0);
    assert_int_equal(link(in_work("clip.npy"), in_work("hard.npy")), 0);
    assert_int_equal(symlink("absent.npy", in_work("dangling.npy")), 0);
    static const char *const names[] = {"clip.npy", "./clip.npy", "link.npy", "hard.npy"};
    for (int i = 0; i < 4; i++) {
        COMMAND("edit", "clip.npy", "a bee", "-o", names[i]);
        expect_kept("clip.npy", 2, "would be written over --input 'clip.npy'");
        COMMAND("edit", "clip.npy", "a bee", "-o", "new.npy", "--preview", names[i]);
        expect_kept("clip.npy", 2, "--preview");
        COMMAND("inpaint", "other.npy", "a bee", "--mask", "clip.npy", "-o", names[i]);
        expect_kept("clip.npy", 2, "--mask 'clip.npy'");
        COMMAND("upscale", "clip.npy", "-o", names[i]);
        expect_kept("clip.npy", 2, "--input 'clip.npy'");
        COMMAND("upscale", "clip.npy", "-o", "new.npy", "--preview", names[i]);
        expect_kept("clip.npy", 2, "--input 'clip.npy'");
        RUN(&r, work, "compare", "other.npy", "clip.npy", "-o", names[i]);
        expect_kept("clip.npy", 2, "the clip 'clip.npy'");
        RUN(&r, work, "measure", "clip.npy", "--xt", names[i]);
        expect_kept("clip.npy", 2, "the clip 'clip.npy'");
        RUN(&r, work, "measure", "other.npy", "--windows", "2", "--reference", "clip.npy", "--yt", names[i]);
        expect_kept("clip.npy", 2, "--reference 'clip.npy'");
    }
    unlink(in_work("link.npy"));
    unlink(in_work("hard.npy"));
    GENERATE("-o", "absent.npy", "--preview", "dangling.npy");
    expect_refused(&r, 2, "--preview 'dangling.npy' would be written over --output 'absent.npy'");
    GENERATE("-o", "same.gif", "--preview", "./same.gif");
    expect_refused(&r, 2, "would be written over --output");
    GENERATE("-o", "b.gif", "-b", "3", "--preview", "b-1.gif");
    expect_refused(&r, 2, "--preview 'b-1.gif' would be written over --output 'b-1.gif'");
    assert_int_equal(symlink("b-0.npy", in_work("b-2.npy")), 0);
    GENERATE("-o", "b.npy", "-b", "3");
    expect_refused(&r, 2, "--output 'b-2.npy' would be written over --output 'b-0.npy'");
    assert_int_equal(symlink("d.npy.json", in_work("e.npy")), 0);
    GENERATE("-o", "d.npy", "--preview", "e.npy");
    expect_refused(&r, 2, "--preview 'e.npy' would be written over --output 'd.npy'");
    RUN(&r, work, "measure", "clip.npy", "--xt", "s.png", "--yt", "./s.png");
    expect_refused(&r, 2, "--yt './s.png' would be written over --xt 's.png'");
    RUN(&r, work, "compare", "clip.npy", "clip.npy"); // what is only read may be the same
    expect_done(&r);
}

static void styles_are_kept(void **state) {
    (void)state;
    tiny_model_write_style(model, in_work("wild.safetensors"));
    assert_int_equal(symlink("wild.safetensors", in_work("style.npy")), 0);
    GENERATE("--style", "./wild.safetensors", "-o", "style.npy");
    expect_refused(&r, 2, "--style './wild.safetensors'");
}

// What lies in a folder of frames is one of them.
static void folders_of_frames_are_left_alone(void **state) {
    (void)state;
    make_clip("frames/", 3, 8);
    COMMAND("upscale", "frames", "-o", "frames/frame-0001.png");
    expect_refused(&r, 2, "--output 'frames/frame-0001.png' would be in the folder of frames of --input 'frames'");
    assert_int_equal(mkdir(in_work("new"), 0777), 0);
    GENERATE("-o", "new/", "--preview", "new/preview.gif", "--preview-every", "1");
    expect_refused(&r, 2, "--preview 'new/preview.gif' would be in the folder of frames of --output 'new/'");
    COMMAND("edit", "frames/", "a bee", "-o", "./frames//");
    expect_refused(&r, 2, "would be written over --input");
}

static void expect_rate(const char *name, double fps) {
    lm_clip c = read_clip(work, name);
    if (c.fps != fps) fail_msg("%s has %g frames a second, not %g", name, c.fps, fps);
    lm_clip_free(&c);
}

static int frames_of(const char *name) {
    lm_clip c = read_clip(work, name);
    int frames = c.frames;
    lm_clip_free(&c);
    return frames;
}

// Runs the command line that inspect printed, with more words; its exit code.
static int run_printed(const char *more) {
    static char line[2 * sizeof r.out];
    r.out[strcspn(r.out, "\n")] = 0;
    snprintf(line, sizeof line, "cd '%s' && '%s'/%s %s", work, LM_BINARY_DIR, r.out, more);
    return system(line);
}

static void clips_without_a_rate(void **state) {
    (void)state;
    static const char *const plain[] = {"bare.npy", "bare/"}, *const told[] = {"told.npy", "told/"};
    for (int i = 0; i < 2; i++) {
        make_clip(plain[i], 4, 0);
        COMMAND("upscale", plain[i], "-o", "large.mp4", "-q");
        expect_done(&r);
        expect_rate("large.mp4", 16);
        COMMAND("upscale", plain[i], "-o", "large.mp4", "--fps", "12", "-q");
        expect_done(&r);
        expect_rate("large.mp4", 12);
        GENERATE("-o", told[i], "--fps", "10", "-q");
        expect_done(&r);
        expect_rate(told[i], 10);
        COMMAND("upscale", told[i], "-o", "large.webm", "-q");
        expect_done(&r);
        expect_rate("large.webm", 10);
        COMMAND("upscale", told[i], "-o", "large.webp", "--fps", "20", "-q");
        expect_done(&r);
        expect_rate("large.webp", 20);
        COMMAND("edit", told[i], "a bee", "-o", "edited.mp4", "--fps", "5", "-q", "-W", "16", "-H", "16");
        expect_done(&r);
        assert_int_equal(frames_of("edited.mp4"), 2); // 4 at 10 a second
        COMMAND("edit", plain[i], "a bee", "-o", "edited.mp4", "--fps", "5", "-q", "-W", "16", "-H", "16");
        expect_done(&r);
        assert_int_equal(frames_of("edited.mp4"), 4);
        RUN(&r, work, "compare", plain[i], told[i], "-o", "both.mp4");
        expect_done(&r);
        expect_rate("both.mp4", 10);
        RUN(&r, work, "inspect", told[i]);
        expect_done(&r);
        assert_non_null(strstr(r.out, "prompt: a bee\n"));
    }
    make_text("bare.npy.json", "{\"fps\": -3}");
    COMMAND("upscale", "bare.npy", "-o", "large.mp4", "-q");
    expect_done(&r);
    expect_rate("large.mp4", 16);
    COMMAND("upscale", "clip.npy", "--fps", "0", "-o", "large.mp4");
    expect_refused(&r, 2, "--fps");
}

// The rate goes on from one folder to the next, and into the command line that makes it again.
static void rates_are_handed_on(void **state) {
    (void)state;
    GENERATE("-o", "first/", "--fps", "11", "-q");
    expect_done(&r);
    COMMAND("upscale", "first", "-o", "second/", "-q");
    expect_done(&r);
    expect_rate("second", 11);
    COMMAND("upscale", "first", "-o", "third.mp4", "--fps", "13", "-q", "--tile", "64");
    expect_done(&r);
    RUN(&r, work, "inspect", "third.mp4", "--as-args");
    expect_done(&r);
    assert_non_null(strstr(r.out, " --fps=13"));
    assert_int_equal(run_printed("-q -o fourth.mp4"), 0);
    assert_true(same_bytes(in_work("third.mp4"), in_work("fourth.mp4")));
}

// A recipe beside a clip changes its rate and not its hash: a recipe made from it without that still fits.
static void hashes_stay(void **state) {
    (void)state;
    make_clip("hashed.npy", 4, 0);
    COMMAND("edit", "hashed.npy", "a bee", "-o", "of-hashed.npy", "-q", "-W", "16", "-H", "16");
    expect_done(&r);
    make_text("hashed.npy.json", "{\"fps\": 4}");
    RUN(&r, work, "inspect", "of-hashed.npy", "--as-args");
    assert_non_null(strstr(r.out, "--input-hash='"));
    assert_int_not_equal(run_printed("-q -o again.npy 2>&1 | grep hash"), 0); // no warning
}

static int set_up(void **state) {
    (void)state;
    unsetenv("LUMIERE_MODEL");
    work = temporary_make();
    snprintf(model, sizeof model, "%s/tiny", work);
    tiny_model_make(model);
    tiny_model_add_ssr(model);
    make_clip("clip.npy", 4, 8);
    make_clip("other.npy", 5, 8);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_are_refused_first),
        cmocka_unit_test(other_commands_refuse_first),
        cmocka_unit_test(sheets_are_pictures),
        cmocka_unit_test(no_file_of_a_run_eats_another),
        cmocka_unit_test(styles_are_kept),
        cmocka_unit_test(folders_of_frames_are_left_alone),
        cmocka_unit_test(clips_without_a_rate),
        cmocka_unit_test(rates_are_handed_on),
        cmocka_unit_test(hashes_stay),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
