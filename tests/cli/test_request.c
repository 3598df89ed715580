// Requests through the C interface: set by texts, JSON and clips, resolved, estimated, described, run and made again
// from their recipes.
#include "cli/tiny_model.h"
#include "lumiere/lumiere.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *work, folder[300];
static lumiere_context *context;
static lumiere_model *model;

static lumiere_request *request(const char *task, const char *json) {
    lumiere_request *r;
    assert_int_equal(lumiere_request_create(task, &r), LUMIERE_OK);
    if (json && lumiere_request_set_json(r, json) != LUMIERE_OK) fail_msg("%s", lumiere_request_error(r));
    return r;
}

static void set(lumiere_request *r, const char *name, const char *text) {
    if (lumiere_request_set(r, name, text) != LUMIERE_OK) fail_msg("%s", lumiere_request_error(r));
}

static lumiere_clip *make_input(int frames) {
    static uint8_t pixels[9 * 12 * 8 * 3];
    lumiere_clip *clip;
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 2654435761u >> 16);
    assert_int_equal(lumiere_clip_create(context, frames, 12, 8, 8, pixels, &clip), LUMIERE_OK);
    return clip;
}

static lumiere_clip *run(lumiere_request *r, lumiere_model *m) {
    lumiere_clip *clip;
    if (lumiere_request_run(r, m, &clip) != LUMIERE_OK) fail_msg("%s", lumiere_request_error(r));
    return clip;
}

static void expect_same(const lumiere_clip *a, const lumiere_clip *b) {
    char x[17], y[17];
    lumiere_clip_hash(a, x);
    lumiere_clip_hash(b, y);
    assert_string_equal(x, y);
}

#define EXPECT(r, name, text) assert_string_equal(lumiere_request_get(r, name), text)

static void the_header_is_the_library(void **state) {
    (void)state;
    char text[40];
    int n = lumiere_version_number();
    assert_int_equal(n, LUMIERE_VERSION_NUMBER);
    snprintf(text, sizeof text, "%d.%d.%d", n / 1000000, n / 1000 % 1000, n % 1000);
    assert_string_equal(text, lumiere_version());
}

static void what_is_left_open_is_filled_in(void **state) {
    (void)state;
    lumiere_request *r = request("generate", "{\"prompt\":\"a bee\",\"steps\":3}");
    assert_string_equal(lumiere_request_task(r), "generate");
    assert_null(lumiere_request_get(r, "frames"));
    assert_null(lumiere_request_get(r, "seed"));
    assert_null(lumiere_request_get(r, "pad"));
    EXPECT(r, "dynamic_threshold", "0"); // a preset
    assert_true(lumiere_request_has(r, "steps") && !lumiere_request_has(r, "frames"));
    assert_int_equal(lumiere_request_resolve(r, model), LUMIERE_OK);
    EXPECT(r, "steps", "3");
    EXPECT(r, "num_inference_steps", "3");
    EXPECT(r, "--steps", "3");
    EXPECT(r, "frames", "4");
    EXPECT(r, "width", "8");
    EXPECT(r, "fps", "8");
    EXPECT(r, "cfg_scale", "3");
    EXPECT(r, "sampler", "dpmpp_2m");
    EXPECT(r, "upscale", "true");
    assert_false(lumiere_request_has(r, "frames"));
    char *seed = strdup(lumiere_request_get(r, "seed")), *json;
    assert_int_equal(lumiere_request_resolve(r, model), LUMIERE_OK);
    EXPECT(r, "seed", seed); // chosen once
    assert_int_equal(lumiere_request_json(r, &json), LUMIERE_OK);
    lumiere_request *same = request("generate", json); // all of it can be set again
    assert_int_equal(lumiere_request_resolve(same, model), LUMIERE_OK);
    EXPECT(same, "seed", seed);
    set(r, "width", "9"); // what was resolved is gone
    assert_null(lumiere_request_get(r, "frames"));
    free(seed);
    lumiere_string_free(&json);
    lumiere_request_free(&same);
    lumiere_request_free(&r);
    lumiere_request_free(&r);
}

static void seeds_left_out_differ(void **state) {
    (void)state;
    char seeds[3][32];
    for (int i = 0; i < 3; i++) {
        lumiere_request *r = request("generate", "{\"prompt\":\"a bee\"}");
        if (i == 1) set(r, "seed", "-1");
        assert_int_equal(lumiere_request_resolve(r, model), LUMIERE_OK);
        snprintf(seeds[i], sizeof seeds[i], "%s", lumiere_request_get(r, "seed"));
        lumiere_request_free(&r);
    }
    assert_string_not_equal(seeds[0], seeds[1]); // once in 2^32 that fails
    assert_string_not_equal(seeds[1], seeds[2]);
}

