// Text to video in two passes, on a tiny model with random weights: what they are, their default, progress, recipe.
#include "cli/run_options.h"
#include "cli/run_command.h"
#include "cli/tiny_model.h"
#include "cli/tiny_pair.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static tiny_pair pair;

static lumiere_clip *run(lumiere_model *m, const lm_task_options *o) {
    lumiere_clip *clip;
    if (run_task(pair.context, m, o, &clip) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(pair.context));
    return clip;
}

static bool same(const lumiere_clip *a, const lumiere_clip *b) {
    size_t n = (size_t)lumiere_clip_frames(a) * (size_t)lumiere_clip_width(a) * (size_t)lumiere_clip_height(a) * 3;
    return lumiere_clip_width(a) == lumiere_clip_width(b) && lumiere_clip_height(a) == lumiere_clip_height(b) &&
           lumiere_clip_frames(a) == lumiere_clip_frames(b) && !memcmp(lumiere_clip_data(a), lumiere_clip_data(b), n);
}

// Half the size first, then an edit of that at full size: by hand they come to the same bytes.
static void the_passes_are_a_smaller_clip_and_an_edit_of_it(void **state) {
    (void)state;
    static const int sizes[][3] = {{16, 16, 4}, {24, 10, 4}, {7, 13, 3}};
    for (int i = 0; i < 3; i++) {
        int width = sizes[i][0], height = sizes[i][1], frames = sizes[i][2];
        const lm_generate_options g = {
            .prompt = "a bee", .seed = 3, .clip = 1, .width = width, .height = height, .frames = frames, .steps = 4};
        lm_task_options both = {.generate = g}, first = {.generate = g}, second = {.generate = g};
        both.generate.refine = 0.5;
        first.generate.width /= 2;
        first.generate.height /= 2;
        lumiere_clip *made = run(pair.small, &both), *small = run(pair.small, &first);
        second.task = LM_TASK_EDIT;
        second.input = small;
        second.fit = LM_FIT_STRETCH;
        second.strength = 0.5;
        lumiere_clip *by_hand = run(pair.small, &second), *at_once;
        assert_true(same(made, by_hand));
        assert_int_equal(run_generate(pair.context, pair.small, &g, &at_once), LUMIERE_OK);
        assert_false(same(made, at_once));
        lumiere_clip_free(&made);
        lumiere_clip_free(&small);
        lumiere_clip_free(&by_hand);
        lumiere_clip_free(&at_once);
    }
}

typedef struct watch {
    int calls, steps, stop_at, previews;
} watch;

static bool on_step(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    watch *w = user;
    assert_int_equal(step, ++w->calls);
    assert_int_equal(steps, w->steps);
    assert_true(step == steps ? seconds_left == 0 : seconds_left > 0);
    w->previews += preview != NULL;
    return step != w->stop_at;
}

// Of 6 steps and 3, and of what enlarges.
static void progress_counts_both_passes(void **state) {
    (void)state;
    watch w = {.steps = 9};
    lm_generate_options o = {.prompt = "a bee", .width = 16, .height = 16, .steps = 6, .refine = 0.5};
    lumiere_clip *clip;
    lumiere_estimate e, small;
    o.progress = on_step;
    o.preview_every = 2;
    o.user = &w;
    assert_int_equal(run_generate(pair.context, pair.small, &o, &clip), LUMIERE_OK);
    assert_int_equal(w.calls, 9);
    assert_int_equal(w.previews, 2 + 1);
    lumiere_clip_free(&clip);
    assert_int_equal(run_generate_estimate(pair.context, pair.small, &o, &e), LUMIERE_OK);
    assert_int_equal(e.steps, 9);
    assert_int_equal(e.width, 16);
    assert_string_equal(e.fit, "");
    o.refine = 0;
    assert_int_equal(run_generate_estimate(pair.context, pair.small, &o, &small), LUMIERE_OK);
    assert_true(e.flops > 0.5 * small.flops && e.flops < small.flops); // a half and a quarter
    o.refine = 0.5;
    for (int stop = 4; stop <= 8; stop += 4) {
        w = (watch){.steps = 9, .stop_at = stop};
        assert_int_equal(run_generate(pair.context, pair.small, &o, &clip), LUMIERE_CANCELLED);
        assert_null(clip);
        assert_int_equal(w.calls, stop);
    }
    w = (watch){.steps = 9 + 8}; // super-resolution's usual steps, one window
    assert_int_equal(run_generate(pair.context, pair.large, &o, &clip), LUMIERE_OK);
    assert_int_equal(w.calls, 17);
    assert_int_equal(lumiere_clip_width(clip), 64);
    lumiere_clip_free(&clip);
}

