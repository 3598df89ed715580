// The tasks through the C interface, on a tiny model with random weights: what is kept, what the network is told, where
// an edit starts, loops, callbacks, and what is refused.
#include "cli/run_options.h"
#include "cli/tiny_model.h"
#include "lumiere/lumiere.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { FRAMES = 4, WIDTH = 12, HEIGHT = 8, PIXELS = WIDTH * HEIGHT, BYTES = FRAMES * PIXELS * 3 };

static char *work;
static lumiere_context *context;
static lumiere_model *model;
static const lm_box box = {3, 2, 5, 4};

static lumiere_clip *make_input(int seed, int frames, int width, int height) {
    lumiere_clip *clip;
    int n = frames * width * height * 3;
    uint8_t *pixels = malloc((size_t)n);
    assert_non_null(pixels);
    for (int i = 0; i < n; i++) pixels[i] = (uint8_t)((i * 2654435761u + (unsigned)seed * 40503u) >> 16);
    assert_int_equal(lumiere_clip_create(context, frames, width, height, 8, pixels, &clip), LUMIERE_OK);
    free(pixels);
    return clip;
}

static lm_task_options options_for(lm_task_kind task, const lumiere_clip *input) {
    return (lm_task_options){.generate = {.prompt = "a bee", .seed = 4, .width = WIDTH, .height = HEIGHT},
                             .task = task,
                             .input = input,
                             .box = task == LM_TASK_INPAINT || task == LM_TASK_CINEMAGRAPH ? &box : NULL};
}

static lumiere_clip *run(const lm_task_options *o) {
    lumiere_clip *clip;
    if (run_task(context, model, o, &clip) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(context));
    return clip;
}

static bool in_box(int pixel) {
    int x = pixel % WIDTH, y = pixel / WIDTH % HEIGHT;
    return x >= box.x && x < box.x + box.width && y >= box.y && y < box.y + box.height;
}

// Pixels of a and b that differ, where wanted(frame, pixel) is as given.
static int differing(const lumiere_clip *a, const lumiere_clip *b, lm_task_kind task, bool given) {
    int n = 0;
    const uint8_t *p = lumiere_clip_data(a), *q = lumiere_clip_data(b);
    for (int i = 0; i < FRAMES * PIXELS; i++) {
        bool first = i < PIXELS;
        bool is_given = task == LM_TASK_ANIMATE ? first : task == LM_TASK_INPAINT ? !in_box(i) : first || !in_box(i);
        n += is_given == given && memcmp(p + 3 * i, q + 3 * i, 3) != 0;
    }
    return n;
}

static void what_is_given_is_kept_and_heard(void **state) {
    (void)state;
    static const lm_task_kind tasks[] = {LM_TASK_ANIMATE, LM_TASK_INPAINT, LM_TASK_CINEMAGRAPH};
    lumiere_clip *one = make_input(1, FRAMES, WIDTH, HEIGHT), *other = make_input(2, FRAMES, WIDTH, HEIGHT);
    for (int i = 0; i < 3; i++) {
        lm_task_options o = options_for(tasks[i], one);
        lumiere_clip *a = run(&o);
        if (tasks[i] == LM_TASK_INPAINT) assert_int_equal(differing(a, one, tasks[i], true), 0);
        assert_memory_equal(lumiere_clip_data(a), lumiere_clip_data(one),
                            tasks[i] == LM_TASK_INPAINT ? 24 : PIXELS * 3);
        assert_int_not_equal(differing(a, one, tasks[i], false), 0);
        o.input = other; // the network made something else of something else
        lumiere_clip *b = run(&o);
        assert_int_not_equal(differing(a, b, tasks[i], false), 0);
        o.input = one;
        o.generate.prompt = "a rocket"; // another prompt changes what is made and nothing else
        lumiere_clip *c = run(&o);
        assert_int_equal(differing(a, c, tasks[i], true), 0);
        assert_int_not_equal(differing(a, c, tasks[i], false), 0);
        o.generate.prompt = "a bee";
        o.no_composite = true; // the same made part, another kept one
        lumiere_clip *d = run(&o);
        assert_int_equal(differing(a, d, tasks[i], false), 0);
        assert_int_not_equal(differing(a, d, tasks[i], true), 0);
        lumiere_clip_free(&a);
        lumiere_clip_free(&b);
        lumiere_clip_free(&c);
        lumiere_clip_free(&d);
    }
    lumiere_clip_free(&one);
    lumiere_clip_free(&other);
}

// Later frames of a cinemagraph are the picture outside the mask.
static void cinemagraphs_hold_the_picture(void **state) {
    (void)state;
    lumiere_clip *input = make_input(3, FRAMES, WIDTH, HEIGHT);
    lm_task_options o = options_for(LM_TASK_CINEMAGRAPH, input);
    lumiere_clip *a = run(&o);
    for (int i = 0; i < FRAMES * PIXELS; i++)
        if (!in_box(i))
            assert_memory_equal(lumiere_clip_data(a) + 3 * i, lumiere_clip_data(input) + 3 * (i % PIXELS), 3);
    lumiere_clip_free(&a);
    lumiere_clip_free(&input);
}