static void runs_are_estimated_described_and_made_again(void **state) {
    (void)state;
    static const char *const settings[][2] = {
        {"generate", "{\"prompt\":\"a bee\",\"cfg_scale\":0,\"sampler\":\"ddim\",\"loop\":true}"},
        {"stylize", "{\"prompt\":\"a bee\",\"style\":\"wild\",\"style_alpha\":0.25}"},
        {"animate", "{\"prompt\":\"a bee\",\"strength\":0.5,\"no_composite\":true}"},
        {"inpaint",
         "{\"prompt\":\"a bee\",\"box\":[3,2,5,4],\"feather\":1.5,\"fit\":\"pad\",\"background\":\"#102030\"}"},
        {"outpaint", "{\"prompt\":\"a bee\",\"pad\":[4,0,4,2]}"},
        {"cinemagraph", "{\"prompt\":\"a bee\",\"box\":[3,2,5,4],\"num_frames\":3}"},
        {"edit", "{\"prompt\":\"a bee\",\"fit\":\"stretch\",\"width\":9,\"height\":5}"},
        {"upscale", "{\"prompt\":\"a bee\",\"steps\":1,\"noise_level\":0.02,\"tile\":16,\"window\":3,\"overlap\":0}"}};
    lumiere_clip *input = make_input(5);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        lumiere_request *r = request(settings[i][0], settings[i][1]), *again;
        lumiere_estimate e;
        char *recipe, *other;
        bool given = lumiere_setting_find(settings[i][0], "input") != NULL;
        if (given) assert_int_equal(lumiere_request_set_clip(r, "input", input), LUMIERE_OK);
        if (lumiere_request_estimate(r, model, &e) != LUMIERE_OK) fail_msg("%s", lumiere_request_error(r));
        assert_true(e.seconds > 0 && e.bytes > 0);
        if (lumiere_request_describe(r, model, "{\"who\":\"me\"}", &recipe) != LUMIERE_OK)
            fail_msg("%s", lumiere_request_error(r));
        assert_non_null(strstr(recipe, "\"who\":\"me\""));
        lumiere_clip *clip = run(r, model);
        assert_int_equal(lumiere_clip_width(clip), e.width);
        assert_int_equal(lumiere_clip_frames(clip), e.frames);
        if (lumiere_request_create_from(recipe, &again) != LUMIERE_OK)
            fail_msg("%s: %s", recipe, lumiere_request_error(again));
        if (given) assert_int_equal(lumiere_request_set_clip(again, "input", input), LUMIERE_OK);
        lumiere_clip *second = run(again, model);
        expect_same(clip, second);
        assert_int_equal(lumiere_request_describe(again, model, "{\"who\":\"me\"}", &other), LUMIERE_OK);
        assert_string_equal(recipe, other);
        lumiere_string_free(&recipe);
        lumiere_string_free(&other);
        lumiere_clip_free(&clip);
        lumiere_clip_free(&second);
        lumiere_request_free(&r);
        lumiere_request_free(&again);
    }
    lumiere_clip_free(&input);
}

// One request of all, with one model and another, is not changed by them.
static void a_request_belongs_to_no_model(void **state) {
    (void)state;
    const lumiere_context_options bf16 = {.threads = 1, .precision = "bf16"};
    lumiere_context *c;
    lumiere_model *m;
    char *first, *second, *third;
    assert_int_equal(lumiere_context_create(&bf16, &c), LUMIERE_OK);
    assert_int_equal(lumiere_model_open(c, folder, &m), LUMIERE_OK);
    lumiere_request *r = request("generate", "{\"prompt\":\"a bee\",\"seed\":1}");
    assert_int_equal(lumiere_request_describe(r, model, NULL, &first), LUMIERE_OK);
    assert_int_equal(lumiere_request_describe(r, m, NULL, &second), LUMIERE_OK);
    lumiere_context_free(&c);
    lumiere_clip *a = run(r, model), *b = run(r, m);
    assert_int_equal(lumiere_request_describe(r, model, NULL, &third), LUMIERE_OK);
    assert_string_equal(first, third);
    lumiere_clip_free(&a);
    lumiere_clip_free(&b);
    lumiere_string_free(&first);
    lumiere_string_free(&second);
    lumiere_string_free(&third);
    lumiere_model_free(&m);
    lumiere_request_free(&r);
}

