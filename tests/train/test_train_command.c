// lumiere train as a process: signals, a pipe that closes, and another one in its folder.
#include "base/memory.h"
#include "store/safetensors.h"
#include "tiny_run.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static tiny_run run;
static char said[1 << 16]; // by the last process, on standard error

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

static void read_said(const char *out) {
    char *path = lm_format("%s/%s.log", run.folder, out);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(said, 1, sizeof said - 1, f) : 0;
    said[n] = 0;
    if (f) fclose(f);
    lm_free(path);
}

// A long training into folder OUT, its standard error to OUT.log or, when pipe is not -1, there.
static pid_t start(const char *out, const char *more, int pipe_end) {
    char *set[6] = {lm_format("data=%s/data", run.folder),
                    lm_format("text=%s/text", run.folder),
                    lm_format("config=%s/net.json", run.folder),
                    lm_format("out=%s/%s", run.folder, out),
                    lm_strdup("steps=1000000"),
                    lm_strdup("cooldown=0")};
    char *file = tiny_path(&run, "run.yaml"), *log = lm_format("%s/%s.log", run.folder, out);
    const char *argv[32] = {LM_BINARY_DIR "/lumiere",
                            "train",
                            file,
                            "-t",
                            "1",
                            "--progress",
                            "json",
                            "--set",
                            "checkpoint_steps=0",
                            "--set",
                            "sample_every=0",
                            "--set",
                            "validate_every=0"};
    int n = 13;
    for (int i = 0; i < 6; i++) argv[n++] = "--set", argv[n++] = set[i];
    if (more) argv[n++] = more;
    argv[n] = NULL;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // when a test has failed
        int fd = pipe_end >= 0 ? pipe_end : open(log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (dup2(fd, STDERR_FILENO) < 0) _exit(126);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    for (int i = 0; i < 6; i++) lm_free(set[i]);
    lm_free(file);
    lm_free(log);
    return child;
}

static int64_t steps_said(const char *out) {
    read_said(out);
    int64_t n = 0;
    for (const char *p = said; (p = strstr(p, "\"event\":\"step\"")); p++) n++;
    return n;
}

// Until it has taken more than `step` steps.
static void wait_for_step(const char *out, int64_t step) {
    for (int i = 0; i < 60000 && steps_said(out) <= step; i++) usleep(1000);
    if (steps_said(out) <= step) fail_msg("no step: %s", said);
}

// -SIGNAL for one that a signal ended. A process that doesn't end within a minute is ended.
static int exit_code_of(pid_t child) {
    int status;
    pid_t ended = 0;
    for (int i = 0; i < 6000 && ended == 0; i++) {
        ended = waitpid(child, &status, WNOHANG);
        if (ended == 0) usleep(10000);
    }
    if (ended == 0) {
        kill(child, SIGKILL);
        ended = waitpid(child, &status, 0);
    }
    assert_int_equal(ended, child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool saved(const char *out) {
    char *path = lm_format("%s/%s/checkpoint.safetensors", run.folder, out);
    bool is = !access(path, R_OK);
    lm_free(path);
    return is;
}

static void test_stopping_signals(void **state) {
    (void)state;
    static const int signals[] = {SIGHUP, SIGTERM, SIGINT};
    for (int i = 0; i < 3; i++) {
        char out[20];
        snprintf(out, sizeof out, "signal-%d", signals[i]);
        pid_t child = start(out, NULL, -1);
        wait_for_step(out, 0);
        kill(child, signals[i]);
        if (signals[i] == SIGHUP) kill(child, SIGHUP); // the terminal's and the shell's
        int code = exit_code_of(child);
        read_said(out);
        if (code != 130 || !strstr(said, "go on with --resume")) fail_msg("signal %d: %d, %s", signals[i], code, said);
        assert_true(saved(out));
    }
}

// As under nohup.
static void test_ignored_hangup(void **state) {
    (void)state;
    signal(SIGHUP, SIG_IGN);
    pid_t child = start("nohup", NULL, -1);
    signal(SIGHUP, SIG_DFL);
    wait_for_step("nohup", 0);
    kill(child, SIGHUP);
    wait_for_step("nohup", steps_said("nohup") + 5);
    kill(child, SIGTERM);
    assert_int_equal(exit_code_of(child), 130);
}

// Nobody reads its log any more: it saves, and ends as a program does that SIGPIPE ends.
static void test_closed_pipe(void **state) {
    (void)state;
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFD, FD_CLOEXEC), 0);
    pid_t child = start("pipe", NULL, ends[1]);
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(exit_code_of(child), 128 + SIGPIPE);
    assert_true(saved("pipe"));
}

static void test_second_process(void **state) {
    (void)state;
    pid_t first = start("both", NULL, -1);
    wait_for_step("both", 0);
    char *log = lm_format("%s/both.log", run.folder), *kept = lm_format("%s/first.log", run.folder), holder[60];
    assert_int_equal(rename(log, kept), 0);
    snprintf(holder, sizeof holder, "in use by another training (process %ld on ", (long)first);
    for (int resume = 0; resume < 2; resume++) {
        assert_int_equal(exit_code_of(start("both", resume ? "--resume" : NULL, -1)), 5);
        read_said("both");
        if (!strstr(said, holder)) fail_msg("\"%s\" does not say \"%s\"", said, holder);
        assert_ptr_equal(strchr(said, '\n') + 1, said + strlen(said));
    }
    kill(first, SIGKILL); // its lock ends with it
    assert_int_equal(exit_code_of(first), -SIGKILL);
    pid_t next = start("both", NULL, -1);
    wait_for_step("both", 0);
    kill(next, SIGTERM);
    assert_int_equal(exit_code_of(next), 130);
    lm_free(log);
    lm_free(kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stopping_signals),
        cmocka_unit_test(test_ignored_hangup),
        cmocka_unit_test(test_closed_pipe),
        cmocka_unit_test(test_second_process),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
