// The table of settings says one thing of each name, and every value goes from text to value to text, and to JSON and
// back.
#include "settings/settings.h"

#include "base/memory.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define EACH_ROW(task, row)                                                                                            \
    for (int t_ = 0; t_ < LM_TASKS; t_++)                                                                              \
        for (int i_ = 0, task = t_; i_ < lm_setting_count(); i_++)                                                     \
            for (const lm_setting *row = lm_setting_row(i_); row && lm_setting_takes(row, (lm_task_kind)task);         \
                 row = NULL)

static bool is_word(const char *text, const char *letters) {
    return *text && text[strspn(text, letters)] == 0;
}

static void rows_are_whole(void **state) {
    (void)state;
    for (int i = 0; i < lm_setting_count(); i++) {
        const lm_setting *row = lm_setting_row(i);
        const lumiere_setting *s = &row->face;
        assert_true(is_word(s->key, "abcdefghijklmnopqrstuvwxyz_"));
        assert_true(is_word(s->option, "abcdefghijklmnopqrstuvwxyz-"));
        assert_non_null(s->help);
        assert_true(*s->help && !strchr(s->help, '\n'));
        bool says_default = s->preset_words && !*s->preset_words; // itself, and not beside it
        if (says_default != (strstr(s->help, "default") != NULL))
            fail_msg("%s: its default is said twice, or not", s->key);
        bool number = s->kind == LUMIERE_WHOLE || s->kind == LUMIERE_NUMBER;
        if (number && !(s->least < s->most && s->step > 0)) fail_msg("%s has no range or step", s->key);
        if ((s->kind == LUMIERE_CHOICE) != (s->choice_count > 1)) fail_msg("%s has choices, or none", s->key);
        if ((s->preset != NULL) != (s->source == LUMIERE_FROM_VALUE)) fail_msg("%s has a preset, or none", s->key);
        bool shows_value = s->kind != LUMIERE_FLAG && s->kind != LUMIERE_CHOICE;
        if (shows_value != (s->placeholder != NULL)) fail_msg("%s has a placeholder, or none", s->key);
        assert_true(s->in_recipe == (row->noting != LM_UNNOTED));
        assert_true(row->tasks && !(row->tasks >> LM_TASKS));
    }
    assert_null(lm_setting_row(lm_setting_count()));
    assert_null(lm_setting_row(-1));
}

static void names_are_unique_in_a_task(void **state) {
    (void)state;
    EACH_ROW(task, row) {
        char option[80];
        snprintf(option, sizeof option, "--%s", row->face.option);
        assert_ptr_equal(lm_setting_find((lm_task_kind)task, row->face.key), row);
        assert_ptr_equal(lm_setting_find((lm_task_kind)task, option), row);
        assert_ptr_equal(lm_setting_of((lm_task_kind)task, row->id), row);
        for (int i = 0; i < lm_setting_count(); i++) {
            const lm_setting *other = lm_setting_row(i);
            if (other == row || !lm_setting_takes(other, (lm_task_kind)task)) continue;
            if (row->face.letter && row->face.letter == other->face.letter)
                fail_msg("-%c is %s and %s", row->face.letter, row->face.key, other->face.key);
        }
        assert_true(row->face.letter != 'h' && row->face.letter != 'o' && row->face.letter != 'm'); // the command's
    }
}

static void aliases_are_the_setting(void **state) {
    (void)state;
    int found = 0;
    EACH_ROW(task, row) {
        char *words = row->face.aliases ? strdup(row->face.aliases) : NULL, *rest = NULL;
        for (char *word = words ? strtok_r(words, " ", &rest) : NULL; word; word = strtok_r(NULL, " ", &rest)) {
            assert_ptr_equal(lm_setting_find((lm_task_kind)task, word), row);
            found++;
        }
        free(words);
    }
    assert_true(found > 20);
    lm_settings s = {0};
    lm_error e = {0};
    assert_int_equal(lm_settings_set(&e, &s, "num_inference_steps", "7"), LM_OK);
    assert_int_equal(lm_settings_whole(&s, LM_KEY_steps), 7);
    assert_int_equal(lm_settings_set(&e, &s, "guidance_scale", "0"), LM_OK);
    assert_true(lm_settings_given(&s, LM_KEY_cfg_scale) && lm_settings_number(&s, LM_KEY_cfg_scale) == 0);
    assert_int_equal(lm_settings_set(&e, &s, "num_frames", "0"), LM_USAGE);
    assert_string_equal(e.text, "num_frames is \"0\"; it must be a whole number from 1 to 640"); // as it was called
    lm_settings_free(&s);
}