static void outpainting_keeps_the_middle(void **state) {
    (void)state;
    lumiere_clip *input = make_input(5, FRAMES, 7, 5);
    lm_task_options o = options_for(LM_TASK_OUTPAINT, input);
    o.pad = (lm_sides){4, 1, 1, 2}; // to 12 x 8
    lumiere_clip *a = run(&o);
    for (int f = 0; f < FRAMES; f++)
        for (int y = 0; y < 5; y++)
            assert_memory_equal(lumiere_clip_data(a) + (f * PIXELS + (y + 1) * WIDTH + 4) * 3,
                                lumiere_clip_data(input) + (f * 5 + y) * 21, 21);
    lumiere_clip_free(&a);
    o.generate.width = o.generate.height = 0; // the model's 8 x 8 pixels in the proportions of 16 x 4
    o.pad = (lm_sides){9, 0, 0, 0};
    lumiere_clip_free(&input);
    o.input = input = make_input(5, FRAMES, 7, 4);
    a = run(&o);
    assert_int_equal(lumiere_clip_width(a), 16);
    assert_int_equal(lumiere_clip_height(a), 4);
    lumiere_clip_free(&a);
    lumiere_clip_free(&input);
}

static void edits_start_from_the_input(void **state) {
    (void)state;
    lumiere_clip *input = make_input(6, FRAMES, WIDTH, HEIGHT);
    lm_task_options o = options_for(LM_TASK_EDIT, input);
    o.strength_set = true;
    lumiere_clip *same = run(&o);
    assert_memory_equal(lumiere_clip_data(same), lumiere_clip_data(input), BYTES);
    lumiere_clip_free(&same);
    static const struct {
        double strength;
        int steps, computed;
    } cases[] = {{0, 10, 0}, {0.001, 10, 1}, {0.3, 10, 3}, {0.31, 10, 4}, {1, 10, 10}, {0.5, 1, 1}};
    for (int i = 0; i < 6; i++) {
        lumiere_estimate e;
        o.strength = cases[i].strength;
        o.generate.steps = cases[i].steps;
        assert_int_equal(run_task_estimate(context, model, &o, &e), LUMIERE_OK);
        assert_int_equal(e.steps, cases[i].computed);
        assert_string_equal(e.fit, "12x8; 4 frames");
    }
    o.generate.steps = 4;
    o.strength = 0.02; // hardly any noise: near the input
    lumiere_clip *near = run(&o);
    o.strength = 1;
    lumiere_clip *far = run(&o);
    long distance[2] = {0};
    for (int i = 0; i < BYTES; i++) {
        distance[0] += abs(lumiere_clip_data(near)[i] - lumiere_clip_data(input)[i]);
        distance[1] += abs(lumiere_clip_data(far)[i] - lumiere_clip_data(input)[i]);
    }
    assert_in_range(distance[0], 1, distance[1] / 4);
    lumiere_clip_free(&near);
    lumiere_clip_free(&far);
    lumiere_clip_free(&input);
}

static double mean_distance(const lumiere_clip *a, const lumiere_clip *b, lm_task_kind task, bool given) {
    double sum = 0;
    int n = 0;
    for (int i = 0; i < FRAMES * PIXELS; i++) {
        bool is_given = task == LM_TASK_ANIMATE ? i < PIXELS : !in_box(i);
        for (int c = 0; c < 3 && is_given == given; c++, n++)
            sum += abs(lumiere_clip_data(a)[3 * i + c] - lumiere_clip_data(b)[3 * i + c]);
    }
    return sum / n;
}

// While sampling, the given part of the noisy clip holds what is given: in the last step a network with any weights
// finds it there under little noise. 84 is the mean distance of two inputs' random bytes.
static void the_network_finds_what_is_given_in_the_noisy_clip(void **state) {
    (void)state;
    lumiere_clip *input = make_input(12, FRAMES, WIDTH, HEIGHT);
    for (int i = 0; i < 2; i++) {
        const lm_task_kind task = i ? LM_TASK_INPAINT : LM_TASK_ANIMATE;
        lm_task_options o = options_for(task, input);
        o.no_composite = true;
        o.generate.steps = 20;
        o.strength = 1; // from noise
        lumiere_clip *a = run(&o);
        double given = mean_distance(a, input, task, true), made = mean_distance(a, input, task, false);
        if (!(given > 0 && given < 20 && made > 60)) fail_msg("distances %g (given) and %g", given, made);
        lumiere_clip_free(&a);
    }
    lumiere_clip_free(&input);
}

