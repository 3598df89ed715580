// A prompt to a file through the C interface: prompt_to_file "a bee, on a blue background" bee.gif [MODEL]
#include <lumiere/lumiere.h>

#include <stdio.h>

static bool show(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    (void)user, (void)preview;
    fprintf(stderr, "\rstep %d of %d, %.0f s left ", step, steps, seconds_left);
    return true; // false would stop
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: %s PROMPT FILE [MODEL]\n", argv[0]), 2;
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_clip *clip = NULL;
    char *recipe = NULL;
    lumiere_generate_options o = {.prompt = argv[1], .seed = 1, .progress = show};

    lumiere_status s = lumiere_context_create(NULL, &c);
    if (s == LUMIERE_OK) s = lumiere_model_open(c, argc > 3 ? argv[3] : "models/emoji", &m);
    if (s == LUMIERE_OK) s = lumiere_generate(c, m, &o, &clip);
    if (s == LUMIERE_OK) s = lumiere_generate_recipe(c, m, &o, NULL, &recipe);
    if (s == LUMIERE_OK) s = lumiere_clip_write(c, clip, argv[2], recipe);
    fprintf(stderr, "\n%s", s == LUMIERE_OK ? "" : lumiere_error_message(c));

    lumiere_string_free(&recipe);
    lumiere_clip_free(&clip);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return -s;
}