static void presets_are_values(void **state) {
    (void)state;
    int presets = 0;
    EACH_ROW(task, row) {
        lm_settings s = {.task = (lm_task_kind)task};
        lm_error e = {0};
        if (!row->face.preset) continue;
        if (lm_settings_set(&e, &s, row->face.key, row->face.preset) != LM_OK) fail_msg("%s", e.text);
        presets++;
        lm_settings none = {.task = (lm_task_kind)task};
        assert_true(lm_settings_number(&none, row->id) == lm_settings_number(&s, row->id));
        assert_int_equal(lm_settings_whole(&none, row->id), lm_settings_whole(&s, row->id));
        assert_int_equal(lm_settings_choice(&none, row->id), lm_settings_choice(&s, row->id));
        lm_settings_free(&s);
    }
    assert_true(presets > 10);
    const lm_settings edit = {.task = LM_TASK_EDIT}, animate = {.task = LM_TASK_ANIMATE};
    assert_true(lm_settings_number(&edit, LM_KEY_strength) == 0.6);
    assert_true(lm_settings_number(&animate, LM_KEY_strength) == 0.7);
}

// Some values of each kind, as lm_settings_print writes them.
static int examples(const lumiere_setting *s, char out[4][64]) {
    int n = 0;
    switch (s->kind) {
    case LUMIERE_FLAG:
        n += snprintf(out[0], 64, "true") > 0;
        n += snprintf(out[1], 64, "false") > 0;
        return n;
    case LUMIERE_WHOLE:
    case LUMIERE_NUMBER:
        n += snprintf(out[0], 64, "%.15g", s->least) > 0;
        n += snprintf(out[1], 64, "%.15g", s->most) > 0;
        if (s->kind == LUMIERE_NUMBER) n += snprintf(out[2], 64, "%.15g", s->least + (s->most - s->least) / 8) > 0;
        return n;
    case LUMIERE_SEED:
        n += snprintf(out[0], 64, "0") > 0;
        n += snprintf(out[1], 64, "9223372036854775807") > 0;
        return n;
    case LUMIERE_CHOICE:
        for (; n < s->choice_count && n < 4; n++) snprintf(out[n], 64, "%s", s->choices[n]);
        return n;
    case LUMIERE_FOUR:
        n += snprintf(out[0], 64, "1,-2,3,4") > 0;
        return n;
    case LUMIERE_COLOUR:
        n += snprintf(out[0], 64, "#0080ff") > 0;
        return n;
    case LUMIERE_TEXT:
    case LUMIERE_CLIP:
        n += snprintf(out[0], 64, "it's \"a\" \xf0\x9f\x90\x9d, 1\n") > 0;
        return n;
    }
    return 0;
}

static void round_trip(lm_task_kind task, const lm_setting *row, const char *text) {
    lm_settings s = {.task = task}, again = {.task = task}, copy = {.task = task};
    lm_error e = {0};
    if (lm_settings_set(&e, &s, row->face.key, text) != LM_OK) fail_msg("%s", e.text);
    char *printed = lm_settings_print(&s, row->id);
    char wanted[100];
    snprintf(wanted, sizeof wanted, "%s", text);
    if (!row->face.list) assert_string_equal(printed, wanted);
    json_t *object = json_object();
    json_object_set_new(object, row->face.key, lm_settings_json(&s, row->id));
    char *written = json_dumps(object, JSON_REAL_PRECISION(15));
    json_t *read = json_loads(written, 0, NULL);
    for (int recipe = 0; recipe < 2; recipe++) {
        if (lm_settings_set_json(&e, &again, read, recipe) != LM_OK) fail_msg("%s: %s", written, e.text);
        char *back = lm_settings_print(&again, row->id);
        assert_string_equal(back, printed);
        lm_free(back);
    }
    assert_int_equal(lm_settings_copy(&e, &again, &copy), LM_OK);
    char *copied = lm_settings_print(&copy, row->id);
    assert_string_equal(copied, printed);
    lm_settings_unset(&copy, row->id);
    assert_false(lm_settings_given(&copy, row->id));
    assert_null(lm_settings_print(&copy, row->id));
    json_decref(read);
    json_decref(object);
    free(written);
    lm_free(printed);
    lm_free(copied);
    lm_settings_free(&s);
    lm_settings_free(&again);
    lm_settings_free(&copy);
}

static void values_go_to_text_and_json_and_back(void **state) {
    (void)state;
    int count = 0;
    EACH_ROW(task, row) {
        char texts[4][64];
        int n = examples(&row->face, texts);
        assert_true(n > 0);
        for (int i = 0; i < n; i++, count++) round_trip((lm_task_kind)task, row, texts[i]);
    }
    assert_true(count > 200);
}

