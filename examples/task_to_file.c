// A task on a picture or clip through the C interface:
// task_to_file animate|inpaint|outpaint|cinemagraph|edit INPUT PROMPT FILE [MODEL]
// inpaint and cinemagraph make the middle of the picture anew, outpaint a quarter more on each side.
#include <lumiere/lumiere.h>

#include <stdio.h>

static bool show(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    (void)user;
    fprintf(stderr, "\rstep %d of %d, %.0f s left%s ", step, steps, seconds_left, preview ? ", a preview" : "");
    return true; // false would stop
}

// Sets what the task needs beside an input, where it takes it.
static lumiere_status set_place(lumiere_request *r, const lumiere_clip *input) {
    char box[80], pad[80];
    int w = lumiere_clip_width(input), h = lumiere_clip_height(input);
    snprintf(box, sizeof box, "%d,%d,%d,%d", w / 4, h / 4, (w + 1) / 2, (h + 1) / 2);
    snprintf(pad, sizeof pad, "%d,%d,%d,%d", w / 4, h / 4, w / 4, h / 4);
    const char *task = lumiere_request_task(r);
    if (lumiere_setting_find(task, "box")) return lumiere_request_set(r, "box", box);
    if (lumiere_setting_find(task, "pad")) return lumiere_request_set(r, "pad", pad);
    return LUMIERE_OK;
}

static lumiere_status make(lumiere_request *r, lumiere_model *m, char **argv, lumiere_clip **clip) {
    lumiere_estimate e;
    lumiere_status s = lumiere_request_set_json(r, "{\"seed\":1,\"preview_every\":5}");
    if (s == LUMIERE_OK) s = lumiere_request_set(r, "prompt", argv[3]);
    if (s == LUMIERE_OK) s = lumiere_request_read_clip(r, m, "input", argv[2]);
    if (s == LUMIERE_OK) s = set_place(r, lumiere_request_clip(r, "input"));
    lumiere_request_on_progress(r, show, NULL);
    if (s == LUMIERE_OK) s = lumiere_request_estimate(r, m, &e);
    if (s == LUMIERE_OK) fprintf(stderr, "input: %s\nabout %.0f s\n", e.fit, e.seconds);
    if (s == LUMIERE_OK) s = lumiere_request_run(r, m, clip);
    return s;
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: %s TASK INPUT PROMPT FILE [MODEL]\n", argv[0]), 2;
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_request *r = NULL;
    lumiere_clip *clip = NULL;

    lumiere_status s = lumiere_context_create(NULL, &c);
    if (s == LUMIERE_OK) s = lumiere_model_open(c, argc > 5 ? argv[5] : "models/emoji", &m);
    if (s == LUMIERE_OK) s = lumiere_request_create(argv[1], &r);
    if (s == LUMIERE_OK) s = make(r, m, argv, &clip);
    if (r) fprintf(stderr, "\n%s", lumiere_request_error(r));
    if (s == LUMIERE_OK) s = lumiere_clip_write(c, clip, argv[4], NULL);
    fprintf(stderr, "%s", lumiere_error_message(c));

    lumiere_clip_free(&clip);
    lumiere_request_free(&r);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return -s;
}
