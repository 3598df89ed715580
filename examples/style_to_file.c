// A prompt in a drawing style through the C interface: style_to_file PROMPT STYLE FILE MODEL [ALPHA]
// STYLE is one of the model's own by name, or a style file of the stage style of `lumiere train`; ALPHA says how much
// of it, from 0 to 1.
#include <lumiere/lumiere.h>

#include <stdio.h>
#include <stdlib.h>

static bool show(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    const lumiere_style *s = user;
    fprintf(stderr, "\r%.2f of %s: step %d of %d, %.0f s left%s ", s->alpha, s->style, step, steps, seconds_left,
            preview ? ", a preview" : "");
    return true; // false would stop
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: %s PROMPT STYLE FILE MODEL [ALPHA]\n", argv[0]), 2;
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_clip *clip = NULL;
    char *recipe = NULL;
    lumiere_style style = {.style = argv[2], .alpha = argc > 5 ? strtod(argv[5], NULL) : LUMIERE_STYLE_ALPHA};
    const lumiere_generate_options o = {
        .prompt = argv[1], .seed = 1, .preview_every = 5, .progress = show, .user = &style};

    lumiere_status s = lumiere_context_create(NULL, &c);
    if (s == LUMIERE_OK) s = lumiere_model_open(c, argv[4], &m);
    if (s == LUMIERE_OK) s = lumiere_model_set_styles(c, m, &style, 1);
    if (s == LUMIERE_OK) s = lumiere_generate(c, m, &o, &clip);
    if (s == LUMIERE_OK) s = lumiere_generate_recipe(c, m, &o, NULL, &recipe);
    if (s == LUMIERE_OK) s = lumiere_clip_write(c, clip, argv[3], recipe);
    fprintf(stderr, "\n%s", s == LUMIERE_OK ? "" : lumiere_error_message(c));

    lumiere_string_free(&recipe);
    lumiere_clip_free(&clip);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return -s;
}