// Twenty values at and beyond the ends of what numbers can be: taken, or refused by the setting's name.
static void extremes_are_taken_or_refused_by_name(void **state) {
    (void)state;
    static const char *const extremes[] = {"0",
                                           "-1",
                                           "1",
                                           "-0",
                                           "1e300",
                                           "-1e300",
                                           "1e999",
                                           "1e-999",
                                           "nan",
                                           "inf",
                                           "-inf",
                                           "0.5",
                                           "1.5",
                                           "2147483647",
                                           "2147483648",
                                           "9223372036854775807",
                                           "9223372036854775808",
                                           "",
                                           "1x",
                                           "0,5"};
    _Static_assert(sizeof extremes / sizeof *extremes == 20, "twenty");
    int taken = 0, refused = 0;
    EACH_ROW(task, row) {
        const lumiere_setting *f = &row->face;
        if (f->kind != LUMIERE_WHOLE && f->kind != LUMIERE_NUMBER && f->kind != LUMIERE_SEED) continue;
        for (int i = 0; i < 20; i++) {
            lm_settings s = {.task = (lm_task_kind)task};
            lm_error e = {0};
            lm_status status = lm_settings_set(&e, &s, f->key, extremes[i]);
            if (status == LM_OK) {
                double v = f->kind == LUMIERE_NUMBER && !f->list ? lm_settings_number(&s, row->id)
                                                                 : (double)lm_settings_whole(&s, row->id);
                bool bounded = f->kind == LUMIERE_SEED ? v >= 0 : v >= f->least && v <= f->most;
                if (!bounded) fail_msg("%s took %s", f->key, extremes[i]);
                taken++;
            } else {
                assert_int_equal(status, LM_USAGE);
                if (strncmp(e.text, f->key, strlen(f->key)) != 0 || strchr(e.text, '\n')) fail_msg("\"%s\"", e.text);
                assert_false(lm_settings_given(&s, row->id));
                refused++;
            }
            lm_settings_free(&s);
        }
    }
    assert_true(taken > 100 && refused > 1000);
}

static void refuse(lm_task_kind task, const char *name, const char *text, const char *message) {
    lm_settings s = {.task = task};
    lm_error e = {0};
    assert_int_equal(lm_settings_set(&e, &s, name, text), LM_USAGE);
    if (!strstr(e.text, message)) fail_msg("\"%s\" and not \"%s\"", e.text, message);
    lm_settings_free(&s);
}

static void refusals_say_what_would_be_right(void **state) {
    (void)state;
    char longest[4200];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    refuse(LM_TASK_GENERATE, "stepz", "1",
           "generate has no setting \"stepz\"; it has refine, prompt, negative_prompt,");
    refuse(LM_TASK_GENERATE, "--pad", "1,2,3,4", "generate takes no \"--pad\"; outpaint does");
    refuse(LM_TASK_GENERATE, "--cfg-scale", "x", "--cfg-scale is \"x\"; it must be a number from 0 to 100");
    refuse(LM_TASK_GENERATE, "sampler", "euler", "sampler is \"euler\"; it must be one of dpmpp_2m|ddim");
    refuse(LM_TASK_GENERATE, "sampler", "", "it must be one of");
    refuse(LM_TASK_GENERATE, "loop", "yes", "loop is \"yes\"; it must be true or false");
    refuse(LM_TASK_GENERATE, "seed", "0x1", "it must be a whole number below 2^63");
    refuse(LM_TASK_UPSCALE, "seed", "-1", "seed is negative; it must be a whole number from 0 on");
    refuse(LM_TASK_INPAINT, "box", "1,2,3", "box is \"1,2,3\"; it must be four whole numbers, such as 8,8,32,16");
    refuse(LM_TASK_INPAINT, "box", "1,2,3,4,5", "four whole numbers");
    refuse(LM_TASK_INPAINT, "box", "1,2,3,99999999999999999999", "four whole numbers");
    refuse(LM_TASK_EDIT, "background", "red", "it must be #rrggbb, white or black");
    refuse(LM_TASK_EDIT, "fit", "zoom", "it must be one of crop|pad|stretch");
    refuse(LM_TASK_EDIT, "prompt", longest, "prompt has 4199 bytes; at most 4096 are possible");
    lm_settings s = {0};
    lm_error e = {0};
    for (int i = 0; i < LM_MOST_ITEMS; i++) assert_int_equal(lm_settings_set(&e, &s, "style", "ink"), LM_OK);
    assert_int_equal(lm_settings_set(&e, &s, "style", "ink"), LM_USAGE);
    assert_string_equal(e.text, "style is given more than 64 times");
    lm_settings_free(&s);
}

