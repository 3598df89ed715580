// Styles of a model, through the library and as a user meets them: what they do to the weights, what is refused, sheets
// over alphas, recipes that make the same bytes.
#include "cli/clip_files.h"
#include "cli/run_options.h"
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include "base/memory.h"
#include "base/random.h"
#include "pipeline/context.h"
#include "net/network.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char *work, folder[256], chalk[400], ink[400];
static command_result r;
static lumiere_context *c;
static lumiere_model *m;
static lm_param_block original;
static float *chalky, *inky; // the weights that the two styles were made from

// The original with every image layer moved by noise of a size.
static float *moved(uint32_t item, float by) {
    float *out = lm_alloc((size_t)original.count, sizeof *out);
    assert_non_null(out);
    lm_random_normal(out, original.count, 11, LM_FOR_TEST, item, 0, 0);
    for (int64_t i = 0; i < original.count; i++) out[i] = original.data[i] + by * out[i];
    return out;
}

static void write_style(const char *path, const char *name, const float *styled, const float *base) {
    lm_error e = {0};
    const lm_style_facts facts = {.name = name, .licence = "MIT", .made_from = "2 pictures", .rank = 0};
    if (lm_style_write(&e, path, original.slots, original.slot_count, lm_unet_is_inflation, styled, base, &facts))
        fail_msg("%s", e.text);
}

static float *weights(void) {
    lm_error e = {0};
    const size_t count = (size_t)lm_weights_count(m->weights);
    float *out = lm_alloc(count, sizeof *out);
    assert_int_equal(m->device->backend->download(&e, m->device, out, lm_weights_params(m->weights), count * 4), LM_OK);
    return out;
}