static void expect_precision(lumiere_request *r, lumiere_model *m, const char *name) {
    char *text;
    assert_int_equal(lumiere_request_describe(r, m, NULL, &text), LUMIERE_OK);
    json_t *recipe = json_loads(text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(recipe, "precision")), name);
    json_decref(recipe);
    lumiere_string_free(&text);
}

// A model computes in the precision of the context that it was opened in, whatever others there are.
static void recipes_name_the_precision_that_is_used(void **state) {
    (void)state;
    static const char *const names[] = {"fp32", "bf16"};
    lumiere_context *c[2];
    lumiere_model *m[2];
    lumiere_clip *input = make_input(1), *clips[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lumiere_context_create(&(lumiere_context_options){.precision = names[i]}, &c[i]), LUMIERE_OK);
        assert_int_equal(lumiere_model_open(c[i], folder, &m[i]), LUMIERE_OK);
    }
    lumiere_request *r = request("generate", "{\"prompt\":\"a bee\",\"seed\":1}"), *u = request("upscale", NULL);
    assert_int_equal(lumiere_request_set_clip(u, "input", input), LUMIERE_OK);
    for (int i = 0; i < 2; i++) {
        expect_precision(r, m[i], names[i]);
        expect_precision(u, m[i], names[i]);
        clips[i] = run(r, m[i]);
    }
    const size_t n = (size_t)lumiere_clip_frames(clips[0]) * 32 * 32 * 3;
    assert_memory_not_equal(lumiere_clip_data(clips[0]), lumiere_clip_data(clips[1]), n);
    for (int i = 0; i < 2; i++) {
        lumiere_clip_free(&clips[i]);
        lumiere_model_free(&m[i]);
        lumiere_context_free(&c[i]);
    }
    lumiere_clip_free(&input);
    lumiere_request_free(&r);
    lumiere_request_free(&u);
}

static void expect_refused(lumiere_request *r, lumiere_status found, lumiere_status status, const char *message) {
    const char *text = lumiere_request_error(r);
    if (found != status || !strstr(text, message)) fail_msg("%d, \"%s\"; not %d, \"%s\"", found, text, status, message);
    assert_null(strchr(text, '\n'));
}

static void errors_belong_to_the_request(void **state) {
    (void)state;
    lumiere_request *r = request("inpaint", "{\"prompt\":\"a bee\"}"), *other = request("generate", NULL), *none;
    expect_refused(r, lumiere_request_set(r, "steps", "0"), LUMIERE_USAGE,
                   "steps is \"0\"; it must be a whole number from 1 to 1000");
    assert_string_equal(lumiere_request_error(other), "");
    assert_string_equal(lumiere_error_message(context), "");
    expect_refused(r, lumiere_request_set(r, "--steps", "0"), LUMIERE_USAGE, "--steps is \"0\"");
    expect_refused(r, lumiere_request_set(r, "stepz", "1"), LUMIERE_USAGE, "inpaint has no setting \"stepz\"; it has ");
    expect_refused(r, lumiere_request_set(r, NULL, "1"), LUMIERE_USAGE, "a setting needs a name and a value");
    expect_refused(r, lumiere_request_set(r, "steps", NULL), LUMIERE_USAGE, "a setting needs a name and a value");
    expect_refused(r, lumiere_request_set_json(r, "{\"steps\":1,"), LUMIERE_USAGE, "the settings are no JSON: line 1");
    expect_refused(r, lumiere_request_set_json(r, NULL), LUMIERE_USAGE, "the settings are no JSON");
    expect_refused(r, lumiere_request_set_json(r, "{\"steps\":1,\"steps\":2}"), LUMIERE_USAGE, "no JSON");
    expect_refused(r, lumiere_request_set_clip(r, "steps", NULL), LUMIERE_USAGE, "\"steps\" is no clip");
    expect_refused(r, lumiere_request_unset(r, "pad"), LUMIERE_USAGE, "inpaint takes no \"pad\"; outpaint does");
    expect_refused(r, lumiere_request_read_clip(r, model, "input", "none.mp4"), LUMIERE_MEDIA, "none.mp4");
    expect_refused(r, lumiere_request_resolve(r, NULL), LUMIERE_USAGE, "what is to be made anew? name a mask");
    set(r, "box", "1,1,2,2");
    assert_string_equal(lumiere_request_error(r), "");
    expect_refused(r, lumiere_request_resolve(r, model), LUMIERE_USAGE, "inpaint needs a picture or clip");
    expect_refused(r, lumiere_request_create("paint", &none), LUMIERE_USAGE, "");
    assert_string_equal(lumiere_request_error(none),
                        "there is no task \"paint\"; generate, animate, inpaint, outpaint, "
                        "cinemagraph, edit, stylize and upscale are");
    lumiere_request_free(&none);
    expect_refused(r, lumiere_request_create_from("{\"task\":1}", &none), LUMIERE_USAGE, "");
    assert_non_null(strstr(lumiere_request_error(none), "there is no task"));
    lumiere_request_free(&none);
    expect_refused(r, lumiere_request_create_from("7", &none), LUMIERE_USAGE, "");
    assert_non_null(strstr(lumiere_request_error(none), "this is no recipe"));
    lumiere_request_free(&none);
    lumiere_request_free(&r);
    lumiere_request_free(&other);
}