// "refine" in a model's defaults holds for clips whose sides have 64 pixels or more, unless it is set.
static void the_default_is_the_models(void **state) {
    (void)state;
    char path[512];
    lumiere_model *m;
    lumiere_estimate e;
    snprintf(path, sizeof path, "%s/refining", pair.work);
    tiny_model_make(path);
    strcat(path, "/model.json");
    json_t *json = json_load_file(path, 0, NULL);
    json_object_set_new(json_object_get(json, "defaults"), "refine", json_real(0.25));
    assert_int_equal(json_dump_file(json, path, 0), 0);
    json_decref(json);
    *strrchr(path, '/') = 0;
    assert_int_equal(lumiere_model_open(pair.context, path, &m), LUMIERE_OK);
    static const struct {
        int width, height, steps;
        double refine;
        bool set;
        const char *recipe;
    } cases[] = {{64, 64, 10, 0, false, "\"refine\":0.25"},
                 {80, 63, 8, 0, false, "\"refine\":0.0"},
                 {64, 64, 8, 0, true, "\"refine\":0.0"},
                 {8, 8, 12, 0.5, false, "\"refine\":0.5"}};
    for (int i = 0; i < 4; i++) {
        const lm_generate_options o = {.prompt = "a bee",
                                       .steps = 8,
                                       .width = cases[i].width,
                                       .height = cases[i].height,
                                       .refine = cases[i].refine,
                                       .refine_set = cases[i].set};
        char *recipe;
        assert_int_equal(run_generate_estimate(pair.context, m, &o, &e), LUMIERE_OK);
        assert_int_equal(e.steps, cases[i].steps);
        assert_int_equal(run_generate_recipe(pair.context, m, &o, NULL, &recipe), LUMIERE_OK);
        if (!strstr(recipe, cases[i].recipe)) fail_msg("case %d: %s", i, recipe);
        lumiere_string_free(&recipe);
    }
    lumiere_model_free(&m);
}

static void what_is_wrong_is_refused(void **state) {
    (void)state;
    lm_generate_options o = {.prompt = "a bee", .refine = 1.5};
    lumiere_clip *clip;
    assert_int_equal(run_generate(pair.context, pair.small, &o, &clip), LUMIERE_USAGE);
    assert_non_null(strstr(lumiere_error_message(pair.context), "refine is \"1.5\"; it must be a number from 0 to 1"));
    o.refine = 0.5;
    const uint8_t grey[8 * 8 * 3] = {0};
    lumiere_clip *input;
    assert_int_equal(lumiere_clip_create(pair.context, 1, 8, 8, 8, grey, &input), LUMIERE_OK);
    const lm_task_options task = {.generate = o, .task = LM_TASK_ANIMATE, .input = input};
    assert_int_equal(run_task(pair.context, pair.small, &task, &clip), LUMIERE_USAGE);
    assert_non_null(strstr(lumiere_error_message(pair.context), "animate takes no \"refine\"; generate does"));
    lumiere_clip_free(&input);
}

// The command, and its recipe, which makes the same bytes again.
static void recipes_make_the_same_clip(void **state) {
    (void)state;
    command_result r;
    char path[512], recipe[4096];
    RUN(&r, pair.work, "generate", "a bee", "-m", pair.small_path, "-W", "16", "-H", "16", "--refine", "0.75", "-s",
        "5", "-o", "a.npy", "-q");
    expect_done(&r);
    RUN(&r, pair.work, "inspect", "a.npy", "--as-args");
    expect_done(&r);
    assert_non_null(strstr(r.out, "--refine=0.75"));
    RUN(&r, pair.work, "generate", "a bee", "-m", pair.small_path, "-W", "16", "-H", "16", "--refine=0.75", "-s", "5",
        "-o", "b.npy", "-q");
    expect_done(&r);
    char again[512];
    snprintf(path, sizeof path, "%s/a.npy", pair.work);
    snprintf(again, sizeof again, "%s/b.npy", pair.work);
    assert_true(same_bytes(path, again));
    strcat(path, ".json");
    assert_true(read_text(path, recipe, sizeof recipe));
    assert_non_null(strstr(recipe, "\"refine\": 0.75"));
    RUN(&r, pair.work, "generate", "a bee", "-m", pair.small_path, "--refine", "2", "-o", "c.npy");
    expect_refused(&r, 2, "--refine");
    RUN(&r, pair.work, "animate", "a.npy", "a bee", "-m", pair.small_path, "--refine", "0.5", "-o", "c.npy");
    expect_refused(&r, 2, "--refine");
}

static int set_up(void **state) {
    (void)state;
    tiny_pair_open(&pair, 2);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tiny_pair_close(&pair);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_passes_are_a_smaller_clip_and_an_edit_of_it),
        cmocka_unit_test(progress_counts_both_passes),
        cmocka_unit_test(the_default_is_the_models),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(recipes_make_the_same_clip),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
