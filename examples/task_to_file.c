// A task on a picture or clip through the C interface:
// task_to_file animate|inpaint|outpaint|cinemagraph|edit INPUT PROMPT FILE [MODEL]
// inpaint and cinemagraph make the middle of the picture anew, outpaint a quarter more on each side.
#include <lumiere/lumiere.h>

#include <stdio.h>
#include <string.h>

static bool show(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    (void)user;
    fprintf(stderr, "\rstep %d of %d, %.0f s left%s ", step, steps, seconds_left, preview ? ", a preview" : "");
    return true; // false would stop
}

static lumiere_task task_by_name(const char *name) {
    int t = LUMIERE_EDIT;
    while (t > LUMIERE_TEXT_TO_VIDEO && strcmp(lumiere_task_name((lumiere_task)t), name)) t--;
    return (lumiere_task)t;
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: %s TASK INPUT PROMPT FILE [MODEL]\n", argv[0]), 2;
    const uint8_t white[3] = {255, 255, 255};
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_clip *input = NULL, *clip = NULL;
    lumiere_estimate e;
    lumiere_task_options o = {.task = task_by_name(argv[1])};
    o.generate = (lumiere_generate_options){.prompt = argv[3], .seed = 1, .preview_every = 5, .progress = show};

    lumiere_status s = lumiere_context_create(NULL, &c);
    if (s == LUMIERE_OK) s = lumiere_model_open(c, argc > 5 ? argv[5] : "models/emoji", &m);
    if (s == LUMIERE_OK) s = lumiere_clip_read_over(c, argv[2], white, 10, &input);
    if (s == LUMIERE_OK) {
        int width = lumiere_clip_width(input), height = lumiere_clip_height(input);
        lumiere_box middle = {width / 4, height / 4, width / 2, height / 2};
        o.input = input;
        if (o.task == LUMIERE_INPAINT || o.task == LUMIERE_CINEMAGRAPH) o.box = &middle;
        if (o.task == LUMIERE_OUTPAINT) o.pad = (lumiere_sides){width / 4, height / 4, width / 4, height / 4};
        s = lumiere_task_estimate(c, m, &o, &e);
        if (s == LUMIERE_OK) fprintf(stderr, "input: %s\nabout %.0f s\n", e.fit, e.seconds);
        if (s == LUMIERE_OK) s = lumiere_task_run(c, m, &o, &clip);
    }
    if (s == LUMIERE_OK) s = lumiere_clip_write(c, clip, argv[4], NULL);
    fprintf(stderr, "\n%s", s == LUMIERE_OK ? "" : lumiere_error_message(c));

    lumiere_clip_free(&clip);
    lumiere_clip_free(&input);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return -s;
}