static void contradictions_are_refused_without_a_model(void **state) {
    (void)state;
    static const struct {
        const char *task, *json, *message;
    } cases[] = {
        {"generate", "{\"prompt\":\"a\",\"upscale\":true,\"no_upscale\":true}", "upscale and no_upscale; give one"},
        {"stylize", "{\"prompt\":\"a\"}", "stylize: no style; name one of the model's with style"},
        {"edit", "{\"style\":[\"a\",\"b\"],\"style_alpha\":[1]}", "1 style_alpha and 2 style; give one for each"},
        {"edit", "{\"style\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]}", "9 styles; at most 8"},
        {"outpaint", "{}", "outpaint: how far beyond the input? give pad l,t,r,b"},
        {"inpaint", "{\"box\":[0,0,1,1],\"mask\":\"m.png\"}", "both mask and box; give one"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lumiere_request *r = request(cases[i].task, cases[i].json);
        expect_refused(r, lumiere_request_resolve(r, NULL), LUMIERE_USAGE, cases[i].message);
        lumiere_request_free(&r);
    }
    lumiere_request *r = request("generate", NULL);
    assert_int_equal(lumiere_request_resolve(r, NULL), LUMIERE_OK);
    expect_refused(r, lumiere_request_resolve(r, model), LUMIERE_USAGE, "no prompt");
    lumiere_request_free(&r);
}

// The request holds its clip: the caller may free it, give it twice, and take it away again.
static void clips_are_held(void **state) {
    (void)state;
    char before[17], after[17];
    lumiere_clip *input = make_input(3);
    lumiere_request *r = request("edit", "{\"prompt\":\"a bee\",\"strength\":0}"), *other = request("edit", NULL);
    lumiere_clip_hash(input, before);
    assert_null(lumiere_request_clip(r, "input"));
    assert_int_equal(lumiere_request_set_clip(r, "input", input), LUMIERE_OK);
    assert_int_equal(lumiere_request_set_clip(r, "input", input), LUMIERE_OK);
    assert_int_equal(lumiere_request_set_clip(other, "image", input), LUMIERE_OK);
    assert_true(lumiere_request_has(r, "input"));
    lumiere_clip_free(&input);
    lumiere_request_free(&other);
    lumiere_clip_hash(lumiere_request_clip(r, "input"), after);
    assert_string_equal(before, after);
    set(r, "width", "12");
    set(r, "height", "8");
    lumiere_clip *clip = run(r, model); // of no strength: the input itself
    lumiere_clip_hash(clip, after);
    assert_string_equal(before, after);
    assert_int_equal(lumiere_request_set_clip(r, "input", clip), LUMIERE_OK); // its own result
    lumiere_clip_free(&clip);
    clip = run(r, model);
    lumiere_clip_free(&clip);
    assert_int_equal(lumiere_request_set_clip(r, "input", NULL), LUMIERE_OK);
    assert_false(lumiere_request_has(r, "input"));
    assert_int_equal(lumiere_request_run(r, model, &clip), LUMIERE_USAGE);
    assert_null(clip);
    lumiere_request_free(&r);
}

static void clips_are_read_as_the_task_needs_them(void **state) {
    (void)state;
    char path[400];
    char *recipe;
    lumiere_clip *clip = make_input(9);
    snprintf(path, sizeof path, "%s/in.mp4", work);
    if (lumiere_clip_write(context, clip, path, NULL) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(context));
    lumiere_clip_free(&clip);
    lumiere_request *r = request("animate", "{\"prompt\":\"a bee\",\"seed\":1}");
    assert_int_equal(lumiere_request_read_clip(r, model, "--input", path), LUMIERE_OK);
    assert_int_equal(lumiere_clip_frames(lumiere_request_clip(r, "input")), 1);
    EXPECT(r, "input", path);
    assert_int_equal(lumiere_request_describe(r, model, NULL, &recipe), LUMIERE_OK);
    assert_non_null(strstr(recipe, "in.mp4"));
    lumiere_string_free(&recipe);
    lumiere_request_free(&r);
    r = request("upscale", NULL);
    assert_int_equal(lumiere_request_read_clip(r, NULL, "input", path), LUMIERE_OK);
    assert_int_equal(lumiere_clip_frames(lumiere_request_clip(r, "input")), 9);
    lumiere_request_free(&r);
}

static void styles_are_the_request_s(void **state) {
    (void)state;
    lumiere_request *plain = request("generate", "{\"prompt\":\"a bee\",\"seed\":1,\"no_upscale\":true}");
    lumiere_request *wild =
        request("generate", "{\"prompt\":\"a bee\",\"seed\":1,\"no_upscale\":true,\"style\":\"wild\"}");
    lumiere_clip *a = run(plain, model), *b = run(wild, model), *c = run(plain, model), *d = run(wild, model);
    char x[17], y[17];
    expect_same(a, c);
    expect_same(b, d);
    lumiere_clip_hash(a, x);
    lumiere_clip_hash(b, y);
    assert_string_not_equal(x, y);
    EXPECT(wild, "style_alpha", "[0.69999999999999996]");
    assert_int_equal(lumiere_request_unset(wild, "style"), LUMIERE_OK);
    lumiere_clip_free(&d);
    d = run(wild, model);
    expect_same(a, d);
    set(wild, "style", "flat");
    lumiere_clip_free(&d);
    expect_refused(wild, lumiere_request_run(wild, model, &d), LUMIERE_USAGE, "has no style \"flat\"; it has wild");
    assert_null(d);
    lumiere_clip_free(&a);
    lumiere_clip_free(&b);
    lumiere_clip_free(&c);
    lumiere_request_free(&plain);
    lumiere_request_free(&wild);
}

typedef struct seen {
    int steps, previews, bases;
} seen;

static bool on_step(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview) {
    seen *s = user;
    (void)step, (void)steps, (void)seconds_left;
    s->steps++;
    s->previews += preview != NULL;
    return true;
}

static bool on_base(void *user, const lumiere_clip *clip) {
    int *bases = user;
    assert_int_equal(lumiere_clip_width(clip), 8);
    ++*bases;
    return false;
}

static void callbacks_have_their_own_users(void **state) {
    (void)state;
    seen s = {0};
    int bases = 0;
    lumiere_clip *clip;
    lumiere_request *r = request("generate", "{\"prompt\":\"a bee\",\"steps\":3,\"preview_every\":1,\"refine\":0}");
    lumiere_request_on_progress(r, on_step, &s);
    lumiere_request_on_base(r, on_base, &bases);
    expect_refused(r, lumiere_request_run(r, model, &clip), LUMIERE_CANCELLED, "stopped before the enlargement");
    assert_null(clip);
    assert_true(s.steps == 3 && s.previews == 2 && bases == 1);
    lumiere_request_free(&r);
}

static int set_up(void **state) {
    (void)state;
    char style[400];
    unsetenv("LUMIERE_MODEL");
    work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    snprintf(style, sizeof style, "%s/wild.safetensors", folder);
    tiny_model_make(folder);
    tiny_model_add_ssr(folder);
    tiny_model_write_style(folder, style);
    tiny_model_name_style(folder, "wild", "wild.safetensors");
    const lumiere_context_options o = {.threads = 1, .precision = "fp32"};
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
        cmocka_unit_test(the_header_is_the_library),
        cmocka_unit_test(what_is_left_open_is_filled_in),
        cmocka_unit_test(seeds_left_out_differ),
        cmocka_unit_test(runs_are_estimated_described_and_made_again),
        cmocka_unit_test(a_request_belongs_to_no_model),
        cmocka_unit_test(recipes_name_the_precision_that_is_used),
        cmocka_unit_test(errors_belong_to_the_request),
        cmocka_unit_test(contradictions_are_refused_without_a_model),
        cmocka_unit_test(clips_are_held),
        cmocka_unit_test(clips_are_read_as_the_task_needs_them),
        cmocka_unit_test(styles_are_the_request_s),
        cmocka_unit_test(callbacks_have_their_own_users),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
