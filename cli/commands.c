#include "commands.h"

#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int exit_code(lumiere_status status) {
    return status == LUMIERE_CANCELLED ? 130 : -(int)status;
}

int report_failure(const lumiere_context *c, lumiere_status status) {
    const char *message = lumiere_error_message(c); // "" when what failed is the command's own
    if (!*message) message = status == LUMIERE_MEMORY ? "no memory" : "failed for an unknown reason";
    return complain(exit_code(status), "%s", message);
}

int report_request(const lumiere_request *r, lumiere_status status) {
    return complain(exit_code(status), "%s", lumiere_request_error(r));
}

static void print_log_line(void *user, lumiere_log_level level, const char *line) {
    (void)user;
    fprintf(stderr, "lumiere: %s%s\n", level == LUMIERE_LOG_DETAILS ? "  " : "", line);
}

// LUMIERE_DEBUG: 1 for steps, 2 for details.
static void follow_debug(lumiere_context *c) {
    const char *debug = getenv("LUMIERE_DEBUG");
    if (!debug || !*debug || !strcmp(debug, "0")) return;
    lumiere_context_log(c, strcmp(debug, "2") ? LUMIERE_LOG_STEPS : LUMIERE_LOG_DETAILS, print_log_line, NULL);
}

lumiere_context *open_context(const machine_settings *s, int *code) {
    const lumiere_context_options options = {
        .device = s->device, .precision = s->precision, .threads = s->threads > 0 ? s->threads : 0};
    lumiere_context *c;
    lumiere_status status = lumiere_context_create(&options, &c);
    int used = status == LUMIERE_OK ? lumiere_threads(c) : 0;
    if (used && s->threads > used && !s->quiet)
        complain(0, "%d threads asked for; %d are used, one for each processor that this process may use", s->threads,
                 used);
    if (used) {
        follow_debug(c);
        return c;
    }
    *code = report_failure(c, status);
    lumiere_context_free(&c);
    return NULL;
}

const char *find_model(const char *given, char *path, size_t size) {
    static const char *const places[] = {"../models/emoji", "../share/lumiere/models/emoji", "../../models/emoji"};
    if (given) return given;
    const char *named = getenv("LUMIERE_MODEL");
    if (named && *named) return named;
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0) return NULL;
    program[n] = 0;
    char *slash = strrchr(program, '/');
    if (!slash) return NULL;
    *slash = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char file[PATH_MAX + 64];
        snprintf(file, sizeof file, "%s/%s/model.json", program, places[i]);
        if ((size_t)snprintf(path, size, "%s/%s", program, places[i]) < size && !access(file, R_OK)) return path;
    }
    return NULL;
}

void append_word(char *line, size_t size, const char *word) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%^";
    size_t at = strlen(line);
    bool quoted = !*word || word[strspn(word, plain)];
    if (at + 8 >= size) return;
    at += (size_t)snprintf(line + at, size - at, quoted ? " '" : " ");
    for (; *word && at + 8 < size; word++)
        at += (size_t)snprintf(line + at, size - at, *word == '\'' ? "'\\''" : "%c", *word);
    if (quoted) snprintf(line + at, size - at, "'");
}

static volatile sig_atomic_t stop_requested, pipe_closed;
static _Atomic(lumiere_request *) running;

static void on_signal(int number) {
    if (number == SIGPIPE) pipe_closed = 1;
    stop_requested = 1;
    lumiere_request *r = atomic_load(&running);
    if (r) lumiere_request_cancel(r);
}

lumiere_status run_request(lumiere_request *r, lumiere_model *m, lumiere_clip **out) {
    atomic_store(&running, r);
    if (stop_requested) lumiere_request_cancel(r); // a signal came before
    lumiere_status status = lumiere_request_run(r, m, out);
    atomic_store(&running, NULL);
    return status;
}

// Where the parent chose that a signal is ignored (nohup), it stays so.
static void watch_unless_ignored(int number) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, old;
    sigemptyset(&action.sa_mask);
    if (!sigaction(number, NULL, &old) && old.sa_handler != SIG_IGN) sigaction(number, &action, NULL);
}

// A closing terminal sends SIGHUP, and its shell once more; each further line written to a closed pipe sends SIGPIPE:
// neither may end the program the second time.
void watch_interrupts(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    watch_unless_ignored(SIGHUP);
    watch_unless_ignored(SIGPIPE);
}

bool interrupted(void) {
    return stop_requested;
}

bool reader_is_gone(void) {
    return pipe_closed;
}

static bool plain_terminal(void) {
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return (no_color && *no_color) || !term || !strcmp(term, "dumb");
}

progress_mode progress_choose(const char *name, bool quiet) {
    if (!name || !strcmp(name, "auto")) return !quiet && isatty(STDERR_FILENO) ? PROGRESS_BAR : PROGRESS_NONE;
    return !strcmp(name, "bar") ? PROGRESS_BAR : !strcmp(name, "json") ? PROGRESS_JSON : PROGRESS_NONE;
}

void print_duration(char *out, size_t size, double seconds) {
    if (seconds < 10)
        snprintf(out, size, "%.1f s", seconds);
    else if (seconds < 90)
        snprintf(out, size, "%.0f s", seconds);
    else if (seconds < 5400)
        snprintf(out, size, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
    else
        snprintf(out, size, "%.0f h %02d min", (double)((int64_t)seconds / 3600), (int)((int64_t)seconds / 60 % 60));
}

static void show_bar(const char *label, int64_t step, int64_t steps, double seconds_left, const char *text) {
    enum { WIDTH = 24 };
    int full = steps > 0 ? (int)(WIDTH * step / steps) : 0;
    bool color = isatty(STDERR_FILENO) && !plain_terminal();
    char bar[WIDTH + 1], left[40] = "";
    memset(bar, '.', WIDTH);
    memset(bar, '#', (size_t)full);
    bar[WIDTH] = 0;
    if (seconds_left >= 0) print_duration(left, sizeof left, seconds_left);
    fprintf(stderr, "\r%s %s[%s]%s %lld/%lld %s%s%s%s\x1b[K", label, color ? "\x1b[36m" : "", bar,
            color ? "\x1b[0m" : "", (long long)step, (long long)steps, *text ? text : "", *text ? ", " : "",
            *left ? left : "", *left ? " left" : "");
    fflush(stderr);
}

void progress_show(progress_mode mode, const char *label, int64_t step, int64_t steps, double seconds_left,
                   const char *text) {
    if (mode == PROGRESS_BAR) show_bar(label, step, steps, seconds_left, text);
    if (mode == PROGRESS_JSON)
        fprintf(stderr, "{\"event\":\"step\",\"step\":%lld,\"steps\":%lld,\"seconds_left\":%.3f}\n", (long long)step,
                (long long)steps, seconds_left);
}

void progress_end(progress_mode mode) {
    if (mode == PROGRESS_BAR) fputs("\r\x1b[K", stderr);
}