// The later frames of an animated picture begin as that picture under noise: the less of it, the nearer they stay.
static void pictures_move_as_far_as_the_strength_lets_them(void **state) {
    (void)state;
    static const double strengths[] = {0, 0.05, 0.5, 1};
    lumiere_clip *input = make_input(13, 1, WIDTH, HEIGHT), *still = NULL;
    lm_task_options o = options_for(LM_TASK_ANIMATE, input);
    lumiere_estimate e;
    o.generate.steps = 20;
    assert_int_equal(run_task_estimate(context, model, &o, &e), LUMIERE_OK);
    assert_int_equal(e.steps, 14); // 0.7 of them
    o.strength_set = true;
    double last = -1;
    for (int i = 0; i < 4; i++) {
        o.strength = strengths[i];
        assert_int_equal(run_task_estimate(context, model, &o, &e), LUMIERE_OK);
        assert_int_equal(e.steps, (int)(20 * strengths[i]));
        lumiere_clip *a = run(&o);
        for (int f = 0; f < FRAMES && i == 0; f++)
            assert_memory_equal(lumiere_clip_data(a) + f * PIXELS * 3, lumiere_clip_data(input), PIXELS * 3);
        if (i == 0) still = a;
        double distance = mean_distance(a, still, LM_TASK_ANIMATE, false);
        if (!(distance > last)) fail_msg("strength %g: %g, not above %g", strengths[i], distance, last);
        last = distance;
        if (i) lumiere_clip_free(&a);
    }
    lumiere_clip_free(&still);
    lumiere_clip_free(&input);
}

static void empty_masks_give_the_input_and_full_ones_text_to_video(void **state) {
    (void)state;
    const lm_box none = {0}, all = {-5, -5, 100, 100};
    lumiere_clip *input = make_input(7, FRAMES, WIDTH, HEIGHT), *free_run;
    lm_task_options o = options_for(LM_TASK_INPAINT, input);
    o.box = &none;
    lumiere_clip *a = run(&o);
    assert_memory_equal(lumiere_clip_data(a), lumiere_clip_data(input), BYTES);
    lumiere_clip_free(&a);
    o.box = &all;
    a = run(&o);
    assert_int_equal(run_generate(context, model, &o.generate, &free_run), LUMIERE_OK);
    assert_memory_equal(lumiere_clip_data(a), lumiere_clip_data(free_run), BYTES);
    lumiere_clip_free(&a);
    lumiere_clip_free(&free_run);
    lumiere_clip_free(&input);
}

// A loop needs no multiple of the network's frames, keeps what is given, and differs from the same seed without.
static void loops_take_any_length_and_task(void **state) {
    (void)state;
    for (int frames = 1; frames <= 9; frames += 4) {
        lm_generate_options o = {.prompt = "a bee", .seed = 2, .frames = frames, .steps = 3};
        lumiere_clip *open, *closed;
        assert_int_equal(run_generate(context, model, &o, &open), LUMIERE_OK);
        o.loop = true;
        assert_int_equal(run_generate(context, model, &o, &closed), LUMIERE_OK);
        assert_int_equal(lumiere_clip_frames(closed), frames);
        if (frames > 1)
            assert_memory_not_equal(lumiere_clip_data(open), lumiere_clip_data(closed), (size_t)frames * 8 * 8 * 3);
        lumiere_clip_free(&open);
        lumiere_clip_free(&closed);
    }
    lumiere_clip *input = make_input(8, FRAMES, WIDTH, HEIGHT);
    lm_task_options o = options_for(LM_TASK_INPAINT, input);
    o.generate.loop = true;
    o.generate.steps = 3;
    lumiere_clip *a = run(&o);
    assert_int_equal(differing(a, input, LM_TASK_INPAINT, true), 0);
    o.generate.loop = false;
    lumiere_clip *b = run(&o);
    assert_int_not_equal(differing(a, b, LM_TASK_INPAINT, false), 0);
    lumiere_clip_free(&a);
    lumiere_clip_free(&b);
    lumiere_clip_free(&input);
}

typedef struct watch {
    const lumiere_clip *input;
    int calls, previews, stop_at;
} watch;

static bool on_step(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    watch *w = user;
    assert_int_equal(steps, 4);
    assert_int_equal(step, ++w->calls);
    assert_true(seconds_left >= 0);
    if (preview) w->previews++;
    if (preview) assert_int_equal(differing(preview, w->input, LM_TASK_INPAINT, true), 0);
    return step != w->stop_at;
}

