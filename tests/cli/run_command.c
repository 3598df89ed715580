#include "cli/run_command.h"

#include <fcntl.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

extern char **environ;

bool read_text(const char *path, char *out, size_t size) {
    FILE *f = fopen(path, "r");
    if (!f) return false;
    size_t n = fread(out, 1, size - 1, f);
    out[n] = 0;
    fclose(f);
    return true;
}

bool same_bytes(const char *path, const char *other) {
    FILE *a = fopen(path, "r"), *b = fopen(other, "r");
    bool same = a && b;
    for (int x, y; same;) {
        x = getc(a), y = getc(b);
        same = x == y;
        if (x == EOF) break;
    }
    if (a) fclose(a);
    if (b) fclose(b);
    return same;
}

pid_t start_command(const char *folder, const char *const *arguments) {
    char out[512], err[512];
    const char *argv[40] = {LM_BINARY_DIR "/lumiere"};
    for (int i = 0; arguments[i]; i++) {
        assert_true(i < 38);
        argv[i + 1] = arguments[i];
    }
    snprintf(out, sizeof out, "%s/stdout", folder);
    snprintf(err, sizeof err, "%s/stderr", folder);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_addopen(&actions, 2, err, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_addchdir_np(&actions, folder);
    pid_t child;
    int failed = posix_spawn(&child, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) fail_msg("%s could not be started: %s", argv[0], strerror(failed));
    return child;
}

void finish_command(command_result *r, const char *folder, pid_t child) {
    int status;
    char path[512];
    assert_int_equal(waitpid(child, &status, 0), child);
    r->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    snprintf(path, sizeof path, "%s/stdout", folder);
    assert_true(read_text(path, r->out, sizeof r->out));
    unlink(path);
    snprintf(path, sizeof path, "%s/stderr", folder);
    assert_true(read_text(path, r->err, sizeof r->err));
    unlink(path);
}

void run_command(command_result *r, const char *folder, const char *const *arguments) {
    finish_command(r, folder, start_command(folder, arguments));
}

void expect_refused(const command_result *r, int code, const char *what) {
    if (r->code != code) fail_msg("exit code %d, not %d: %s", r->code, code, r->err);
    if (strncmp(r->err, "lumiere: ", 9) || !strstr(r->err, what)) fail_msg("\"%s\" does not say \"%s\"", r->err, what);
    char *end = strchr(r->err, '\n');
    assert_non_null(end);
    assert_string_equal(end, "\n");
    assert_string_equal(r->out, "");
}

void expect_done(const command_result *r) {
    if (r->code) fail_msg("exit code %d: %s", r->code, r->err);
}
