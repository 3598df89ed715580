// Clips longer than the network's 80 frames, and generation that ends with super-resolution; on a tiny model.
#include "cli/run_options.h"
#include "cli/run_command.h"
#include "cli/tiny_model.h"
#include "cli/tiny_pair.h"

#include "diffusion/sampler.h"
#include "diffusion/schedule.h"
#include "pipeline/upscale.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static lumiere_clip *generate(lumiere_model *m, const lm_generate_options *o) {
    lumiere_clip *out = NULL;
    if (run_generate(pair.context, m, o, &out) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(pair.context));
    return out;
}

static size_t bytes_of(const lumiere_clip *c) {
    return (size_t)c->clip.frames * (size_t)c->clip.width * (size_t)c->clip.height * 3;
}

// ---- long clips ----

enum { WINDOW = 80, FRAME = 8 * 8 * 3 };

typedef struct windows {
    lumiere_model *m;
    text_input text;
    int frames, stride;
    int asked; // frames of the clip, over which the moments run
} windows;

// The mean over the windows' predictions, frame by frame.
static lm_status mean_of_windows(lm_error *e, void *user, const float *x, double t, float *v) {
    const windows *w = user;
    static float part[WINDOW * FRAME];
    static const float nothing_given[WINDOW * FRAME / 3 * 4] = {0};
    const lm_net_use use = {.shape = {1, WINDOW, 8, 8, LM_TEXT_TOKENS}};
    static int cover[640];
    float time = (float)t, moments[WINDOW];
    memset(v, 0, (size_t)w->frames * FRAME * sizeof *v);
    memset(cover, 0, sizeof cover);
    for (int start = 0;; start += w->stride) {
        if (start > w->frames - WINDOW) start = w->frames - WINDOW;
        for (int f = 0; f < WINDOW; f++) moments[f] = fminf((float)(start + f) / (float)(w->asked - 1), 1);
        const lm_feed feeds[] = {{"x", x + start * FRAME},
                                 {"t", &time},
                                 {"text", w->text.states},
                                 {"mask", w->text.mask},
                                 {"moment", moments},
                                 {"cond", nothing_given},
                                 {NULL, NULL}};
        LM_TRY(lm_network_run(e, w->m->base, &use, lm_weights_params(w->m->weights), NULL, feeds,
                              (const lm_fetch[]){{"v", part}, {NULL, NULL}}));
        for (int i = 0; i < WINDOW * FRAME; i++) v[start * FRAME + i] += part[i];
        for (int f = 0; f < WINDOW; f++) cover[start + f]++;
        if (start == w->frames - WINDOW) break;
    }
    for (int i = 0; i < w->frames * FRAME; i++) v[i] /= (float)cover[i / FRAME];
    return LM_OK;
}

static void check_long(lumiere_model *m, int frames, int overlap) {
    const lm_generate_options o = {.prompt = "a bee",
                                   .seed = 3,
                                   .frames = frames,
                                   .steps = 2,
                                   .cfg_scale = 1,
                                   .sampler = LM_SAMPLER_DDIM,
                                   .overlap = overlap,
                                   .overlap_set = true};
    lumiere_clip *clip = generate(m, &o);
    assert_int_equal(lumiere_clip_frames(clip), frames);
    // computed in pairs: the tiny network halves time once
    windows w = {.m = m, .frames = (frames + 1) / 2 * 2, .stride = WINDOW - overlap, .asked = frames};
    float *x = malloc((size_t)w.frames * FRAME * sizeof *x);
    lm_noise_fill(x, w.frames, FRAME, 3, 0, 0);
    const lm_sampler s = {
        .kind = LM_SAMPLER_DDIM, .steps = 2, .t_start = 0.999, .clamp = 1, .denoise = mean_of_windows, .user = &w};
    lm_error e = {0};
    assert_int_equal(lm_text_input_encode(&e, m->text, "a bee", &w.text), LM_OK);
    if (lm_sample(&e, &s, x, (int64_t)w.frames * FRAME) != LM_OK) fail_msg("%s", e.text);
    lm_text_input_free(&w.text);
    for (int i = 0; i < frames * FRAME; i++) {
        int want = (int)((x[i] + 1) * 127.5f + 0.5f);
        if (clip->clip.data[i] != want)
            fail_msg("%d frames, overlap %d, frame %d: %d, not %d", frames, overlap, i / FRAME, clip->clip.data[i],
                     want);
    }
    free(x);
    lumiere_clip_free(&clip);
}

static void long_clips_are_means_of_windows(void **state) {
    (void)state;
    check_long(pair.small, 81, 16);
    check_long(pair.small, 150, 40);
    check_long(pair.small, 170, 0);
}