static void set_json(const char *text, bool recipe, const char *message) {
    lm_settings s = {0};
    lm_error e = {0};
    json_t *object = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(object);
    lm_status status = lm_settings_set_json(&e, &s, object, recipe);
    assert_int_equal(status, message ? LM_USAGE : LM_OK);
    if (message && !strstr(e.text, message)) fail_msg("%s: \"%s\" and not \"%s\"", text, e.text, message);
    json_decref(object);
    lm_settings_free(&s);
}

static void json_is_checked(void **state) {
    (void)state;
    set_json("[]", false, "settings must be a JSON object");
    set_json("{\"steps\":\"5\"}", false, "\"steps\" must be a whole number from 1 to 1000");
    set_json("{\"steps\":5.0}", false, "\"steps\" must be a whole number");
    set_json("{\"steps\":null}", false, NULL);
    set_json("{\"style\":[\"a\"],\"style\":null}", false, NULL);
    set_json("{\"steps\":null}", true, "\"steps\" must be a whole number");
    set_json("{\"model_hash\":\"0\",\"foo\":{}}", true, NULL);
    set_json("{\"model_hash\":\"0\"}", false, "generate has no setting \"model_hash\"");
    set_json("{\"tile\":16}", true, "generate takes no \"tile\"; upscale does");
    set_json("{\"num_frames\":16,\"style\":[\"a\",\"b\"],\"style_alpha\":0.5}", false, NULL);
    set_json("{\"style\":[\"a\",1]}", false, "\"style\" must be a text");
    set_json("{\"styles\":[{\"style\":\"a\",\"alpha\":1}]}", false, NULL);
    set_json("{\"styles\":[{\"style\":\"a\",\"alpha\":1}]}", true, "each with a name, alpha and hash");
    set_json("{\"styles\":[{\"style\":\"a\",\"alpha\":1.5}]}", false, "\"alpha\" must be a number from 0 to 1");
}

// What the tasks' options were called in the recipes and on the command lines of version 0.1.
static void names_of_version_0_1_stay(void **state) {
    (void)state;
    static const struct {
        const char *task, *key, *option;
    } old[] = {{"generate", "frames", "video-frames"},
               {"generate", "cfg_scale", "cfg-scale"},
               {"generate", "negative_prompt", "negative-prompt"},
               {"generate", "dynamic_threshold", "dynamic-threshold"},
               {"generate", "no_upscale", "no-upscale"},
               {"upscale", "tile_overlap", "tile-overlap"},
               {"upscale", "noise_level", "noise-level"},
               {"inpaint", "mask_hash", "mask-hash"},
               {"edit", "input_hash", "input-hash"},
               {"animate", "no_composite", "no-composite"},
               {"stylize", "style_alpha", "style-alpha"},
               {"outpaint", "pad", "pad"}};
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        const lumiere_setting *s = lumiere_setting_find(old[i].task, old[i].key);
        assert_non_null(s);
        assert_string_equal(s->option, old[i].option);
    }
    assert_string_equal(lm_choice_name(LM_KEY_sampler, LM_SAMPLER_DDIM), "ddim");
    assert_string_equal(lm_choice_name(LM_KEY_fit, LM_FIT_STRETCH), "stretch");
    assert_null(lm_choice_name(LM_KEY_fit, LM_FITS));
}

static void the_public_table_is_the_same(void **state) {
    (void)state;
    int tasks = 0, all = 0, rows = 0;
    EACH_ROW(task, row) rows++;
    for (; lumiere_task_name(tasks); tasks++)
        for (int i = 0; lumiere_setting_at(lumiere_task_name(tasks), i); i++, all++) {
            const lumiere_setting *s = lumiere_setting_at(lumiere_task_name(tasks), i);
            assert_ptr_equal(lumiere_setting_find(lumiere_task_name(tasks), s->key), s);
        }
    assert_int_equal(tasks, LM_TASKS);
    assert_int_equal(all, rows);
    assert_null(lumiere_task_name(-1));
    assert_null(lumiere_setting_at("train", 0));
    assert_null(lumiere_setting_at(NULL, 0));
    assert_null(lumiere_setting_find("generate", NULL));
    assert_null(lumiere_setting_find("generate", "pad"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_whole),
        cmocka_unit_test(names_are_unique_in_a_task),
        cmocka_unit_test(aliases_are_the_setting),
        cmocka_unit_test(presets_are_values),
        cmocka_unit_test(values_go_to_text_and_json_and_back),
        cmocka_unit_test(extremes_are_taken_or_refused_by_name),
        cmocka_unit_test(refusals_say_what_would_be_right),
        cmocka_unit_test(json_is_checked),
        cmocka_unit_test(names_of_version_0_1_stay),
        cmocka_unit_test(the_public_table_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
