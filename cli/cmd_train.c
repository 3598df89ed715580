// lumiere train: a run file to weights.
#include "commands.h"

#include <stdio.h>

typedef struct settings {
    machine_settings machine;
    text_list set;
    const char *progress;
    bool resume, dry_run;
} settings;

#define AT(member) offsetof(settings, member)
static const option_row rows[] = {
    {"set", 0, OPTION_LIST, AT(set), "KEY=VALUE", "change a setting of the run file; may be given several times", 0, 0,
     0},
    {"resume", 'r', OPTION_FLAG, AT(resume), NULL, "go on from the run's checkpoint", 0, 0, 0},
    {"dry-run", 'n', OPTION_FLAG, AT(dry_run), NULL,
     "say what would be trained, by what, with which memory and work a step; write nothing", 0, 0, 0},
    OPTION_THREADS,
    OPTION_PRECISION,
    OPTION_DEVICE,
    {"progress", 0, OPTION_CHOICE, AT(progress), PROGRESS_CHOICES, "on stderr; auto: a bar on a terminal (default)", 0,
     0, 0},
    {.name = NULL},
};

static void on_line(void *user, const char *line) {
    progress_end(*(progress_mode *)user);
    say(stderr, "%s", line);
}

static void on_dry_line(void *user, const char *line) {
    (void)user;
    printf("%s\n", line);
}

static bool on_step(void *user, int64_t step, int64_t steps, double loss, double seconds_left) {
    char text[40];
    snprintf(text, sizeof text, "loss %.4f", loss);
    progress_show(*(progress_mode *)user, "step", step, steps, seconds_left, text);
    return !interrupted();
}

static int run(const command *c, int argc, char **argv) {
    settings s = {0};
    const char *run_file;
    int code = options_parse(c, argc, argv, &s, &run_file);
    if (code != GO_ON) return code;
    if (!run_file) return complain(2, "train: no run file; see docs/training.md");
    progress_mode progress = progress_choose(s.progress, false);
    lumiere_context *context = open_context(&s.machine, &code);
    if (!context) return code;
    watch_interrupts();
    const lumiere_train_options o = {
        .run = run_file,
        .set = s.set.items,
        .set_count = s.set.count,
        .resume = s.resume,
        .log = s.dry_run ? on_dry_line : on_line,
        .dry_run = s.dry_run,
        .progress = on_step,
        .user = &progress,
    };
    lumiere_status status = lumiere_train(context, &o);
    progress_end(progress);
    code = status == LUMIERE_OK ? 0 : report_failure(context, status);
    lumiere_context_free(&context);
    return code;
}

const command command_train = {
    "train",
    "RUN.yaml",
    "Trains a model as a run file says.",
    "Ctrl-C, SIGTERM or SIGHUP (a terminal that closes) writes a checkpoint and stops; --resume goes on from it. See "
    "docs/training.md.",
    rows,
    1,
    run,
};
