// lumiere doctor: is everything in order here?
#include "commands.h"

#include <limits.h>
#include <stdio.h>

typedef struct settings {
    machine_settings machine;
    const char *model;
} settings;

static const option_row rows[] = {
    {"model", 'm', OPTION_TEXT, offsetof(settings, model), "FOLDER",
     "model folder to check (default: LUMIERE_MODEL, or the one that came along)", 0, 0, 0},
    OPTION_THREADS,
    OPTION_PRECISION,
    OPTION_DEVICE,
    {.name = NULL},
};

static void on_check(void *user, bool ok, const char *text) {
    (void)user;
    say(stdout, "%s  %s", ok ? "ok  " : "FAIL", text);
    fflush(stdout);
}

static int run(const command *c, int argc, char **argv) {
    settings s = {0};
    char path[PATH_MAX];
    int code = options_parse(c, argc, argv, &s, NULL);
    if (code != GO_ON) return code;
    const char *model = find_model(s.model, path, sizeof path);
    lumiere_context *context = open_context(&s.machine, &code);
    if (!context) return code;
    lumiere_status status = lumiere_doctor(context, model, on_check, NULL);
    code = status == LUMIERE_OK ? 0 : report_failure(context, status);
    if (!model) on_check(NULL, true, "no model folder to check; name one with --model");
    lumiere_context_free(&context);
    return code;
}

const command command_doctor = {
    "doctor",
    "",
    "Checks the installation and a model.",
    "A line for every check; the exit code is 0 when all are well.",
    rows,
    0,
    run,
};