static void callbacks_see_steps_and_stop_them(void **state) {
    (void)state;
    lumiere_clip *input = make_input(9, FRAMES, WIDTH, HEIGHT), *clip;
    lm_task_options o = options_for(LM_TASK_INPAINT, input);
    watch w = {.input = input};
    o.generate.steps = 4;
    o.generate.preview_every = 2;
    o.generate.progress = on_step;
    o.generate.user = &w;
    clip = run(&o);
    assert_int_equal(w.calls, 4);
    assert_int_equal(w.previews, 1);
    lumiere_clip_free(&clip);
    w = (watch){.input = input, .stop_at = 2};
    assert_int_equal(run_task(context, model, &o, &clip), LUMIERE_CANCELLED);
    assert_null(clip);
    assert_int_equal(w.calls, 2);
    lumiere_clip_free(&input);
}

static void lengths_follow_the_input(void **state) {
    (void)state;
    static const struct {
        lm_task_kind task;
        int frames, asked, made;
    } cases[] = {{LM_TASK_EDIT, 3, 0, 3},    {LM_TASK_EDIT, 9, 0, 4},      {LM_TASK_EDIT, 1, 0, 4},
                 {LM_TASK_ANIMATE, 3, 0, 4}, {LM_TASK_INPAINT, 2, 11, 11}, {LM_TASK_INPAINT, 1, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lumiere_clip *input = make_input(1, cases[i].frames, WIDTH, HEIGHT);
        lm_task_options o = options_for(cases[i].task, input);
        o.generate.frames = cases[i].asked;
        lumiere_clip *clip = run(&o);
        assert_int_equal(lumiere_clip_frames(clip), cases[i].made);
        lumiere_clip_free(&clip);
        lumiere_clip_free(&input);
    }
}

static void assert_refused(const lm_task_options *o, const char *what) {
    lumiere_clip *clip;
    lumiere_estimate e;
    char *recipe;
    assert_int_equal(run_task_estimate(context, model, o, &e), LUMIERE_USAGE);
    if (!strstr(lumiere_error_message(context), what)) fail_msg("%s", lumiere_error_message(context));
    assert_int_equal(run_task(context, model, o, &clip), LUMIERE_USAGE);
    assert_null(clip);
    assert_int_equal(run_task_recipe(context, model, o, NULL, &recipe), LUMIERE_USAGE);
    assert_null(recipe);
}

static void wrong_options_are_refused(void **state) {
    (void)state;
    lumiere_clip *input = make_input(1, FRAMES, WIDTH, HEIGHT), *clip;
    lm_task_options o = options_for(LM_TASK_GENERATE, input);
    assert_refused(&o, "generate takes no \"input\"; animate does");
    o = options_for(LM_TASK_ANIMATE, NULL);
    assert_refused(&o, "animate needs a picture or clip");
    o = options_for(LM_TASK_INPAINT, input);
    o.box = NULL;
    assert_refused(&o, "inpaint: what is to be made anew? name a mask (white is made anew) or a box");
    o = options_for(LM_TASK_EDIT, input);
    o.strength = 1.1;
    assert_refused(&o, "strength");
    o.strength = -0.1;
    assert_refused(&o, "strength");
    o = options_for(LM_TASK_OUTPAINT, input);
    o.pad.right = -1;
    assert_refused(&o, "pad of -1");
    o = options_for(LM_TASK_EDIT, input);
    o.generate.prompt = NULL;
    assert_refused(&o, "no prompt");
    lumiere_clip_free(&input);
    const uint8_t pixel[3] = {0};
    assert_int_equal(lumiere_clip_create(context, 0, 1, 1, 0, pixel, &clip), LUMIERE_USAGE);
    assert_int_equal(lumiere_clip_create(context, 1, 100000, 1, 0, pixel, &clip), LUMIERE_USAGE);
    assert_int_equal(lumiere_clip_create(context, 1, 1, 1, -1, pixel, &clip), LUMIERE_USAGE);
    assert_null(clip);
}

static int set_up(void **state) {
    (void)state;
    char folder[256];
    work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    tiny_model_make(folder);
    const lumiere_context_options o = {.threads = 1};
    if (lumiere_context_create(&o, &context) != LUMIERE_OK) return -1;
    return lumiere_model_open(context, folder, &model) == LUMIERE_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    lumiere_model_free(&model);
    lumiere_context_free(&context);
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_given_is_kept_and_heard),
        cmocka_unit_test(cinemagraphs_hold_the_picture),
        cmocka_unit_test(outpainting_keeps_the_middle),
        cmocka_unit_test(edits_start_from_the_input),
        cmocka_unit_test(the_network_finds_what_is_given_in_the_noisy_clip),
        cmocka_unit_test(pictures_move_as_far_as_the_strength_lets_them),
        cmocka_unit_test(empty_masks_give_the_input_and_full_ones_text_to_video),
        cmocka_unit_test(loops_take_any_length_and_task),
        cmocka_unit_test(callbacks_see_steps_and_stop_them),
        cmocka_unit_test(lengths_follow_the_input),
        cmocka_unit_test(wrong_options_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
