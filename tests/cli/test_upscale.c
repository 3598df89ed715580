// Super-resolution on a tiny model with random weights: against the specification written out, sizes, threads, Ctrl-C,
// what is refused; the command.
#include "cli/run_options.h"
#include "cli/run_command.h"
#include "cli/tiny_model.h"
#include "cli/tiny_pair.h"

#include "base/memory.h"
#include "base/random.h"
#include "diffusion/cascade.h"
#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "pipeline/upscale.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static tiny_pair pair;
static command_result r;

static int make(void **state) {
    (void)state;
    tiny_pair_open(&pair, 1);
    return 0;
}

static int clean(void **state) {
    (void)state;
    tiny_pair_close(&pair);
    return 0;
}

static lumiere_clip *make_input(int frames, int width, int height) {
    lumiere_clip *clip;
    uint8_t *pixels = malloc((size_t)frames * (size_t)width * (size_t)height * 3);
    for (int i = 0; i < frames * width * height * 3; i++)
        pixels[i] = (uint8_t)(128 + 120 * sin(0.11 * i) * cos(0.007 * i));
    assert_int_equal(lumiere_clip_create(pair.context, frames, width, height, 8, pixels, &clip), LUMIERE_OK);
    free(pixels);
    return clip;
}

static lumiere_clip *enlarge(lumiere_context *c, lumiere_model *m, const lumiere_clip *in,
                             const lm_upscale_options *o) {
    lumiere_clip *out = NULL;
    if (run_upscale(c, m, in, o, &out) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
    return out;
}

static bool same(const lumiere_clip *a, const lumiere_clip *b) {
    size_t n = (size_t)a->clip.frames * (size_t)a->clip.width * (size_t)a->clip.height * 3;
    return a->clip.frames == b->clip.frames && a->clip.width == b->clip.width && a->clip.height == b->clip.height &&
           !memcmp(a->clip.data, b->clip.data, n);
}

// ---- the specification's upscale(), with the whole clip in memory at every moment ----

typedef struct whole {
    const upscale_request *q;
    float *cond, *part, *part_cond;
    text_input text;
} whole;

static lm_status mean_of_windows(lm_error *e, void *user, const float *x, double t, float *v) {
    const whole *w = user;
    const lm_grid *g = &w->q->grid;
    const lm_net_use use = lm_upscale_use(pair.large, w->q);
    const float time = (float)t, level = (float)w->q->noise_level;
    const lm_feed feeds[] = {{"x", w->part},         {"cond", w->part_cond},  {"t", &time}, {"text", w->text.states},
                             {"mask", w->text.mask}, {"noise_level", &level}, {NULL, NULL}};
    memset(v, 0, (size_t)w->q->frames * w->q->run_height * w->q->run_width * 3 * sizeof *v);
    for (int k = 0; k < g->time.count * g->rows.count * g->columns.count; k++) {
        int i = k / (g->rows.count * g->columns.count), row = k / g->columns.count % g->rows.count,
            column = k % g->columns.count;
        lm_grid_take(g, i, row, column, x, 0, w->part);
        lm_grid_take(g, i, row, column, w->cond, 0, w->part_cond);
        LM_TRY(lm_network_run(e, pair.large->ssr->network, &use, lm_weights_params(pair.large->ssr->weights), NULL,
                              feeds, (const lm_fetch[]){{"v", w->part}, {NULL, NULL}}));
        lm_grid_add(g, i, row, column, w->part, v, 0);
    }
    lm_grid_divide(g, v, 0, w->q->frames);
    return LM_OK;
}

// alpha input + sigma noise, enlarged; the input's edges repeated to the padded size.
static void make_condition(const upscale_request *q, const lm_clip *in, float *cond) {
    int width = q->run_width / 4, height = q->run_height / 4;
    int64_t frame = (int64_t)q->run_width * q->run_height * 3;
    float *low = malloc((size_t)frame / 16 * sizeof *low), *noise = malloc((size_t)frame / 16 * sizeof *noise);
    for (int f = 0; f < q->frames; f++, cond += frame) {
        for (int i = 0; i < frame / 16; i++) {
            int y = i / 3 / width, x = i / 3 % width;
            y = y < in->height ? y : in->height - 1;
            x = x < in->width ? x : in->width - 1;
            low[i] = (float)in->data[((f * in->height + y) * in->width + x) * 3 + i % 3] / 127.5f - 1;
        }
        lm_random_normal(noise, frame / 16, q->seed, LM_FOR_LOW, q->clip, (uint32_t)f, 1);
        lm_add_noise(lm_level_at(q->noise_level), noise, frame / 16, low);
        lm_enlarge(low, height, width, 0, 0, q->run_height, q->run_width, cond);
    }
    free(low);
    free(noise);
}

static void check_against_specification(int frames, int width, int height, const lm_upscale_options *o) {
    lm_error e = {0};
    upscale_request q;
    lumiere_clip *in = make_input(frames, width, height), *out = enlarge(pair.context, pair.large, in, o);
    assert_int_equal(lm_upscale_resolve(&e, pair.large, o, frames, width, height, &q), LM_OK);
    int64_t frame = (int64_t)q.run_width * q.run_height * 3, n = frame * frames;
    const size_t tile = (size_t)lm_grid_floats(&q.grid) * 4;
    whole w = {.q = &q, .cond = malloc((size_t)n * 4), .part = malloc(tile), .part_cond = malloc(tile)};
    float *x = malloc((size_t)n * sizeof *x);
    make_condition(&q, &in->clip, w.cond);
    assert_int_equal(lm_text_input_encode(&e, pair.large->text, q.prompt, &w.text), LM_OK);
    for (int f = 0; f < frames; f++) lm_noise_fill(x + f * frame, 1, frame, q.seed, q.clip, 1); // the same for all
    const lm_sampler s = {.kind = LM_SAMPLER_DDIM,
                          .steps = q.steps,
                          .t_start = 0.999,
                          .clamp = (double)INFINITY,
                          .denoise = mean_of_windows,
                          .user = &w};
    if (lm_sample(&e, &s, x, n) != LM_OK) fail_msg("%s", e.text);
    const double alpha = cos(q.noise_level * 1.5707963267948966);
    const uint8_t *got = out->clip.data;
    for (int f = 0; f < frames; f++)
        for (int y = 0; y < 4 * height; y++)
            for (int i = 0; i < 12 * width; i++, got++) {
                int64_t at = f * frame + ((int64_t)y * q.run_width) * 3 + i;
                double sum = (double)w.cond[at] / alpha + (double)x[at] / 8, within = fmin(fmax(sum, -1), 1);
                double want = (within + 1) * 127.5;
                if (!(fabs(*got - want) < 0.5 + 1e-3))
                    fail_msg("frame %d, row %d, number %d: %d, not %g", f, y, i, *got, want);
            }
    free(x);
    free(w.cond);
    free(w.part);
    free(w.part_cond);
    lm_text_input_free(&w.text);
    lumiere_clip_free(&in);
    lumiere_clip_free(&out);
}

static void clips_are_those_of_the_specification(void **state) {
    (void)state;
    check_against_specification(1, 5, 3, &(lm_upscale_options){.steps = 2, .prompt = "a bee"});
    check_against_specification(17, 4, 4, &(lm_upscale_options){.steps = 2, .seed = 7});
    check_against_specification(
        21, 5, 7, &(lm_upscale_options){.steps = 3, .window = 8, .overlap = 3, .tile = 16, .tile_overlap = 8});
    check_against_specification(
        9, 6, 6, &(lm_upscale_options){.steps = 1, .window = 4, .overlap_set = true, .noise_level = 0.08});
}

static void sizes_are_four_times_the_input(void **state) {
    (void)state;
    static const int shapes[][3] = {{1, 1, 1}, {2, 3, 5}, {17, 7, 2}, {3, 9, 1}, {33, 2, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        lumiere_clip *in = make_input(shapes[i][0], shapes[i][1], shapes[i][2]);
        lumiere_clip *out = enlarge(pair.context, pair.large, in, &(lm_upscale_options){.steps = 1});
        assert_int_equal(lumiere_clip_frames(out), shapes[i][0]);
        assert_int_equal(lumiere_clip_width(out), 4 * shapes[i][1]);
        assert_int_equal(lumiere_clip_height(out), 4 * shapes[i][2]);
        assert_true(lumiere_clip_fps(out) == 8);
        lumiere_clip_free(&in);
        lumiere_clip_free(&out);
    }
}

static void threads_do_not_matter_and_the_seed_does(void **state) {
    (void)state;
    lumiere_clip *in = make_input(19, 5, 6);
    const lm_upscale_options o = {.steps = 2, .window = 6, .tile = 16, .seed = 4};
    lumiere_clip *one = enlarge(pair.context, pair.large, in, &o), *again = enlarge(pair.context, pair.large, in, &o);
    assert_true(same(one, again));
    lm_upscale_options others[] = {o, o, o, o, o};
    others[0].seed = 5;
    others[1].clip = 1;
    others[2].prompt = "a rocket";
    others[3].noise_level = 0.02;
    others[4].overlap_set = true;
    for (int i = 0; i < 5; i++) {
        lumiere_clip_free(&again);
        again = enlarge(pair.context, pair.large, in, &others[i]);
        if (same(one, again)) fail_msg("option %d has no effect", i);
    }
    const lumiere_context_options three = {.threads = 3, .precision = "fp32"};
    lumiere_context *c;
    lumiere_model *m;
    assert_int_equal(lumiere_context_create(&three, &c), LUMIERE_OK);
    assert_int_equal(lumiere_model_open(c, pair.large_path, &m), LUMIERE_OK);
    lumiere_clip_free(&again);
    again = enlarge(c, m, in, &o);
    assert_true(same(one, again));
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    lumiere_clip_free(&in);
    lumiere_clip_free(&one);
    lumiere_clip_free(&again);
}

typedef struct watch {
    int calls, stop_after, steps, previews;
} watch;

static bool on_step(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    watch *w = user;
    assert_int_equal(step, ++w->calls);
    assert_true(seconds_left >= 0);
    w->steps = steps;
    if (preview) {
        w->previews++;
        assert_int_equal(step % (steps / 4), 0);
        assert_int_equal(lumiere_clip_frames(preview), 10);
        assert_int_equal(lumiere_clip_width(preview), 16);
    }
    return step != w->stop_after;
}

static void progress_previews_and_stopping(void **state) {
    (void)state;
    watch w = {0};
    lumiere_clip *in = make_input(10, 4, 4), *out;
    lm_upscale_options o = {.steps = 4, .window = 4, .overlap = 1, .preview_every = 1, .progress = on_step, .user = &w};
    out = enlarge(pair.context, pair.large, in, &o);
    lumiere_clip_free(&out);
    assert_int_equal(w.calls, 4 * 3); // windows from frames 0, 3 and 6
    assert_int_equal(w.steps, w.calls);
    assert_int_equal(w.previews, 3); // the last step's is the clip itself
    for (int at = 1; at < 12; at += 5) {
        w = (watch){.stop_after = at};
        out = in;
        assert_int_equal(run_upscale(pair.context, pair.large, in, &o, &out), LUMIERE_CANCELLED);
        assert_null(out);
        assert_int_equal(w.calls, at);
        assert_non_null(strstr(lumiere_error_message(pair.context), "stopped in step"));
    }
    lumiere_clip_free(&in);
}

static void refused(lumiere_model *m, int frames, int width, int height, lm_upscale_options o, lumiere_status status,
                    const char *message) {
    lumiere_estimate e;
    lumiere_status got = run_upscale_estimate(pair.context, m, frames, width, height, &o, &e);
    if (got != status || !strstr(lumiere_error_message(pair.context), message))
        fail_msg("status %d, '%s'; expected %d, '%s'", (int)got, lumiere_error_message(pair.context), (int)status,
                 message);
}

static void wrong_inputs_are_refused(void **state) {
    (void)state;
    static char longest[5000];
    memset(longest, 'a', sizeof longest - 1);
#define REFUSED(message, ...) refused(pair.large, 4, 8, 8, (lm_upscale_options){__VA_ARGS__}, LUMIERE_USAGE, message)
    REFUSED("windows of 17 frames; this model's network takes 1 to 16", .window = 17);
    REFUSED("window is \"-1\"; it must be a whole number from 1", .window = -1);
    REFUSED("overlap by 4; 0 to 3 are possible", .window = 4, .overlap = 4);
    REFUSED("overlap is \"-1\"; it must be", .overlap = -1);
    REFUSED("tiles of 12 pixels; multiples of 8", .tile = 12);
    REFUSED("tiles of 16 pixels that overlap by 4", .tile = 16, .tile_overlap = 4);
    REFUSED("tiles of 16 pixels that overlap by 16", .tile = 16, .tile_overlap = 16);
    REFUSED("steps is \"1001\"; it must be a whole number from 1 to 1000", .steps = 1001);
    REFUSED("noise_level is \"0.5\"; it must be a number from 0 to 0.1", .noise_level = 0.5);
    REFUSED("noise_level is \"nan\"", .noise_level = NAN);
    REFUSED("prompt has 4999 bytes", .prompt = longest);
    REFUSED("UTF-8", .prompt = "\xff");
    REFUSED("seed is \"18446744073709551615\"; it must be a whole number below 2^63", .seed = UINT64_MAX);
#undef REFUSED
    const lm_upscale_options none = {0};
    refused(pair.large, 0, 8, 8, none, LUMIERE_USAGE, "0 frames to enlarge");
    refused(pair.large, 4097, 8, 8, none, LUMIERE_USAGE, "4097 frames to enlarge");
    refused(pair.large, 1, 2049, 8, none, LUMIERE_USAGE, "a clip of 2049x8 to enlarge; from 1 to 2048");
    refused(pair.large, 1, 8, 0, none, LUMIERE_USAGE, "a clip of 8x0");
    refused(pair.large, 4096, 2048, 2048, none, LUMIERE_MEMORY, "need about");
    assert_false(lumiere_model_upscales(pair.small));
    assert_true(lumiere_model_upscales(pair.large));
    refused(pair.small, 1, 8, 8, none, LUMIERE_MODEL, "no super-resolution network");
}

static void copy_file(const char *from, const char *to, long bytes) {
    FILE *a = fopen(from, "r"), *b = fopen(to, "w");
    assert_true(a && b);
    for (int c; bytes-- && (c = getc(a)) != EOF;) putc(c, b);
    fclose(a);
    assert_int_equal(fclose(b), 0);
}

static void broken_parts_are_refused(void **state) {
    (void)state;
    char broken[256], from[512], to[512];
    lumiere_model *m;
    snprintf(broken, sizeof broken, "%s/broken", pair.work);
    tiny_model_make(broken);
    tiny_model_add_ssr(broken);
    snprintf(to, sizeof to, "%s/ssr/model.safetensors", broken);
    snprintf(from, sizeof from, "%s/ssr/model.safetensors", pair.large_path);
    copy_file(from, to, 1000);
    assert_int_equal(lumiere_model_open(pair.context, broken, &m), LUMIERE_OK); // weights are loaded when they are used
    assert_string_not_equal(lumiere_model_hash(m), lumiere_model_hash(pair.large));
    lumiere_clip *in = make_input(1, 8, 8), *out;
    assert_int_equal(run_upscale(pair.context, m, in, &(lm_upscale_options){0}, &out), LUMIERE_MODEL);
    assert_null(out);
    lumiere_clip_free(&in);
    assert_non_null(strstr(lumiere_error_message(pair.context), "ssr/model.safetensors"));
    lumiere_model_free(&m);
    unlink(to);
    assert_int_equal(lumiere_model_open(pair.context, broken, &m), LUMIERE_MODEL);
    assert_non_null(strstr(lumiere_error_message(pair.context), "ssr/model.safetensors"));
    copy_file(from, to, -1);
    assert_int_equal(lumiere_model_open(pair.context, broken, &m), LUMIERE_OK);
    assert_string_equal(lumiere_model_hash(m), lumiere_model_hash(pair.large));
    lumiere_model_free(&m);
    snprintf(from, sizeof from, "%s/base/config.json", pair.large_path);
    snprintf(to, sizeof to, "%s/ssr/config.json", broken);
    copy_file(from, to, -1);
    assert_int_equal(lumiere_model_open(pair.context, broken, &m), LUMIERE_MODEL);
    assert_non_null(strstr(lumiere_error_message(pair.context), "not a super-resolution network"));
}

// ---- the command ----

static void the_command_enlarges_files(void **state) {
    (void)state;
    char path[512], again[512];
    lumiere_clip *in = make_input(3, 6, 5), *out;
    snprintf(path, sizeof path, "%s/small.npy", pair.work);
    assert_int_equal(lumiere_clip_write(pair.context, in, path, "{\"prompt\":\"a bee\"}"), LUMIERE_OK);
    RUN(&r, pair.work, "upscale", "small.npy", "-o", "large.npy", "-m", pair.large_path, "-t", "1", "--steps", "2",
        "--json", "-s", "3", "--precision", "fp32", "--overlap", "1", "--window", "2");
    if (r.code) fail_msg("%s", r.err);
    assert_non_null(strstr(r.err, "3 frames enlarged to 24x20, 2 steps"));
    assert_non_null(strstr(r.out, "\"task\":\"upscale\""));
    assert_non_null(strstr(r.out, "\"input_recipe\":{\"prompt\":\"a bee\"}"));
    snprintf(path, sizeof path, "%s/large.npy", pair.work);
    assert_int_equal(lumiere_clip_read(pair.context, path, &out), LUMIERE_OK);
    lumiere_clip *want =
        enlarge(pair.context, pair.large, in,
                &(lm_upscale_options){.steps = 2, .prompt = "a bee", .seed = 3, .overlap = 1, .window = 2});
    assert_true(same(want, out));
    RUN(&r, pair.work, "inspect", "--as-args", "large.npy");
    assert_int_equal(strncmp(r.out, "lumiere upscale --input='small.npy' ", 36), 0);
    r.out[strcspn(r.out, "\n")] = 0;
    char *command = lm_format("cd '%s' && '%s'/%s -q -o again.npy", pair.work, LM_BINARY_DIR, r.out);
    assert_int_equal(system(command), 0);
    lm_free(command);
    snprintf(again, sizeof again, "%s/again.npy", pair.work);
    assert_true(same_bytes(path, again));
    lumiere_clip_free(&in);
    lumiere_clip_free(&out);
    lumiere_clip_free(&want);
}

static void the_command_refuses(void **state) {
    (void)state;
    RUN(&r, pair.work, "upscale");
    expect_refused(&r, 2, "no clip");
    RUN(&r, pair.work, "upscale", "nowhere.mp4", "-m", pair.large_path);
    expect_refused(&r, 5, "nowhere.mp4");
    RUN(&r, pair.work, "upscale", "small.npy", "-o", "no/such/folder.mp4", "-m", pair.large_path);
    expect_refused(&r, 5, "no/such");
    RUN(&r, pair.work, "upscale", "small.npy", "-o", "x.npy", "-m", pair.small_path);
    expect_refused(&r, 3, "no super-resolution network");
    RUN(&r, pair.work, "upscale", "small.npy", "-o", "x.npy", "-m", pair.large_path, "--noise-level", "0.5");
    expect_refused(&r, 2, "--noise-level");
    RUN(&r, pair.work, "upscale", "small.npy", "-o", "x.npy", "-m", pair.large_path, "--tile", "20");
    expect_refused(&r, 2, "tiles of 20 pixels");
    RUN(&r, pair.work, "upscale", "-i", "a.mp4", "b.mp4");
    expect_refused(&r, 2, "two inputs");
    char path[512];
    snprintf(path, sizeof path, "%s/x.npy", pair.work);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void ctrl_c_leaves_nothing(void **state) {
    (void)state;
    char path[512];
    lumiere_clip *in = make_input(200, 16, 16);
    snprintf(path, sizeof path, "%s/long.npy", pair.work);
    assert_int_equal(lumiere_clip_write(pair.context, in, path, NULL), LUMIERE_OK);
    lumiere_clip_free(&in);
    snprintf(path, sizeof path, "%s/stderr", pair.work);
    pid_t child = start_command(pair.work,
                                (const char *const[]){"upscale", "long.npy", "-o", "stopped.npy", "-m", pair.large_path,
                                                      "-t", "1", "--steps", "1000", "--progress", "json", NULL});
    static char said[1 << 20];
    for (int i = 0; i < 6000 && !(read_text(path, said, sizeof said) && strstr(said, "\"step\":2,")); i++)
        usleep(10000);
    assert_int_equal(kill(child, SIGINT), 0);
    finish_command(&r, pair.work, child);
    assert_int_equal(r.code, 130);
    assert_non_null(strstr(r.err, "stopped in step"));
    snprintf(path, sizeof path, "%s/stopped.npy", pair.work);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/stopped.npy.part", pair.work);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clips_are_those_of_the_specification),
        cmocka_unit_test(sizes_are_four_times_the_input),
        cmocka_unit_test(threads_do_not_matter_and_the_seed_does),
        cmocka_unit_test(progress_previews_and_stopping),
        cmocka_unit_test(wrong_inputs_are_refused),
        cmocka_unit_test(broken_parts_are_refused),
        cmocka_unit_test(the_command_enlarges_files),
        cmocka_unit_test(the_command_refuses),
        cmocka_unit_test(ctrl_c_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