// A network that is told moments: the clip's first frame is at 0 and its last at 1, whatever the window.
static void frames_are_told_their_moments(void **state) {
    (void)state;
    char folder[300];
    lumiere_model *m;
    snprintf(folder, sizeof folder, "%s/told", pair.work);
    tiny_model_make_told(folder);
    if (lumiere_model_open(pair.context, folder, &m) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(pair.context));
    check_long(m, 80, 0);
    check_long(m, 97, 16);
    lumiere_model_free(&m);
}

static void the_longest_clip_is_640_frames(void **state) {
    (void)state;
    const lm_generate_options o = {.prompt = "a bee", .frames = 640, .steps = 1};
    lumiere_clip *clip = generate(pair.small, &o);
    assert_int_equal(lumiere_clip_frames(clip), 640);
    lumiere_clip_free(&clip);
}

static double flops_of(const lm_generate_options *o) {
    lumiere_estimate e;
    if (run_generate_estimate(pair.context, pair.small, o, &e) != LUMIERE_OK)
        fail_msg("%s", lumiere_error_message(pair.context));
    return e.flops;
}

static void estimates_count_the_windows(void **state) {
    (void)state;
    lm_generate_options o = {.prompt = "a bee", .frames = 80};
    double one = flops_of(&o);
    o.frames = 640; // stride 64: windows from 0, 64 ... 512, and 560
    assert_true(flops_of(&o) == 10 * one);
    o.overlap = 40;
    assert_true(flops_of(&o) == 15 * one);
}

static void refused(lm_generate_options o, const char *message) {
    lumiere_estimate e;
    o.prompt = "a bee";
    if (run_generate_estimate(pair.context, pair.small, &o, &e) != LUMIERE_USAGE ||
        !strstr(lumiere_error_message(pair.context), message))
        fail_msg("'%s'; expected '%s'", lumiere_error_message(pair.context), message);
}

static void wrong_lengths_are_refused(void **state) {
    (void)state;
    refused((lm_generate_options){.frames = 641}, "frames is \"641\"; it must be a whole number from 1 to 640");
    refused((lm_generate_options){.frames = 100, .overlap = 7}, "overlap by 7; multiples of 2 below 80");
    refused((lm_generate_options){.frames = 100, .overlap = 80}, "overlap by 80");
    refused((lm_generate_options){.frames = 100, .overlap = -2},
            "overlap is \"-2\"; it must be a whole number from 0 to");
    refused((lm_generate_options){.frames = 81, .loop = true}, "a loop of 81 frames");
}

// ---- generation that ends with super-resolution ----

static void generation_ends_at_four_times_the_size(void **state) {
    (void)state;
    lm_generate_options o = {.prompt = "a bee", .seed = 9, .frames = 3, .width = 6, .height = 5, .steps = 2};
    lumiere_clip *without = generate(pair.small, &o), *with = generate(pair.large, &o), *enlarged;
    assert_int_equal(lumiere_clip_width(without), 6);
    assert_int_equal(lumiere_clip_width(with), 24);
    assert_int_equal(lumiere_clip_height(with), 20);
    assert_int_equal(lumiere_clip_frames(with), 3);
    assert_true(lumiere_clip_fps(with) == 8);
    const lm_upscale_options u = {.prompt = "a bee", .seed = 9};
    assert_int_equal(run_upscale(pair.context, pair.large, without, &u, &enlarged), LUMIERE_OK);
    assert_memory_equal(lumiere_clip_data(with), lumiere_clip_data(enlarged), bytes_of(with));
    o.enlarge = LM_ENLARGE_NOT;
    lumiere_clip *left = generate(pair.large, &o);
    assert_memory_equal(lumiere_clip_data(left), lumiere_clip_data(without), bytes_of(without));
    o.enlarge = LM_ENLARGE;
    lumiere_clip *none;
    assert_int_equal(run_generate(pair.context, pair.small, &o, &none), LUMIERE_MODEL);
    assert_null(none);
    lumiere_estimate e, least;
    o.enlarge = LM_ENLARGE_DEFAULT;
    assert_int_equal(run_generate_estimate(pair.context, pair.large, &o, &e), LUMIERE_OK);
    assert_int_equal(e.width, 24);
    o.enlarge = LM_ENLARGE_NOT;
    assert_int_equal(run_generate_estimate(pair.context, pair.large, &o, &least), LUMIERE_OK);
    assert_true(e.flops > least.flops && e.bytes > least.bytes && e.seconds > least.seconds);
    lumiere_clip *clips[] = {without, with, enlarged, left};
    for (int i = 0; i < 4; i++) lumiere_clip_free(&clips[i]);
}

