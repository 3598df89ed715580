// The command among other processes: how many threads it takes, hangups, and a reader that goes away.
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static char *work, model[256];
static command_result r;

#define GENERATE(...)                                                                                                  \
    RUN(&r, work, "generate", "a bee", "--model", model, "-W", "16", "-H", "16", "-f", "1", __VA_ARGS__)

// "..., 2 threads, oneDNN 2.6.3)" in the line that announces a run.
static int threads_said(void) {
    const char *end = strstr(r.err, " thread"), *at = end;
    for (const char *p = end; p && (p = strstr(p + 1, " threads, ")) != NULL;) end = at = p;
    assert_non_null(at);
    while (at > r.err && at[-1] >= '0' && at[-1] <= '9') at--;
    return atoi(at);
}

static void no_more_threads_than_processors(void **state) {
    (void)state;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    static const char *const all[] = {"0", "-1", "1"};
    for (int i = 0; i < 3; i++) {
        GENERATE("-o", "x.png", "-t", all[i]);
        expect_done(&r);
        assert_null(strstr(r.err, "asked for"));
        assert_in_range(threads_said(), 1, i == 2 ? 1 : processors);
    }
    if (processors >= 4096) skip();
    GENERATE("-o", "x.png", "-t", "4096");
    expect_done(&r);
    assert_non_null(strstr(r.err, "lumiere: 4096 threads asked for; "));
    assert_in_range(threads_said(), 1, processors);
    GENERATE("-o", "x.png", "-t", "4096", "-q");
    expect_done(&r);
    assert_string_equal(r.err, "");
    static const char *const wrong[] = {"-2", "4097", "1.5", "many", ""};
    for (int i = 0; i < 5; i++) {
        GENERATE("-o", "x.png", "-t", wrong[i]);
        expect_refused(&r, 2, "--threads is \"");
    }
}

static int files_in_work(void) {
    int n = 0;
    DIR *d = opendir(work);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));) n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(d);
    return n;
}

static int steps_said(void) {
    char path[512];
    snprintf(path, sizeof path, "%s/stderr", work);
    static char text[1 << 16];
    int n = 0;
    if (!read_text(path, text, sizeof text)) return 0;
    for (const char *p = text; (p = strstr(p, "\"step\":")); p++) n++;
    return n;
}

static void wait_for_steps(int n) {
    for (int i = 0; i < 60000 && steps_said() < n; i++) usleep(1000);
    assert_true(steps_said() >= n);
}

static pid_t start_long(void) {
    return start_command(work, (const char *const[]){"generate", "a bee", "--model", model, "-o", "stopped.mp4",
                                                     "--steps", "1000", "-W", "32", "-H", "32", "-f", "16", "-t", "1",
                                                     "--progress", "json", NULL});
}

static void hangup_stops_as_sigterm_does(void **state) {
    (void)state;
    int before = files_in_work();
    pid_t child = start_long();
    wait_for_steps(1);
    kill(child, SIGHUP);
    kill(child, SIGHUP);
    finish_command(&r, work, child);
    assert_int_equal(r.code, 130);
    assert_non_null(strstr(r.err, "lumiere: stopped "));
    assert_int_equal(files_in_work(), before);
}

static void ignored_hangup_stays_ignored(void **state) {
    (void)state;
    signal(SIGHUP, SIG_IGN);
    pid_t child = start_long();
    signal(SIGHUP, SIG_DFL);
    wait_for_steps(1);
    kill(child, SIGHUP);
    wait_for_steps(steps_said() + 3);
    kill(child, SIGTERM);
    finish_command(&r, work, child);
    assert_int_equal(r.code, 130);
}

// Its exit code, or 128 + the signal that ended it, when nobody reads what it writes to fd. The other of stdout and
// stderr goes to a file.
static int with_closed_pipe(int fd, const char *const *argv) {
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int other = open("/dev/null", O_WRONLY);
        if (chdir(work) || dup2(other, 3 - fd) < 0 || dup2(ends[1], fd) < 0) _exit(126);
        close(ends[0]);
        close(ends[1]);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// What was written is whole, and nothing half-made is left.
static void closed_pipe_ends_with_141(void **state) {
    (void)state;
    static const char program[] = LM_BINARY_DIR "/lumiere";
    const char *const printing[] = {program, "help", NULL};
    assert_int_equal(with_closed_pipe(1, printing), 141);
    const char *const batch[] = {program, "generate", "a bee", "--model", model, "-W", "16",    "-H",     "16", "-f",
                                 "1",     "-t",       "1",     "-b",      "3",   "-o", "p.npy", "--json", "-q", NULL};
    int before = files_in_work();
    assert_int_equal(with_closed_pipe(1, batch), 141);
    assert_int_equal(files_in_work(), before + 2); // p-0.npy and its recipe; nobody knows of more
    RUN(&r, work, "measure", "p-0.npy", "--no-flow");
    expect_done(&r);
    const char *const one[] = {program, "generate", "a bee", "--model", model, "-W", "16",    "-H",
                               "16",    "-f",       "1",     "-t",      "1",   "-o", "q.npy", NULL};
    before = files_in_work();
    assert_int_equal(with_closed_pipe(2, one), 141);
    assert_int_equal(files_in_work(), before);
}

static int make(void **state) {
    (void)state;
    work = temporary_make();
    snprintf(model, sizeof model, "%s/model", work);
    tiny_model_make(model);
    return 0;
}

static int clean(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_more_threads_than_processors),
        cmocka_unit_test(hangup_stops_as_sigterm_does),
        cmocka_unit_test(ignored_hangup_stays_ignored),
        cmocka_unit_test(closed_pipe_ends_with_141),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
