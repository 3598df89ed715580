// The files that version 0.1 left in tests/compare/files-0.1 still load, and give what they gave: run files, a
// checkpoint, a model, a style, recipes. Figures are compared, not bytes, since processors round differently.
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROWS = 8, LEAST_PSNR = 45 };
static char *work; // holds links: files, data
static command_result r;

#define DONE(...)                                                                                                      \
    do {                                                                                                               \
        RUN(&r, work, __VA_ARGS__, "--threads", "1", "--precision", "fp32");                                           \
        expect_done(&r);                                                                                               \
    } while (0)

static int make(void **state) {
    (void)state;
    char link[512];
    work = temporary_make();
    snprintf(link, sizeof link, "%s/files", work);
    if (symlink(LM_SOURCE_DIR "/tests/compare/files-0.1", link)) return 1;
    snprintf(link, sizeof link, "%s/data", work);
    return symlink(LM_SOURCE_DIR "/data", link);
}

static int clean(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

// Both hold the same clip, but for rounding.
static void expect_near(const char *a, const char *b) {
    RUN(&r, work, "compare", "--json", a, b);
    expect_done(&r);
    json_t *figures = json_loads(r.out, 0, NULL);
    assert_non_null(figures);
    double psnr = json_number_value(json_object_get(figures, "psnr"));
    if (!json_is_true(json_object_get(figures, "equal")) && !(psnr >= LEAST_PSNR))
        fail_msg("%s and %s are %g dB apart", a, b, psnr);
    json_decref(figures);
}

// The recipe of an old clip, run as inspect prints it.
static void make_again(const char *clip, const char *output) {
    char line[4096];
    RUN(&r, work, "inspect", "--as-args", clip);
    expect_done(&r);
    assert_true(!strncmp(r.out, "lumiere ", 8));
    snprintf(line, sizeof line, "cd '%s' && '%s/'%.*s --threads 1 -q -o %s", work, LM_BINARY_DIR,
             (int)strcspn(r.out, "\n"), r.out, output);
    assert_int_equal(system(line), 0);
}

static void recipes_make_the_old_clips(void **state) {
    (void)state;
    make_again("files/made.mp4", "made.npy");
    expect_near("made.npy", "files/made.npy");
}

static void styles_draw_as_they_did(void **state) {
    (void)state;
    make_again("files/styled.npy", "styled.npy");
    expect_near("styled.npy", "files/styled.npy");
    DONE("stylize", "a fish", "--model", "files/model", "--seed", "7", "--style", "files/model/styles/ink.safetensors",
         "--upscale", "-f", "2", "-q", "-o", "by-file.npy");
    expect_near("by-file.npy", "files/styled.npy");
    // which they would not be if the style changed nothing
    DONE("generate", "a fish", "--model", "files/model", "--seed", "7", "--upscale", "-f", "2", "-q", "-o",
         "plain.npy");
    RUN(&r, work, "compare", "--json", "plain.npy", "files/styled.npy");
    assert_non_null(strstr(r.out, "\"equal\":false"));
}

static void folders_and_files_are_described(void **state) {
    (void)state;
    RUN(&r, work, "inspect", "files/model");
    expect_done(&r);
    assert_non_null(strstr(r.out, "hash: db3b05322e9d52a7\n"));
    RUN(&r, work, "inspect", "files/model/styles/ink.safetensors");
    expect_done(&r);
    assert_non_null(strstr(r.out, "base_hash: 4df00fcdb09d3eec\n"));
    RUN(&r, work, "inspect", "files/runs/video/checkpoint.safetensors");
    expect_done(&r);
    assert_non_null(strstr(r.out, "tensors: 392\n"));
}

typedef struct curve {
    int count;
    long long step[ROWS];
    double loss[ROWS];
} curve;

static curve read_curve(const char *name) {
    char path[512], text[4096];
    curve c = {0};
    snprintf(path, sizeof path, "%s/%s", work, name);
    assert_true(read_text(path, text, sizeof text));
    for (const char *line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        assert_true(c.count < ROWS);
        assert_int_equal(sscanf(line + 1, "%lld,%*d,%*f,%lf", &c.step[c.count], &c.loss[c.count]), 2);
        c.count++;
    }
    return c;
}

// Sprites that move are drawn larger than version 0.1 did, which shifts a loss of 0.7 by up to 0.002.
static void expect_same_curve(const char *name, const char *other) {
    curve a = read_curve(name), b = read_curve(other);
    assert_int_equal(a.count, b.count);
    assert_true(a.count >= 4);
    for (int i = 0; i < a.count; i++) {
        assert_int_equal(a.step[i], b.step[i]);
        if (!(fabs(a.loss[i] - b.loss[i]) < 5e-3))
            fail_msg("step %lld: loss %g, not %g", a.step[i], a.loss[i], b.loss[i]);
    }
}

// A run that version 0.1 left at step 10 of 20.
static void checkpoint_goes_on(void **state) {
    (void)state;
    char line[1200];
    snprintf(line, sizeof line, "cp -R '%s/files/runs/video' '%s/video' && chmod -R u+w '%s/video'", work, work, work);
    assert_int_equal(system(line), 0);
    DONE("train", "files/video.yaml", "--resume");
    assert_non_null(strstr(r.err, "resumed at step 10\n"));
    expect_same_curve("video/metrics.csv", "files/runs/video/whole.csv");
}

static void run_files_train(void **state) {
    (void)state;
    static const char *const stages[] = {"image", "ssr", "style"};
    for (int i = 0; i < 3; i++) {
        char file[64];
        snprintf(file, sizeof file, "files/%s.yaml", stages[i]);
        DONE("train", file, "--set", "steps=2", "--set", "validation_clips=2");
        assert_non_null(strstr(r.err, "step 2: loss "));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipes_make_the_old_clips),
        cmocka_unit_test(styles_draw_as_they_did),
        cmocka_unit_test(folders_and_files_are_described),
        cmocka_unit_test(checkpoint_goes_on),
        cmocka_unit_test(run_files_train),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
