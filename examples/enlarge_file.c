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

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: %s INPUT PROMPT FILE MODEL\n", argv[0]), 2;
    lumiere_context *c = NULL;
    lumiere_model *m = NULL;
    lumiere_clip *input = NULL, *clip = NULL;
    lumiere_estimate e;
    char *recipe = NULL;
    const lumiere_upscale_options o = {
        .prompt = argv[2], .seed = 1, .preview_every = 2, .progress = show, .user = argv[3]};

    lumiere_status s = lumiere_context_create(NULL, &c);
    if (s == LUMIERE_OK) s = lumiere_model_open(c, argv[4], &m);
    if (s == LUMIERE_OK && !lumiere_model_upscales(m)) fprintf(stderr, "%s can't enlarge\n", lumiere_model_name(m));
    if (s == LUMIERE_OK) s = lumiere_clip_read(c, argv[1], &input);
    if (s == LUMIERE_OK)
        s = lumiere_estimate_upscale(c, m, lumiere_clip_frames(input), lumiere_clip_width(input),
                                     lumiere_clip_height(input), &o, &e);
    if (s == LUMIERE_OK)
        fprintf(stderr, "%dx%d: about %.0f s, %.0f MB\n", e.width, e.height, e.seconds, (double)e.bytes / 1e6);
    if (s == LUMIERE_OK) s = lumiere_upscale_recipe(c, m, input, &o, NULL, &recipe);
    if (s == LUMIERE_OK) s = lumiere_upscale(c, m, input, &o, &clip);
    if (s == LUMIERE_OK) s = lumiere_clip_write(c, clip, argv[3], recipe);
    fprintf(stderr, "\n%s", s == LUMIERE_OK ? "" : lumiere_error_message(c));

    lumiere_string_free(&recipe);
    lumiere_clip_free(&clip);
    lumiere_clip_free(&input);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    return -s;
}
