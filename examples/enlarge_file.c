// Super-resolution through the C interface: enlarge_file INPUT PROMPT FILE MODEL makes the input four times as wide and
// high.
#include <lumiere/lumiere.h>

#include <stdio.h>

static bool show(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    const char *file = user;
    fprintf(stderr, "\rwindow %d of %d, %.0f s left to %s%s ", step, steps, seconds_left, file,
            preview ? ", a preview" : "");
    return true; // false would stop
}

static lumiere_status enlarge(lumiere_request *r, lumiere_model *m, char **argv, lumiere_clip **clip, char **recipe) {
    lumiere_estimate e;
    lumiere_status s = lumiere_request_read_clip(r, m, "input", argv[1]);
    if (s == LUMIERE_OK) s = lumiere_request_set(r, "prompt", argv[2]);
    if (s == LUMIERE_OK) s = lumiere_request_set(r, "seed", "1");
    if (s == LUMIERE_OK) s = lumiere_request_set(r, "preview_every", "2");
    lumiere_request_on_progress(r, show, argv[3]);
    if (s == LUMIERE_OK) s = lumiere_request_estimate(r, m, &e);
    if (s == LUMIERE_OK)
        fprintf(stderr, "%dx%d: about %.0f s, %.0f MB\n", e.width, e.height, e.seconds, (double)e.bytes / 1e6);
    if (s == LUMIERE_OK) s = lumiere_request_describe(r, m, NULL, recipe);
    if (s == LUMIERE_OK) s = lumiere_request_run(r, m, clip);
    fprintf(stderr, "\n%s", lumiere_request_error(r));
    return s;
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: %s INPUT PROMPT FILE MODEL\n", argv[0]), 2;
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_request *r = NULL;
    lumiere_clip *clip = NULL;
    char *recipe = NULL;

    lumiere_status s = lumiere_context_create(NULL, &c);
    if (s == LUMIERE_OK) s = lumiere_model_open(c, argv[4], &m);
    if (s == LUMIERE_OK && !lumiere_model_upscales(m)) fprintf(stderr, "%s can't enlarge\n", lumiere_model_name(m));
    if (s == LUMIERE_OK) s = lumiere_request_create("upscale", &r);
    if (s == LUMIERE_OK) s = enlarge(r, m, argv, &clip, &recipe);
    if (s == LUMIERE_OK) s = lumiere_clip_write(c, clip, argv[3], recipe);
    fprintf(stderr, "%s", lumiere_error_message(c));

    lumiere_string_free(&recipe);
    lumiere_clip_free(&clip);
    lumiere_request_free(&r);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return -s;
}