static float *weights_with(const lm_style_asked *styles, int count) {
    if (run_set_styles(c, m, styles, count) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
    return weights();
}

static bool is_original(void) {
    float *w = weights();
    bool same = !memcmp(w, original.data, (size_t)original.count * sizeof *w);
    lm_free(w);
    return same;
}

static void no_style_and_alpha_zero_are_the_original(void **state) {
    (void)state;
    assert_true(is_original());
    lm_free(weights_with(&(lm_style_asked){.style = chalk, .alpha = 0}, 1));
    assert_true(is_original());
    lm_free(weights_with(&(lm_style_asked){.style = chalk, .alpha = 1}, 1));
    assert_false(is_original());
    lm_free(weights_with(NULL, 0));
    assert_true(is_original());
}

static int64_t elements(const lm_slot *s) {
    int64_t n = 1;
    for (int i = 0; i < s->rank; i++) n *= s->dim[i];
    return n;
}

static void alpha_one_is_the_style_and_temporal_layers_stay(void **state) {
    (void)state;
    float *w = weights_with(&(lm_style_asked){.style = chalk, .alpha = 1}, 1);
    int styled = 0, kept = 0;
    for (int i = 0; i < original.slot_count; i++) {
        const lm_slot *s = &original.slots[i];
        double largest = 0;
        for (int64_t k = s->offset; k < s->offset + elements(s); k++)
            largest = fmax(largest, fabs((double)chalky[k] - (double)original.data[k]));
        bool temporal = lm_unet_is_inflation(s->name);
        *(temporal ? &kept : &styled) += 1;
        for (int64_t k = s->offset; k < s->offset + elements(s); k++)
            if (temporal ? w[k] != original.data[k] : fabs((double)w[k] - (double)chalky[k]) > largest / 253 + 1e-6)
                fail_msg("%s: %g, not %g", s->name, (double)w[k], (double)(temporal ? original.data[k] : chalky[k]));
    }
    assert_true(styled > 20 && kept > 20);
    lm_free(w);
    lm_free(weights_with(NULL, 0));
}

static void weights_are_linear_in_alpha_and_styles_mix(void **state) {
    (void)state;
    float *a = weights_with(&(lm_style_asked){.style = chalk, .alpha = 1}, 1);
    float *b = weights_with(&(lm_style_asked){.style = ink, .alpha = 1}, 1);
    float *third = weights_with(&(lm_style_asked){.style = chalk, .alpha = 0.3}, 1);
    float *both = weights_with((lm_style_asked[]){{chalk, 0.6, NULL}, {ink, 0.25, NULL}}, 2);
    float *turned = weights_with((lm_style_asked[]){{ink, 0.25, NULL}, {chalk, 0.6, NULL}}, 2);
    for (int64_t i = 0; i < original.count; i++) {
        double w = (double)original.data[i], x = (double)a[i], y = (double)b[i];
        assert_true(fabs((double)third[i] - (0.3 * x + 0.7 * w)) < 1e-6);
        assert_true(fabs((double)both[i] - (w + 0.6 * (x - w) + 0.25 * (y - w))) < 1e-6);
        assert_true(fabs((double)both[i] - (double)turned[i]) < 1e-6);
    }
    lm_free(a);
    lm_free(b);
    lm_free(third);
    lm_free(both);
    lm_free(turned);
    lm_free(weights_with(NULL, 0));
}

// Of what a request makes, in a style unless that is NULL.
static void hash_of_a_clip(const char *style, const char *alpha, char out[17]) {
    lumiere_clip *clip;
    lumiere_request *q;
    assert_int_equal(lumiere_request_create("generate", &q), LUMIERE_OK);
    assert_int_equal(lumiere_request_set_json(q, "{\"prompt\":\"a bee\",\"seed\":3}"), LUMIERE_OK);
    if (style) assert_int_equal(lumiere_request_set(q, "style", style), LUMIERE_OK);
    if (alpha) assert_int_equal(lumiere_request_set(q, "style_alpha", alpha), LUMIERE_OK);
    if (lumiere_request_run(q, m, &clip) != LUMIERE_OK) fail_msg("%s", lumiere_request_error(q));
    lumiere_clip_hash(clip, out);
    lumiere_clip_free(&clip);
    lumiere_request_free(&q);
}

static void clips_follow_the_style(void **state) {
    (void)state;
    char plain[17], styled[17], less[17], again[17];
    hash_of_a_clip(NULL, NULL, plain);
    hash_of_a_clip(chalk, NULL, styled); // with a plan that has packed the weights
    assert_string_not_equal(plain, styled);
    hash_of_a_clip(chalk, "0.7", again);
    assert_string_equal(styled, again);
    hash_of_a_clip(chalk, "0.2", less);
    assert_string_not_equal(styled, less);
    hash_of_a_clip(NULL, NULL, again);
    assert_string_equal(plain, again);
    assert_true(is_original());
}

static void refuse(lumiere_status status, const lm_style_asked *styles, int count, const char *what) {
    lumiere_status found = run_set_styles(c, m, styles, count);
    const char *text = lumiere_error_message(c);
    if (found != status || !strstr(text, what)) fail_msg("%d, \"%s\"; not %d, \"%s\"", found, text, status, what);
    assert_null(strchr(text, '\n'));
}

static void what_can_not_be_is_refused_and_changes_nothing(void **state) {
    (void)state;
    char other[300], cut[300];
    snprintf(other, sizeof other, "%s/other.safetensors", work);
    snprintf(cut, sizeof cut, "%s/cut.safetensors", work);
    write_style(other, "other", chalky, inky); // of another base
    write_style(cut, "cut", chalky, original.data);
    assert_int_equal(truncate(cut, 5000), 0);
    float *before = weights_with(&(lm_style_asked){.style = chalk, .alpha = 0.5}, 1);
    const lm_style_asked many[LM_MOST_STYLES + 1] = {{chalk, 0.1, NULL}};
    refuse(LUMIERE_USAGE, &(lm_style_asked){chalk, -0.1, NULL}, 1, "0 (none of it) to 1 are possible");
    refuse(LUMIERE_USAGE, &(lm_style_asked){chalk, 1.1, NULL}, 1, "is 1.1; 0 (none of it)");
    refuse(LUMIERE_USAGE, &(lm_style_asked){chalk, (double)NAN, NULL}, 1, "is nan");
    refuse(LUMIERE_USAGE, &(lm_style_asked){"flat", 1, NULL}, 1, "has no style \"flat\"; it has chalk-2");
    refuse(LUMIERE_USAGE, &(lm_style_asked){NULL, 1, NULL}, 1, "a style without a name");
    refuse(LUMIERE_USAGE, many, LM_MOST_STYLES + 1, "9 styles; 0 to 8 are possible");
    refuse(LUMIERE_USAGE, many, -1, "-1 styles");
    refuse(LUMIERE_MODEL, &(lm_style_asked){other, 1, NULL}, 1, "the style 'other' was made for another base network");
    refuse(LUMIERE_MODEL, &(lm_style_asked){cut, 1, NULL}, 1, "cut.safetensors");
    refuse(LUMIERE_MODEL, &(lm_style_asked){"none.safetensors", 1, NULL}, 1, "can't read 'none.safetensors'");
    refuse(LUMIERE_MODEL, &(lm_style_asked){"/nowhere/none", 1, NULL}, 1, "can't read");
    refuse(LUMIERE_MODEL, &(lm_style_asked){chalk, 1, "0123456789abcdef"}, 1, "its hash is ");
    refuse(LUMIERE_MODEL, (lm_style_asked[]){{chalk, 1, NULL}, {other, 1, NULL}}, 2, "another base");
    float *after = weights();
    assert_memory_equal(before, after, (size_t)original.count * sizeof *after);
    assert_int_equal(m->style_count, 1);
    assert_true(m->styles[0].alpha == 0.5);
    lm_free(before);
    lm_free(after);
    lm_free(weights_with(NULL, 0));
}

// ---- the commands ----

#define STYLIZE(...) RUN(&r, work, "stylize", "--model", folder, "--threads", "1", "-q", __VA_ARGS__)

static void wrong_arguments_end_with_one_line(void **state) {
    (void)state;
    char base[300];
    snprintf(base, sizeof base, "%s/base/model.safetensors", folder);
    STYLIZE("a bee");
    expect_refused(&r, 2, "no style");
    STYLIZE("--style", "chalk-2");
    expect_refused(&r, 2, "no prompt");
    STYLIZE("a bee", "flying", "--style", "chalk-2");
    expect_refused(&r, 2, "one argument too many");
    STYLIZE("a bee", "--prompt", "a bee", "--style", "chalk-2");
    expect_refused(&r, 2, "two prompts");
    STYLIZE("a bee", "--style", "flat");
    expect_refused(&r, 2, "has no style \"flat\"; it has chalk-2");
    STYLIZE("a bee", "--style", "chalk-2", "--style-alpha", "1.5");
    expect_refused(&r, 2, "--style-alpha is \"1.5\"; it must be a number from 0 to 1");
    STYLIZE("a bee", "--style", "chalk-2", "--style-alpha", "nan");
    expect_refused(&r, 2, "it must be a number from 0 to 1");
    STYLIZE("a bee", "--style", "chalk-2", "--style", ink, "--style-alpha", "0.5");
    expect_refused(&r, 2, "1 --style-alpha and 2 --style");
    STYLIZE("a bee", "--style", "chalk-2", "--style-hash", "a", "--style-hash", "b");
    expect_refused(&r, 2, "2 --style-hash and 1 --style");
    STYLIZE("a bee", "--style", "chalk-2", "--style-strip", "0.5,x");
    expect_refused(&r, 2, "it must be numbers from 0 to 1, such as");
    STYLIZE("a bee", "--style", "chalk-2", "--style-strip", "0.5,1.5");
    expect_refused(&r, 2, "it must be numbers from 0 to 1, such as");
    STYLIZE("a bee", "--style", "chalk-2", "--style-strip", "");
    expect_refused(&r, 2, "it must be numbers from 0 to 1, such as");
    STYLIZE("a bee", "--style", base);
    expect_refused(&r, 3, "is not a style; the stage style of lumiere train makes styles");
    STYLIZE("a bee", "--style", "./none");
    expect_refused(&r, 3, "can't read './none'");
}

// Pixel rows of a sheet are those of the clips that each alpha makes.
static void a_strip_has_a_row_an_alpha(void **state) {
    (void)state;
    static const char *const alphas[] = {"0", "0.5", "1"};
    STYLIZE("a bee", "--style", "chalk-2", "--style-strip", "0,0.5,1", "-s", "4", "-o", "strip.png");
    expect_done(&r);
    lm_clip sheet = read_clip(work, "strip.png");
    assert_int_equal(sheet.width, 4 * 8 + 3 * 2);
    assert_int_equal(sheet.height, 3 * 8 + 2 * 2);
    for (int i = 0; i < 3; i++) {
        STYLIZE("a bee", "--style", "chalk-2", "--style-alpha", alphas[i], "-s", "4", "-o", "one.npy");
        expect_done(&r);
        lm_clip one = read_clip(work, "one.npy");
        assert_int_equal(one.frames, 4);
        for (int f = 0; f < 4; f++)
            for (int y = 0; y < 8; y++)
                assert_memory_equal(sheet.data + (size_t)(((i * 10 + y) * sheet.width + f * 10) * sheet.channels),
                                    one.data + (size_t)((f * 8 + y) * 8 * 3), 8 * 3);
        lm_clip_free(&one);
    }
    lm_clip_free(&sheet);
}

// Every sheet of a batch is described by the styles that were asked for, whatever alphas the one before ended with.
static void strips_of_a_batch_have_one_recipe(void **state) {
    (void)state;
    STYLIZE("a bee", "--style", "chalk-2", "--style-strip", "0.2,1", "-s", "4", "-o", "strip.png", "-b", "2", "--json");
    expect_done(&r);
    int lines = 0;
    for (const char *line = r.out; *line; line += strcspn(line, "\n") + 1, lines++) {
        json_t *object = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        const json_t *styles = json_object_get(json_object_get(object, "recipe"), "styles");
        assert_true(json_real_value(json_object_get(json_array_get(styles, 0), "alpha")) == 0.7);
        json_decref(object);
    }
    assert_int_equal(lines, 2);
}

static void recipes_make_the_same_bytes(void **state) {
    (void)state;
    char own[700], file[700], strip[700], picture[700];
    snprintf(own, sizeof own, "stylize 'a bee' --style chalk-2");
    snprintf(file, sizeof file, "generate 'a bee' --style chalk-2 --style-alpha 0.25 --style '%s' --style-alpha 1",
             ink);
    snprintf(strip, sizeof strip, "stylize 'a bee' --style '%s' --style chalk-2 --style-strip 0.1,0.9", ink);
    snprintf(picture, sizeof picture, "animate strip.png 'a bee' --style chalk-2 --style-alpha 0.4");
    const char *const lines[] = {own, file, strip, picture};
    for (int i = 0; i < 4; i++) {
        const char *ending = lines[i] == strip ? "png" : "npy";
        char line[3000], first[512], second[512];
        snprintf(first, sizeof first, "%s/first.%s", work, ending);
        snprintf(second, sizeof second, "%s/second.%s", work, ending);
        snprintf(line, sizeof line, "cd '%s' && '%s/lumiere' %s -s 9 -o first.%s -q --model '%s'", work, LM_BINARY_DIR,
                 lines[i], ending, folder);
        assert_int_equal(system(line), 0);
        RUN(&r, work, "inspect", first, "--as-args");
        expect_done(&r);
        assert_non_null(strstr(r.out, " --style-hash='"));
        snprintf(line, sizeof line, "cd '%s' && '%s/'%.*s -o second.%s -q", work, LM_BINARY_DIR,
                 (int)strcspn(r.out, "\n"), r.out, ending);
        if (system(line)) fail_msg("%s", line);
        if (lines[i] == strip) {
            lm_clip a = read_clip(work, "first.png"), b = read_clip(work, "second.png");
            assert_memory_equal(a.data, b.data, (size_t)(a.width * a.height * a.channels));
            lm_clip_free(&a);
            lm_clip_free(&b);
        } else if (!same_bytes(first, second)) {
            fail_msg("other bytes: %s", r.out);
        }
    }
}

static void recipes_name_styles_alphas_and_files(void **state) {
    (void)state;
    RUN(&r, work, "generate", "a bee", "--model", folder, "-q", "--json", "-o", "g.npy", "--style", "chalk-2",
        "--style", ink);
    expect_done(&r);
    json_t *line = json_loads(r.out, 0, NULL);
    const json_t *styles = json_object_get(json_object_get(line, "recipe"), "styles");
    assert_int_equal(json_array_size(styles), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *s = json_array_get(styles, i);
        assert_string_equal(json_string_value(json_object_get(s, "style")), i ? ink : "chalk-2");
        assert_true(json_real_value(json_object_get(s, "alpha")) == 0.35); // 0.7 shared by both
        assert_int_equal(strlen(json_string_value(json_object_get(s, "hash"))), 16);
    }
    json_decref(line);
}

static void inspect_tells_a_style(void **state) {
    (void)state;
    RUN(&r, work, "inspect", ink);
    expect_done(&r);
    static const char *const lines[] = {"kind: style\n",           "name: ink\n", "licence: MIT\n",
                                        "made_from: 2 pictures\n", "base_hash: ", "rank: 0\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(r.out, lines[i])) fail_msg("%s has no %s", r.out, lines[i]);
    char base[300];
    snprintf(base, sizeof base, "%s/base/model.safetensors", folder);
    RUN(&r, work, "inspect", base);
    expect_done(&r);
    assert_non_null(strstr(r.out, "kind: weights\n"));
    RUN(&r, work, "inspect", folder, "--json");
    expect_done(&r);
    json_t *model = json_loads(r.out, 0, NULL);
    const json_t *style = json_object_get(json_object_get(model, "styles"), "chalk-2");
    assert_string_equal(json_string_value(json_object_get(style, "licence")), "MIT");
    assert_string_equal(json_string_value(json_object_get(style, "description")), "white on black");
    json_decref(model);
}

static int set_up(void **state) {
    (void)state;
    lm_error e = {0};
    char styles[300];
    unsetenv("LUMIERE_MODEL");
    work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    snprintf(styles, sizeof styles, "%s/styles", folder);
    snprintf(chalk, sizeof chalk, "%s/chalk.safetensors", styles);
    snprintf(ink, sizeof ink, "%s/ink.safetensors", work);
    tiny_model_make(folder);
    assert_int_equal(mkdir(styles, 0777), 0);
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 1}, &c), LUMIERE_OK);
    if (lumiere_model_open(c, folder, &m) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
    if (lm_network_read(&e, m->base, &original) != LM_OK) fail_msg("%s", e.text);
    chalky = moved(1, 0.05f);
    inky = moved(2, 0.02f);
    write_style(chalk, "chalk", chalky, original.data);
    write_style(ink, "ink", inky, original.data);
    lumiere_model_free(&m);
    tiny_model_name_style(folder, "chalk-2", "styles/chalk.safetensors");
    if (lumiere_model_open(c, folder, &m) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    lm_param_block_free(&original);
    lm_free(chalky);
    lm_free(inky);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_style_and_alpha_zero_are_the_original),
        cmocka_unit_test(alpha_one_is_the_style_and_temporal_layers_stay),
        cmocka_unit_test(weights_are_linear_in_alpha_and_styles_mix),
        cmocka_unit_test(clips_follow_the_style),
        cmocka_unit_test(what_can_not_be_is_refused_and_changes_nothing),
        cmocka_unit_test(wrong_arguments_end_with_one_line),
        cmocka_unit_test(a_strip_has_a_row_an_alpha),
        cmocka_unit_test(strips_of_a_batch_have_one_recipe),
        cmocka_unit_test(recipes_make_the_same_bytes),
        cmocka_unit_test(recipes_name_styles_alphas_and_files),
        cmocka_unit_test(inspect_tells_a_style),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
