// A prompt in a drawing style through the C interface: style_to_file PROMPT STYLE FILE MODEL [ALPHA]
// STYLE is one of the model's own by name, or a style file of the stage style of `lumiere train`; ALPHA says how much
// of it, from 0 to 1.
#include <lumiere/lumiere.h>

#include <stdio.h>

static bool show(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    fprintf(stderr, "\r%s: step %d of %d, %.0f s left%s ", (const char *)user, step, steps, seconds_left,
            preview ? ", a preview" : "");
    return true; // false would stop
}

static lumiere_status ask(lumiere_request *r, char **argv, const char *alpha) {
    lumiere_status s = lumiere_request_set_json(r, "{\"seed\":1,\"preview_every\":5}");
    if (s == LUMIERE_OK) s = lumiere_request_set(r, "prompt", argv[1]);
    if (s == LUMIERE_OK) s = lumiere_request_set(r, "style", argv[2]); // a second one would be mixed with it
    if (s == LUMIERE_OK && alpha) s = lumiere_request_set(r, "style_alpha", alpha);
    lumiere_request_on_progress(r, show, argv[2]);
    return s;
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: %s PROMPT STYLE FILE MODEL [ALPHA]\n", argv[0]), 2;
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_request *r = NULL;
    lumiere_clip *clip = NULL;
    char *recipe = NULL;

    lumiere_status s = lumiere_context_create(NULL, &c);
    if (s == LUMIERE_OK) s = lumiere_model_open(c, argv[4], &m);
    if (s == LUMIERE_OK) s = lumiere_request_create("stylize", &r);
    if (s == LUMIERE_OK) s = ask(r, argv, argc > 5 ? argv[5] : NULL);
    if (s == LUMIERE_OK) s = lumiere_request_run(r, m, &clip);
    if (s == LUMIERE_OK) s = lumiere_request_describe(r, m, NULL, &recipe);
    if (r) fprintf(stderr, "\n%s", lumiere_request_error(r));
    if (s == LUMIERE_OK) s = lumiere_clip_write(c, clip, argv[3], recipe);
    fprintf(stderr, "%s", lumiere_error_message(c));

    lumiere_string_free(&recipe);
    lumiere_clip_free(&clip);
    lumiere_request_free(&r);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return -s;
}
