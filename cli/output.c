#include "output.h"

#include <jansson.h>
#include <stdio.h>
#include <time.h>

#define AT(member) offsetof(output_settings, member)
const option_row output_file_rows[] = {
    {"output", 'o', OPTION_TEXT, AT(file), "FILE",
     ".mp4 .webm .gif .apng .webp .npy, .png for one frame, or FOLDER/ (default: out.mp4)", 0, 0, 0},
    {.name = NULL},
};

const option_row output_rows[] = {
    OPTION_SETTINGS("preview_every"),
    OPTION_THREADS,
    OPTION_PRECISION,
    OPTION_DEVICE,
    {"preview", 0, OPTION_TEXT, AT(preview), "FILE", "write the clip as predicted so far to FILE, again and again", 0,
     0, 0},
    OPTION_SETTINGS(NULL),
    {"progress", 0, OPTION_CHOICE, AT(progress), PROGRESS_CHOICES, "on stderr; auto: a bar on a terminal (default)", 0,
     0, 0},
    {"json", 0, OPTION_FLAG, AT(json), NULL, "print a line of JSON for every clip on stdout", 0, 0, 0},
    {"quiet", 'q', OPTION_FLAG, AT(quiet), NULL, "no messages but errors", 0, 0, 0},
    {.name = NULL},
};

int output_choose_previews(const output_settings *s, lumiere_request *r, const char *usual) {
    lumiere_status status = LUMIERE_OK;
    if (!s->preview)
        status = lumiere_request_unset(r, "preview_every");
    else if (!lumiere_request_has(r, "preview_every"))
        status = lumiere_request_set(r, "preview_every", usual);
    return status == LUMIERE_OK ? GO_ON : report_request(r, status);
}

bool output_step(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    output_job *j = user;
    if (preview && !j->preview_failed && lumiere_clip_write(j->c, preview, j->s->preview, NULL) != LUMIERE_OK) {
        j->preview_failed = true;
        complain(0, "no preview: %s", lumiere_error_message(j->c));
    }
    progress_show(j->progress, j->unit, step, steps, seconds_left, "");
    return !interrupted();
}

bool output_keep_base(void *user, const lumiere_clip *clip) {
    output_job *j = user;
    base_clip_write(&j->base, j->c, clip);
    return true;
}

void output_announce(const output_job *j, const lumiere_model *m, const lumiere_estimate *e, const char *way,
                     double seconds) {
    char time[40];
    if (*e->lost_words) complain(0, "only the beginning of the prompt counts; this is lost: %s", e->lost_words);
    if (j->s->quiet) return;
    print_duration(time, sizeof time, seconds);
    if (*e->fit) say(stderr, "input: %s", e->fit);
    say(stderr, "%s: %d frame%s %s %dx%d, %d step%s, seed %s; about %s and %.0f MB (%s, %s)", lumiere_model_name(m),
        e->frames, e->frames == 1 ? "" : "s", way, e->width, e->height, e->steps, e->steps == 1 ? "" : "s",
        lumiere_request_get(j->r, "seed"), time, (double)e->bytes / 1e6, lumiere_precision(j->c),
        lumiere_device_summary(j->c));
}

double output_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_json(const char *file, double seconds, const char *recipe) {
    json_t *line = json_pack("{s:o, s:f, s:o?}", "output", json_of_text(file), "seconds", seconds, "recipe",
                             json_loads(recipe, 0, NULL));
    say_json(line, 15);
    fflush(stdout);
    json_decref(line);
}

lumiere_status output_write(const output_job *j, const lumiere_clip *clip, const char *file, const char *recipe,
                            double started) {
    lumiere_status status = lumiere_clip_write(j->c, clip, file, recipe);
    if (status != LUMIERE_OK) return status;
    double took = output_clock() - started;
    if (j->s->json) print_json(file, took, recipe);
    if (j->s->quiet) return status;
    char time[40];
    print_duration(time, sizeof time, took);
    say(stderr, "wrote %s in %s", file, time);
    return status;
}
