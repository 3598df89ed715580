// lumiere compare: two clips side by side, and how far they are apart.
#include "run_files.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

typedef struct settings {
    const char *output;
    int gap;
    double fps;
    bool shortest, json;
} settings;

#define AT(member) offsetof(settings, member)
static const option_row rows[] = {
    {"output", 'o', OPTION_TEXT, AT(output), "FILE",
     "both side by side: .mp4 .webm .gif .apng .webp .npy, .png for one frame, or FOLDER/", 0, 0, 0},
    {"gap", 0, OPTION_INT, AT(gap), "N", "gray pixels between them (default: 4)", 0, 1024, 0},
    {"shortest", 0, OPTION_FLAG, AT(shortest), NULL, "end with the shorter one (default: it stays on its last frame)",
     0, 0, 0},
    {"fps", 0, OPTION_NUMBER, AT(fps), "X", "frames a second (default: the first clip's)", 0.1, 240, 0},
    {"json", 0, OPTION_FLAG, AT(json), NULL, "print JSON", 0, 0, 0},
    {.name = NULL},
};

// A context and what is compared.
typedef struct job {
    lumiere_context *c;
    lumiere_clip *a, *b, *both;
    lumiere_comparison figures;
} job;

static void print_text(const job *j) {
    const lumiere_comparison *f = &j->figures;
    if (isnan(f->psnr)) {
        printf("no figures: %dx%d and %dx%d are different sizes\n", lumiere_clip_width(j->a), lumiere_clip_height(j->a),
               lumiere_clip_width(j->b), lumiere_clip_height(j->b));
        return;
    }
    char psnr[32] = "equal";
    if (isfinite(f->psnr)) snprintf(psnr, sizeof psnr, "%.2f dB", f->psnr);
    printf("PSNR                  %s\nmean difference       %.3f\nover                  %d frame%s\n", psnr,
           f->difference, f->frames, f->frames == 1 ? "" : "s");
}

static int print_json(const job *j, const char *output) {
    const lumiere_comparison *f = &j->figures;
    json_t *o = json_pack("{s:o?, s:i, s:b}", "output", output ? json_of_text(output) : NULL, "frames", f->frames,
                          "equal", isinf(f->psnr));
    json_object_set_new(o, "psnr", isfinite(f->psnr) ? json_real(f->psnr) : json_null());
    json_object_set_new(o, "difference", isfinite(f->difference) ? json_real(f->difference) : json_null());
    int code = say_json(o, 9);
    json_decref(o);
    return code;
}

// Without an output figures are all there is.
static int print_figures(const job *j, const settings *s) {
    if (!s->output && isnan(j->figures.psnr))
        return complain(2, "compare: %dx%d and %dx%d are different sizes; name a file with -o to see both",
                        lumiere_clip_width(j->a), lumiere_clip_height(j->a), lumiere_clip_width(j->b),
                        lumiere_clip_height(j->b));
    double a = lumiere_clip_fps(j->a), b = lumiere_clip_fps(j->b);
    if (a > 0 && b > 0 && fabs(a - b) > 0.01 * a)
        complain(0, "%.5g and %.5g frames a second; frames are paired by number, not by time", a, b);
    if (s->json) return print_json(j, s->output);
    print_text(j);
    return 0;
}

// As far as the clips are known.
static int check_files(const job *j, const settings *s, const char *const *paths) {
    lumiere_output_shape shape = {.fps = s->fps};
    run_files f = {0};
    if (j->a && j->b) {
        int a = lumiere_clip_frames(j->a), b = lumiere_clip_frames(j->b);
        shape.frames = (a < b) == s->shortest ? a : b;
        if (!(shape.fps > 0)) shape.fps = lumiere_clip_fps(j->a);
        if (!(shape.fps > 0)) shape.fps = lumiere_clip_fps(j->b);
    }
    run_files_read(&f, "the clip", paths[0]);
    run_files_read(&f, "the clip", paths[1]);
    run_files_write(&f, "--output", s->output, &shape);
    return run_files_check(&f, j->c);
}

static int compare(job *j, const settings *s, const char *const *paths) {
    const lumiere_compare_options o = {.gap = s->gap, .shortest = s->shortest, .fps = s->fps};
    int code = check_files(j, s, paths);
    if (code) return code;
    lumiere_status status = lumiere_clip_read(j->c, paths[0], &j->a);
    if (status == LUMIERE_OK) status = lumiere_clip_read(j->c, paths[1], &j->b);
    if (status == LUMIERE_OK) code = check_files(j, s, paths);
    if (code) return code;
    if (status == LUMIERE_OK) status = lumiere_compare(j->c, j->a, j->b, &o, s->output ? &j->both : NULL, &j->figures);
    if (status == LUMIERE_OK && s->output) status = lumiere_clip_write(j->c, j->both, s->output, NULL);
    return status == LUMIERE_OK ? print_figures(j, s) : report_failure(j->c, status);
}

static int run(const command *c, int argc, char **argv) {
    settings s = {.gap = 4};
    const char *paths[2];
    int code = options_parse(c, argc, argv, &s, paths);
    if (code != GO_ON) return code;
    if (!paths[0] || !paths[1]) return complain(2, "compare: two clips are needed; see lumiere help compare");
    job j = {.c = open_context(&(machine_settings){.threads = 1}, &code)};
    if (!j.c) return code;
    code = compare(&j, &s, paths);
    lumiere_clip_free(&j.a);
    lumiere_clip_free(&j.b);
    lumiere_clip_free(&j.both);
    lumiere_context_free(&j.c);
    return code;
}

const command command_compare = {
    "compare",
    "A B",
    "Puts two clips side by side and says how far they are apart.",
    "The lower one is enlarged to the other's height by repeating pixels. PSNR (peak 255) and mean difference (0 to "
    "255)\n"
    "are over the frames that both have, when both are of one size.",
    rows,
    2,
    run,
};
