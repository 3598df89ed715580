// Runs by Muon: resuming, what the checkpoint holds, what is refused, other processors, and the dry run.
#include "watched_run.h"

#include "base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static const char *const by_muon[] = {"optimizer=muon", "muon_rate=0.01", "sample_every=0", NULL};

static void check_resume(const char *whole, const char *parts, const char *const *set, lm_dtype precision) {
    lm_error e = {0};
    watch w;
    watched_train_whole(&run, whole, set, precision, &w);
    w = (watch){.stop_after = 5};
    assert_int_equal(watched_train(&e, &run, parts, set, precision, false, &w), LM_CANCELLED);
    lm_error_clear(&e);
    w = (watch){0};
    if (watched_train(&e, &run, parts, set, precision, true, &w) != LM_OK) fail_msg("%s", e.text);
    tiny_run_expect_same(&run, whole, parts);
}

static void test_resume(void **state) {
    (void)state;
    check_resume("muon", "muon-2", by_muon, LM_F32);
    check_resume("muon-bf16", "muon-bf16-2", by_muon, LM_BF16);
    char *init = lm_format("init=%s/muon", run.folder);
    const char *const video[] = {"stage=video",    init, "optimizer=muon", "groups=[temporal muon]", "muon_parts=2",
                                 "sample_every=0", NULL};
    check_resume("video", "video-2", video, LM_F32);
    lm_free(init);
}

static bool has(const lm_safetensors *f, const char *name) {
    return lm_safetensors_find(f, name) != NULL;
}

// One moment of what Muon trains, two of the rest; and all of it moved.
static void test_checkpoint(void **state) {
    (void)state;
    lm_safetensors *f = tiny_tensors(&run, "muon", "checkpoint.safetensors");
    assert_true(has(f, "momentum/up.0.res.0.conv1.weight"));
    assert_false(has(f, "moment1/up.0.res.0.conv1.weight"));
    assert_false(has(f, "moment2/up.0.res.0.conv1.weight"));
    assert_true(has(f, "momentum/down.1.attn.0.qkv.weight"));
    assert_true(has(f, "momentum/time_mlp.2.weight"));
    static const char *const adamw[] = {"conv_in.weight", "conv_out.weight", "up.0.res.0.conv1.bias",
                                        "down.0.res.0.conv1.weight", "up.0.res.0.skip.weight"}; // of 8 rows, the fourth
    for (int i = 0; i < 5; i++) {
        char name[80];
        snprintf(name, sizeof name, "moment1/%s", adamw[i]);
        assert_true(has(f, name));
        snprintf(name, sizeof name, "moment2/%s", adamw[i]);
        assert_true(has(f, name));
        snprintf(name, sizeof name, "momentum/%s", adamw[i]);
        assert_false(has(f, name));
    }
    for (int i = 0; i < lm_safetensors_count(f); i++) {
        const lm_stored *t = lm_safetensors_at(f, i);
        if (strncmp(t->name, "momentum/", 9) != 0) continue;
        int64_t n;
        float *values = floats_of(f, t, &n), most = 0;
        for (int64_t k = 0; k < n; k++) most = values[k] > most ? values[k] : most;
        if (!(most > 0)) fail_msg("%s is 0", t->name);
        lm_free(values);
    }
    lm_safetensors_free(&f);
}

static void test_other_optimiser(void **state) {
    (void)state;
    lm_error e = {0};
    static const char *const by_adamw[] = {"sample_every=0", NULL};
    static const char *const other_group[] = {"optimizer=muon", "groups=[attention adamw]", NULL};
    static const char *const other_rate[] = {"optimizer=muon", "groups=[attention muon 0.001]", "muon_rate=0.1",
                                             "sample_every=0", NULL};
    watch w = {.stop_after = 3};
    assert_int_equal(watched_train(&e, &run, "adamw-3", by_adamw, LM_F32, false, &w), LM_CANCELLED);
    assert_int_equal(watched_train(&e, &run, "muon-3", by_muon, LM_F32, false, &w), LM_CANCELLED);
    watched_refuse(&run, "adamw-3", by_muon, true, LM_USAGE, "was trained by adamw, the run file says muon");
    watched_refuse(&run, "muon-3", by_adamw, true, LM_USAGE, "was trained by muon, the run file says adamw");
    watched_refuse(&run, "muon-3", other_group, true, LM_USAGE, "(group attention) was trained by muon");
    lm_error_clear(&e);
    w = (watch){0};
    if (watched_train(&e, &run, "muon-3", other_rate, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
    if (watched_train(&e, &run, "adamw-3", by_adamw, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
}

// Begun on one kind of processor, ended on another.
static void test_other_processor(void **state) {
    (void)state;
    lm_error e = {0};
    watch w = {.stop_after = 6};
    assert_int_equal(watched_train(&e, &run, "kinds", by_muon, LM_BF16, false, &w), LM_CANCELLED);
    lm_error_clear(&e);
    w = (watch){0};
    assert_int_equal(setenv("LUMIERE_CPU", "avx2", 1), 0);
    lm_status s = watched_train(&e, &run, "kinds", by_muon, LM_BF16, true, &w);
    assert_int_equal(unsetenv("LUMIERE_CPU"), 0);
    if (s != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(w.last, TINY_STEPS);
    lm_safetensors *a = tiny_tensors(&run, "kinds", "checkpoint.safetensors"),
                   *b = tiny_tensors(&run, "muon-bf16", "checkpoint.safetensors");
    int64_t n;
    float *x = floats_of(a, lm_safetensors_find(a, "weights/down.1.attn.0.qkv.weight"), &n),
          *y = floats_of(b, lm_safetensors_find(b, "weights/down.1.attn.0.qkv.weight"), &n);
    double apart = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        apart += pow((double)x[i] - (double)y[i], 2);
        all += pow((double)y[i], 2);
    }
    print_message("%.1e apart\n", sqrt(apart / all));
    assert_true(sqrt(apart / all) < 0.05);
    lm_free(x);
    lm_free(y);
    lm_safetensors_free(&a);
    lm_safetensors_free(&b);
}

static char said[8000];

static void on_line(void *user, const char *line) {
    (void)user;
    strncat(said, line, sizeof said - strlen(said) - 2);
    strcat(said, "\n");
}

static void test_dry_run(void **state) {
    (void)state;
    lm_error e = {0};
    char *out = lm_format("out=%s/dry", run.folder), *folder = tiny_path(&run, "dry");
    const char *const set[] = {out, "optimizer=muon", "groups=[conditions adamw 0.002]", NULL};
    const lm_trainer_options o = {.precision = LM_F32, .log = on_line, .dry_run = true};
    if (tiny_run_train(&e, &run, set, &o) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(access(folder, F_OK), -1);
    static const char *const lines[] = {"group convolutions",
                                        "by Muon at 0.02 (3x3 convolutions)",
                                        "group conditions",
                                        "by AdamW at 0.002 (matrices of time",
                                        "steps: 12 of 2 clips",
                                        "memory: ",
                                        "work: ",
                                        "for the 12 steps left"};
    for (int i = 0; i < 8; i++)
        if (!strstr(said, lines[i])) fail_msg("\"%s\" is missing in:\n%s", lines[i], said);
    lm_free(out);
    lm_free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume),          cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_other_optimiser), cmocka_unit_test(test_other_processor),
        cmocka_unit_test(test_dry_run),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
