// The folder of a run: one training at a time, nothing left behind by one that is refused, and a disk that is full.
#include "base/files.h"
#include "base/memory.h"
#include "watched_run.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
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

static bool exists(const char *name) {
    char *path = tiny_path(&run, name);
    bool is = !access(path, F_OK);
    lm_free(path);
    return is;
}

static void put(const char *name, const char *text) {
    char *path = tiny_path(&run, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    lm_free(path);
}

// While a run goes on, another into its folder, by whatever name and with --resume too, is refused.
static bool start_another(void *user, int64_t step, int64_t steps, double loss, double seconds_left) {
    (void)steps, (void)loss, (void)seconds_left;
    *(int64_t *)user = step;
    if (step != 4) return step < 5;
    char holder[40];
    snprintf(holder, sizeof holder, "process %ld on ", (long)getpid());
    static const char *const names[] = {"busy", "busy/", "./other/../busy", "link"};
    for (int i = 0; i < 4; i++) {
        watched_refuse(&run, names[i], NULL, i % 2, LM_MEDIA, "is in use by another training");
        watched_refuse(&run, names[i], NULL, i % 2, LM_MEDIA, holder);
    }
    return true;
}

static void test_one_at_a_time(void **state) {
    (void)state;
    lm_error e = {0};
    int64_t last = 0;
    char *out = lm_format("out=%s/busy", run.folder), *link = tiny_path(&run, "link"), *busy = tiny_path(&run, "busy");
    const lm_trainer_options o = {.precision = LM_F32, .progress = start_another, .user = &last};
    char *other = tiny_path(&run, "other");
    assert_int_equal(mkdir(busy, 0777), 0);
    assert_int_equal(mkdir(other, 0777), 0);
    assert_int_equal(symlink(busy, link), 0);
    put("busy/train.lock", "process 1 on a machine that was switched off\n"); // what a killed run left
    assert_int_equal(tiny_run_train(&e, &run, (const char *[]){out, NULL}, &o), LM_CANCELLED);
    assert_int_equal(last, 5);
    assert_false(exists("busy/train.lock"));
    watch w = {0};
    lm_error_clear(&e);
    if (watched_train(&e, &run, "busy", NULL, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(w.last, TINY_STEPS);
    watch whole;
    watched_train_whole(&run, "undisturbed", NULL, LM_F32, &whole);
    tiny_run_expect_same(&run, "undisturbed", "busy");
    lm_free(out);
    lm_free(link);
    lm_free(busy);
    lm_free(other);
}

// Whatever a training is refused for, the folders that it made are gone again, and those that were there stay.
static void test_nothing_left(void **state) {
    (void)state;
    char *nowhere = lm_format("init=%s/nowhere", run.folder), *no_data = lm_format("data=%s/text", run.folder),
         *left_out = lm_format("data=%s/left-out", run.folder), *no_text = lm_format("text=%s/data", run.folder),
         *folder = tiny_path(&run, "there"), *data = tiny_path(&run, "left-out"),
         *from = tiny_path(&run, "data/1f30c.png"), *to = tiny_path(&run, "left-out/1f30c.png");
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(mkdir(data, 0777), 0);
    assert_int_equal(link(from, to), 0); // a subject that is always left out for validation
    put("left-out/1f30c.txt", "a rocket");
    const struct {
        const char *setting;
        lm_status status;
        const char *says;
    } cases[] = {{nowhere, LM_MODEL, "nowhere/config.json"},
                 {no_data, LM_MEDIA, ""},
                 {left_out, LM_MEDIA, "nothing to train on"},
                 {no_text, LM_MODEL, "data/config.json"},
                 {"size=12", LM_USAGE, "size 12"},
                 {"batch=4096", LM_MEMORY, "MB"}};
    struct rlimit before, small = {0};
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    for (int i = 0; i < 6; i++)
        for (int there = 0; there < 2; there++) {
            bool memory = cases[i].status == LM_MEMORY;
#if defined(__SANITIZE_ADDRESS__)
            if (memory) continue; // its address space is vast
#endif
            small = (struct rlimit){(rlim_t)1 << 30, before.rlim_max};
            if (memory) assert_int_equal(setrlimit(RLIMIT_AS, &small), 0);
            watched_refuse(&run, there ? "there/a//b/./c/" : "new/../new/x",
                           (const char *[]){cases[i].setting, memory ? "size=16" : NULL, NULL}, false, cases[i].status,
                           cases[i].says);
            if (memory) assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
            assert_false(exists("new"));
            assert_false(exists("there/a"));
            assert_true(exists("there"));
        }
    watched_refuse(&run, "new", NULL, true, LM_MODEL, "start the run without --resume");
    assert_false(exists("new"));
    lm_free(nowhere), lm_free(no_data), lm_free(left_out), lm_free(no_text);
    lm_free(folder), lm_free(data), lm_free(from), lm_free(to);
}

// out may not be where the run reads from: its files would be replaced.
static void test_out_is_an_input(void **state) {
    (void)state;
    watch w;
    watched_train_whole(&run, "image", NULL, LM_F32, &w);
    char *checkpoint = tiny_path(&run, "image/checkpoint.safetensors"), *init = lm_format("init=%s/image", run.folder);
    assert_int_equal(unlink(checkpoint), 0);
    watched_refuse(&run, "./image/", (const char *[]){init, NULL}, false, LM_USAGE, "out is the folder of init");
    watched_refuse(&run, "text", NULL, false, LM_USAGE, "out is the folder of text");
    assert_false(exists("text/train.lock"));
    lm_free(checkpoint);
    lm_free(init);
}

static bool fill_disk(void *user, int64_t step, int64_t steps, double loss, double seconds_left) {
    (void)steps, (void)loss, (void)seconds_left;
    const struct rlimit *small = user;
    if (step == 5) assert_int_equal(setrlimit(RLIMIT_FSIZE, small), 0);
    return true;
}

// A disk that fills up after the checkpoint of step 3, as far as a process can be made to see one: that checkpoint
// stays, no part of another does, and the run goes on from it once there is room.
static void test_full_disk(void **state) {
    (void)state;
    lm_error e = {0};
    struct rlimit before, small = {4096, 0};
    char *out = lm_format("out=%s/full", run.folder);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    const lm_trainer_options o = {.precision = LM_F32, .progress = fill_disk, .user = &small};
    assert_int_equal(tiny_run_train(&e, &run, (const char *[]){out, "sample_every=0", NULL}, &o), LM_MEDIA);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    if (!strstr(e.text, "full/checkpoint.safetensors")) fail_msg("%s", e.text);
    static const char *const gone[] = {"full/checkpoint.safetensors.part", "full/model.safetensors.part",
                                       "full/train.lock"};
    for (int i = 0; i < 3; i++) assert_false(exists(gone[i]));
    lm_safetensors *f = tiny_tensors(&run, "full", "checkpoint.safetensors");
    assert_string_equal(lm_safetensors_metadata(f, "step"), "3");
    lm_safetensors_free(&f);
    watch w = {0};
    lm_error_clear(&e);
    if (watched_train(&e, &run, "full", NULL, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
    tiny_run_expect_same(&run, "undisturbed", "full");
    lm_free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_nothing_left),
        cmocka_unit_test(test_out_is_an_input),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
