// explained.csv: its values for a network whose prediction is known, its rows through a resume, and the fixed clips.
#include "watched_run.h"

#include "base/files.h"
#include "base/memory.h"
#include "diffusion/schedule.h"
#include "train/dataset.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tiny_run run;

static int make(void **state) {
    (void)state;
    tiny_run_make(&run);
    return 0;
}

static int clean(void **state) {
    (void)state;
    tiny_run_remove(&run);
    return 0;
}

static lm_dataset *open_dataset(int size) {
    lm_error e = {0};
    lm_dataset *d;
    char *path = tiny_path(&run, "data");
    const char *paths[] = {path};
    lm_dataset_options o = {.paths = paths, .path_count = 1, .style = "3d", .size = size, .threads = 1};
    if (lm_dataset_open(&e, &o, &d) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    return d;
}

static void check_captions(const lm_dataset *d, lm_fixed_options o, const char *const *want) {
    lm_error e = {0};
    lm_batch b;
    if (lm_dataset_fixed(&e, d, &o, &b) != LM_OK) fail_msg("%s", e.text);
    for (int i = 0; i < o.clips; i++) assert_string_equal(b.captions[i], want[i]);
    lm_batch_free(&b);
}

// The subjects in the order of their files; the still's paraphrase; batches that go past the last.
static void test_fixed_clips(void **state) {
    (void)state;
    lm_dataset *d = open_dataset(16);
    assert_int_equal(lm_dataset_subjects(d, LM_SPLIT_TRAIN), 3);
    assert_int_equal(lm_dataset_subjects(d, LM_SPLIT_VALIDATION), 1);
    lm_fixed_options o = {.split = LM_SPLIT_TRAIN, .subjects = 3, .clips = 4, .frames = 1};
    check_captions(d, o, (const char *const[]){"a bee", "a rocket", "a bee to a rocket", "a bee to a rocket"});
    o.wording = LM_WORDING_REWORDED;
    check_captions(d, o,
                   (const char *const[]){"a bee, a rocket", "a rocket", "a bee to a rocket", "a bee to a rocket"});
    o.wording = LM_WORDING_SHUFFLED;
    check_captions(d, o, (const char *const[]){"a rocket", "a bee to a rocket", "a bee", "a bee"});
    o = (lm_fixed_options){.split = LM_SPLIT_TRAIN, .subjects = 2, .first = 1, .clips = 1, .frames = 4, .moved = true};
    check_captions(d, o, (const char *const[]){"a rocket, moving from right to left"});
    lm_dataset_free(&d);
}

enum { SIDE = 16, MOST = 3 };

// in [frames,SIDE,SIDE,3] -> out [frames,8,8,3]
static void halve(const double *in, int frames, double *out) {
    for (int i = 0; i < frames * SIDE * SIDE / 4; i++) {
        int f = i / (SIDE * SIDE / 4), y = i / (SIDE / 2) % (SIDE / 2), x = i % (SIDE / 2);
        const double *p = in + ((f * SIDE + 2 * y) * SIDE + 2 * x) * 3;
        for (int c = 0; c < 3; c++) out[i * 3 + c] = (p[c] + p[c + 3] + p[c + SIDE * 3] + p[c + SIDE * 3 + 3]) / 4;
    }
}

// What a network that always says v = 0 explains: x0 is predicted as alpha times the noisy clip.
static void zero_explains(const lm_dataset *d, lm_split split, int frames, double t, double out[2]) {
    enum { FLOATS = 4 * SIDE * SIDE * 3 };
    static double x0[MOST][FLOATS], hat[MOST][FLOATS], mean[FLOATS], small[3][FLOATS];
    lm_error e = {0};
    lm_batch b;
    int clips = lm_dataset_subjects(d, split), n = frames * SIDE * SIDE * 3;
    lm_fixed_options o = {.split = split, .subjects = clips, .clips = clips, .frames = frames, .moved = frames > 1};
    assert_true(clips <= MOST);
    if (lm_dataset_fixed(&e, d, &o, &b) != LM_OK) fail_msg("%s", e.text);
    double alpha = cos(acos(-1) / 2 * t), sigma = sin(acos(-1) / 2 * t);
    memset(mean, 0, sizeof mean);
    for (int i = 0; i < clips; i++) {
        float noise[FLOATS];
        lm_noise_fill(noise, frames, n / frames, 20240123, (uint32_t)i, (uint32_t)split);
        for (int k = 0; k < n; k++) {
            x0[i][k] = (double)b.x0[i * n + k];
            hat[i][k] = alpha * (alpha * x0[i][k] + sigma * (double)noise[k]);
            mean[k] += x0[i][k] / clips;
        }
    }
    lm_batch_free(&b);
    for (int pooled = 0; pooled < 2; pooled++) {
        double rest = 0, whole = 0;
        for (int i = 0; i < clips; i++) {
            const double *a = x0[i], *h = hat[i], *m = mean;
            if (pooled) {
                halve(a, frames, small[0]), halve(h, frames, small[1]), halve(m, frames, small[2]);
                a = small[0], h = small[1], m = small[2];
            }
            for (int k = 0; k < (pooled ? n / 4 : n); k++) {
                rest += (a[k] - h[k]) * (a[k] - h[k]);
                whole += (a[k] - m[k]) * (a[k] - m[k]);
            }
        }
        out[pooled] = clips > 1 ? 1 - rest / whole : 0;
    }
}

static char *read_table(const char *out) {
    lm_error e = {0};
    uint8_t *bytes = NULL;
    size_t size;
    char *path = tiny_file(&run, out, "explained.csv");
    if (lm_file_read(&e, path, 1 << 20, LM_MEDIA, &bytes, &size) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    return (char *)bytes;
}

static int rows_of(const char *table) {
    int rows = -1; // the header's line
    for (; *table; table++) rows += *table == '\n';
    return rows;
}

// A newborn network says v = 0, and learns nothing at rate 0.
static void check_newborn(const char *out, const char *const *set, int frames) {
    watch w = {0};
    watched_train_whole(&run, out, set, LM_F32, &w);
    lm_dataset *d = open_dataset(SIDE);
    char *table = read_table(out), *line = table + strcspn(table, "\n") + 1;
    int found = 0;
    static const double times[] = {0.999, 0.9, 0.7, 0.5};
    for (int split = 0; split < 2; split++)
        for (int wording = 0; wording < 3; wording++)
            for (int i = 0; i < 4; i++, found++) {
                char subjects[20], caption[20];
                int step, samples;
                double t, got[2], want[2];
                assert_int_equal(sscanf(line, "%d,%d,%19[a-z ],%19[a-z],%lf,%lf,%lf", &step, &samples, subjects,
                                        caption, &t, &got[0], &got[1]),
                                 7);
                assert_string_equal(subjects, split ? "left out" : "training");
                assert_string_equal(caption, ((const char *const[]){"right", "reworded", "shuffled"})[wording]);
                assert_true(step == TINY_STEPS && samples == 2 * TINY_STEPS && t == times[i]);
                zero_explains(d, split, frames, t, want);
                for (int k = 0; k < 2; k++)
                    if (!(fabs(got[k] - want[k]) <= 2e-4)) fail_msg("%s: %.60s; %g wanted", out, line, want[k]);
                line += strcspn(line, "\n") + 1;
            }
    assert_int_equal(rows_of(table), found);
    lm_free(table);
    lm_dataset_free(&d);
}

static void test_values(void **state) {
    (void)state;
    const char *const image[] = {"size=16", "learning_rate=0", "explain_every=12", NULL};
    check_newborn("newborn", image, 1);
    char *init = lm_format("init=%s/newborn", run.folder);
    const char *const video[] = {"stage=video", init, "size=16", "learning_rate=0", "explain_every=12", NULL};
    check_newborn("newborn-video", video, 4);
    lm_free(init);
}

// Rows past the checkpoint are dropped and made again.
static void test_resume(void **state) {
    (void)state;
    const char *const set[] = {"explain_every=2", NULL};
    lm_error e = {0};
    watch w = {0};
    watched_train_whole(&run, "whole", set, LM_F32, &w);
    char *whole = read_table("whole");
    assert_int_equal(rows_of(whole), 6 * 24);
    w = (watch){.stop_after = 5};
    assert_int_equal(watched_train(&e, &run, "parts", set, LM_F32, false, &w), LM_CANCELLED);
    char *path = tiny_file(&run, "parts", "explained.csv");
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    assert_true(fputs("6,12,training,right,0.999,0.1,0.1\n6,12,trai", f) >= 0);
    assert_int_equal(fclose(f), 0);
    lm_free(path);
    w = (watch){0};
    if (watched_train(&e, &run, "parts", set, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
    char *parts = read_table("parts");
    assert_string_equal(whole, parts);
    lm_free(whole);
    lm_free(parts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed_clips),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_resume),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