static void tasks_are_enlarged_when_asked(void **state) {
    (void)state;
    uint8_t pixels[8 * 8 * 3] = {10, 200, 30};
    lumiere_clip *in, *out;
    assert_int_equal(lumiere_clip_create(pair.context, 1, 8, 8, 0, pixels, &in), LUMIERE_OK);
    lm_task_options o = {.task = LM_TASK_ANIMATE, .input = in};
    o.generate = (lm_generate_options){.prompt = "a bee", .frames = 84, .steps = 1};
    assert_int_equal(run_task(pair.context, pair.large, &o, &out), LUMIERE_OK);
    assert_int_equal(lumiere_clip_width(out), 8);
    assert_int_equal(lumiere_clip_frames(out), 84);
    assert_memory_equal(lumiere_clip_data(out), pixels, sizeof pixels); // the given frame begins the long clip
    lumiere_clip_free(&out);
    o.generate.enlarge = LM_ENLARGE;
    o.generate.frames = 2;
    assert_int_equal(run_task(pair.context, pair.large, &o, &out), LUMIERE_OK);
    assert_int_equal(lumiere_clip_width(out), 32);
    lumiere_clip_free(&out);
    lumiere_clip_free(&in);
}

typedef struct watch {
    int calls, stop_after, steps, small_previews, large_previews;
} watch;

static bool on_step(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    watch *w = user;
    assert_int_equal(step, ++w->calls);
    assert_true(seconds_left >= 0);
    w->steps = steps;
    if (preview && lumiere_clip_width(preview) == 8) w->small_previews++;
    if (preview && lumiere_clip_width(preview) == 32) w->large_previews++;
    return step != w->stop_after;
}

static void progress_goes_through_both_networks(void **state) {
    (void)state;
    watch w = {0};
    const lm_generate_options o = {
        .prompt = "a bee", .frames = 20, .steps = 3, .preview_every = 1, .progress = on_step, .user = &w};
    lumiere_clip *clip = generate(pair.large, &o);
    lumiere_clip_free(&clip);
    assert_int_equal(w.calls, 3 + 8 * 2); // windows from frames 0 and 4
    assert_int_equal(w.steps, w.calls);
    assert_int_equal(w.small_previews, 2);
    assert_int_equal(w.large_previews, 7);
    for (int at = 2; at < 19; at += 8) {
        w = (watch){.stop_after = at};
        assert_int_equal(run_generate(pair.context, pair.large, &o, &clip), LUMIERE_CANCELLED);
        assert_null(clip);
        assert_int_equal(w.calls, at);
    }
}

// ---- the command ----

static void commands_repeat_themselves(void **state) {
    (void)state;
    static const char *const settings[] = {"-f 90 --overlap 20 --no-upscale", "-f 2", "-f 2 --no-upscale"};
    for (int i = 0; i < 3; i++) {
        char command[1024], path[512], again[512];
        snprintf(command, sizeof command,
                 "cd '%s' && '%s/lumiere' generate 'a bee' -m '%s' -q -s 5 -o made.npy --steps 1 %s && "
                 "echo \"'%s'/$('%s/lumiere' inspect --as-args made.npy) -q -o again.npy\" > again.sh && sh again.sh",
                 pair.work, LM_BINARY_DIR, pair.large_path, settings[i], LM_BINARY_DIR, LM_BINARY_DIR);
        assert_int_equal(system(command), 0);
        snprintf(path, sizeof path, "%s/made.npy", pair.work);
        snprintf(again, sizeof again, "%s/again.npy", pair.work);
        assert_true(same_bytes(path, again));
        lumiere_clip *clip;
        assert_int_equal(lumiere_clip_read(pair.context, path, &clip), LUMIERE_OK);
        assert_int_equal(lumiere_clip_width(clip), i == 1 ? 32 : 8);
        lumiere_clip_free(&clip);
    }
    RUN(&r, pair.work, "generate", "a bee", "-m", pair.large_path, "--upscale", "--no-upscale");
    assert_int_equal(r.code, 2);
    RUN(&r, pair.work, "generate", "a bee", "-m", pair.small_path, "--upscale");
    assert_int_equal(r.code, 3);
    assert_non_null(strstr(r.err, "no super-resolution network"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_clips_are_means_of_windows), cmocka_unit_test(frames_are_told_their_moments),
        cmocka_unit_test(the_longest_clip_is_640_frames),  cmocka_unit_test(estimates_count_the_windows),
        cmocka_unit_test(wrong_lengths_are_refused),       cmocka_unit_test(generation_ends_at_four_times_the_size),
        cmocka_unit_test(tasks_are_enlarged_when_asked),   cmocka_unit_test(progress_goes_through_both_networks),
        cmocka_unit_test(commands_repeat_themselves),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
