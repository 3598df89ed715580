// A prompt to a file through the C interface: prompt_to_file "a bee, on a blue background" bee.gif [MODEL]
#include <lumiere/lumiere.h>

#include <stdio.h>

static bool show(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    (void)user, (void)preview;
    fprintf(stderr, "\rstep %d of %d, %.0f s left ", step, steps, seconds_left);
    return true; // false would stop
}

// The request's settings are texts by the names that recipes have for them; what isn't set is the model's default.
static lumiere_status make(lumiere_request *r, lumiere_model *m, const char *prompt, lumiere_clip **clip,
                           char **recipe) {
    lumiere_status s = lumiere_request_set(r, "prompt", prompt);
    if (s == LUMIERE_OK) s = lumiere_request_set(r, "seed", "1");
    lumiere_request_on_progress(r, show, NULL);
    if (s == LUMIERE_OK) s = lumiere_request_run(r, m, clip);
    if (s == LUMIERE_OK) s = lumiere_request_describe(r, m, NULL, recipe);
    fprintf(stderr, "\n%s", lumiere_request_error(r));
    return s;
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: %s PROMPT FILE [MODEL]\n", argv[0]), 2;
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_request *r = NULL;
    lumiere_clip *clip = NULL;
    char *recipe = NULL;

    lumiere_status s = lumiere_context_create(NULL, &c);
    if (s == LUMIERE_OK) s = lumiere_model_open(c, argc > 3 ? argv[3] : "models/emoji", &m);
    if (s == LUMIERE_OK) s = lumiere_request_create("generate", &r);
    if (s == LUMIERE_OK) s = make(r, m, argv[1], &clip, &recipe);
    if (s == LUMIERE_OK) s = lumiere_clip_write(c, clip, argv[2], recipe);
    fprintf(stderr, "%s", lumiere_error_message(c));

    lumiere_string_free(&recipe);
    lumiere_clip_free(&clip);
    lumiere_request_free(&r);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return -s;
}
