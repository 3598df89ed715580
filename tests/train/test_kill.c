// kill -9 at random moments of training, then resuming: the same bytes as without. Called again as "test_kill train
// FOLDER OUT", it is the process that trains. LUMIERE_TEST_ALL=1: 140 kills.
#include "base/memory.h"
#include "base/random.h"
#include "tiny_run.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static tiny_run run;

static char *out_path(const char *out, const char *file) {
    char *path = lm_format("%s/%s/%s", run.folder, out, file);
    assert_non_null(path);
    return path;
}

static bool has_checkpoint(const char *out) {
    char *path = out_path(out, "checkpoint.safetensors");
    bool is = !access(path, R_OK);
    lm_free(path);
    return is;
}

// out "video...": that stage, from the image run; "muon...": the image stage by Muon.
static lm_status train(lm_error *e, const char *out) {
    char *target = lm_format("out=%s/%s", run.folder, out), *init = lm_format("init=%s/image", run.folder);
    const char *set[] = {target, "steps=60", "validate_every=20", "sample_every=30", NULL, NULL, NULL};
    if (!strncmp(out, "video", 5)) set[4] = "stage=video", set[5] = init;
    if (!strncmp(out, "muon", 4)) set[4] = "optimizer=muon";
    lm_trainer_options o = {.precision = LM_F32, .resume = has_checkpoint(out)};
    lm_status s = tiny_run_train(e, &run, set, &o);
    lm_free(target);
    lm_free(init);
    return s;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static pid_t start_child(const char *out) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "test_kill", "train", run.folder, out, (char *)NULL);
        _exit(127);
    }
    return child;
}

static double whole_run(const char *out) {
    int status;
    double start = now();
    pid_t child = start_child(out);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return now() - start;
}

// Starts a run, kills it after some of the time that a whole one takes, goes on with it to its end. Was it killed with
// a checkpoint?
static bool kill_once(const char *whole, const char *out, double seconds) {
    int status;
    pid_t child = start_child(out);
    usleep((useconds_t)(seconds * 1e6));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    bool killed = WIFSIGNALED(status) && has_checkpoint(out);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    lm_error e = {0};
    if (train(&e, out) != LM_OK) fail_msg("%s", e.text);
    tiny_run_expect_same(&run, whole, out);
    static const char *const files[] = {"checkpoint.safetensors",
                                        "checkpoint.safetensors.part",
                                        "model.safetensors",
                                        "model.safetensors.part",
                                        "metrics.csv",
                                        "metrics.csv.part"};
    for (int i = 0; i < 6; i++) {
        char *path = out_path(out, files[i]);
        unlink(path);
        lm_free(path);
    }
    return killed;
}

static void check_kills(const char *whole, const char *out, int times) {
    lm_stream random = {.seed = 8, .purpose = LM_FOR_TEST};
    double seconds = whole_run(whole);
    int landed = 0;
    for (int i = 0; i < times; i++) landed += kill_once(whole, out, seconds * lm_stream_uniform(&random));
    print_message("%s: %d kills, %d of them after a checkpoint\n", whole, times, landed);
}

static void test_kills(void **state) {
    (void)state;
    bool all = getenv("LUMIERE_TEST_ALL") != NULL;
    check_kills("image", "image-killed", all ? 80 : 4);
    check_kills("video", "video-killed", all ? 20 : 1);
    check_kills("muon", "muon-killed", all ? 40 : 2);
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "train") && strlen(argv[2]) < sizeof run.folder) {
        strcpy(run.folder, argv[2]);
        lm_error e = {0};
        if (train(&e, argv[3]) == LM_OK) return 0;
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    tiny_run_make(&run);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kills)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_run_remove(&run);
    return failed;
}
