// A host program whose locale writes numbers with a comma: files and messages are as without it. The locale is made
// from tests/data/locale, so that no machine need have one.
#include "watched_run.h"

#include "base/files.h"
#include "base/memory.h"
#include "base/plain_text.h"
#include "lumiere/lumiere.h"
#include "media/media.h"
#include "net/families/unet.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static tiny_run run;

static void use_comma(void) {
    char text[8];
    if (!setlocale(LC_NUMERIC, "comma")) fail_msg("the locale could not be set");
    snprintf(text, sizeof text, "%.1f", 0.5);
    assert_string_equal(text, "0,5");
}

static void use_point(void) {
    setlocale(LC_NUMERIC, "C");
}

// localedef ends with 1, for all the categories that are left out.
static int make(void **state) {
    (void)state;
    tiny_run_make(&run);
    char *command =
        lm_format("cd '%s/locale' && localedef -c --no-archive -i ./comma -f ./ascii '%s/comma' 2>/dev/null",
                  LM_TEST_DATA, run.folder);
    int code = system(command);
    lm_free(command);
    setenv("LOCPATH", run.folder, 1);
    if (code == -1 || !setlocale(LC_NUMERIC, "comma"))
        print_message("no locale could be made; localedef comes with glibc, in libc-bin\n");
    use_point();
    return 0;
}

static int clean(void **state) {
    (void)state;
    tiny_run_remove(&run);
    return 0;
}

static void numbers_are_written_and_read_with_a_point(void **state) {
    (void)state;
    char text[64], *end;
    lm_error e = {0};
    use_comma();
    lm_text_format(text, sizeof text, "%.2f %g %a %'d", 0.25, 1e-3, 0.1, 1234567);
    assert_string_equal(text, "0.25 0.001 0x1.999999999999ap-4 1234567");
    assert_true(lm_text_number("0.3x", &end) == 0.3 && *end == 'x');
    assert_true(lm_text_number("0x1.8p1", &end) == 3 && !*end);
    lm_fail(&e, LM_USAGE, "the strength is %g", 0.5);
    assert_string_equal(e.text, "the strength is 0.5");
    snprintf(text, sizeof text, "%.1f", 0.5); // the host's own locale is as it was
    assert_string_equal(text, "0,5");
    use_point();
}

static void run_files_are_read(void **state) {
    (void)state;
    lm_error e = {0};
    lm_run_config c;
    use_comma();
    lm_status s = tiny_run_config(
        &e, &run, (const char *[]){"cooldown=0.3", "learning_rate=2.5e-4", "groups=[attention adamw 0.125]", NULL}, &c);
    lm_group_rule rules[LM_UNET_GROUPS];
    if (s == LM_OK) s = lm_run_config_rules(&e, "run.yaml", &c, rules);
    use_point();
    if (s != LM_OK) fail_msg("%s", e.text);
    assert_true(c.cooldown == 0.3 && c.learning_rate == 2.5e-4);
    int changed = 0;
    for (int i = 0; i < LM_UNET_GROUPS; i++) changed += rules[i].rate == 0.125;
    assert_int_equal(changed, 1);
    lm_run_config_free(&c);
}

static void requests_are_set_and_read(void **state) {
    (void)state;
    lumiere_request *r, *again;
    char *json, found[2][40];
    use_comma();
    assert_int_equal(lumiere_request_create("edit", &r), LUMIERE_OK);
    assert_int_equal(lumiere_request_create("edit", &again), LUMIERE_OK);
    assert_int_equal(lumiere_request_set(r, "strength", "0.25"), LUMIERE_OK);
    assert_int_equal(lumiere_request_set(r, "strength", "0,5"), LUMIERE_USAGE);
    assert_int_equal(lumiere_request_set_json(r, "{\"fps\":12.5,\"style\":\"ink\",\"style_alpha\":0.125}"), LUMIERE_OK);
    assert_int_equal(lumiere_request_json(r, &json), LUMIERE_OK);
    assert_int_equal(lumiere_request_set_json(again, json), LUMIERE_OK);
    snprintf(found[0], sizeof found[0], "%s", lumiere_request_get(again, "strength"));
    snprintf(found[1], sizeof found[1], "%s", lumiere_request_get(again, "style_alpha"));
    use_point();
    assert_string_equal(found[0], "0.25");
    assert_string_equal(found[1], "[0.125]");
    assert_non_null(strstr(json, "\"fps\":12.5"));
    lumiere_string_free(&json);
    lumiere_request_free(&r);
    lumiere_request_free(&again);
}

// Half of a training in one locale, half in the other, both ways round: the same as in one.
static void trainings_go_on(void **state) {
    (void)state;
    lm_error e = {0};
    watch w;
    watched_train_whole(&run, "whole", NULL, LM_F32, &w);
    for (int comma_first = 0; comma_first < 2; comma_first++) {
        const char *out = comma_first ? "comma-first" : "comma-then";
        if (comma_first) use_comma();
        w = (watch){.stop_after = 5};
        assert_int_equal(watched_train(&e, &run, out, NULL, LM_F32, false, &w), LM_CANCELLED);
        lm_error_clear(&e);
        if (comma_first)
            use_point();
        else
            use_comma();
        w = (watch){0};
        lm_status s = watched_train(&e, &run, out, NULL, LM_F32, true, &w);
        use_point();
        if (s != LM_OK) fail_msg("%s", e.text);
        tiny_run_expect_same(&run, "whole", out);
    }
}

// Eight columns a row, whatever the locale.
static void metrics_stay_a_table(void **state) {
    (void)state;
    watch w;
    use_comma();
    watched_train_whole(&run, "table", NULL, LM_F32, &w);
    use_point();
    char *path = tiny_file(&run, "table", "metrics.csv"), line[400];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    int rows = 0;
    for (; fgets(line, sizeof line, f); rows++) {
        int commas = 0;
        for (const char *p = line; *p; p++) commas += *p == ',';
        if (commas != 7) fail_msg("a row of metrics.csv: %s", line);
    }
    assert_int_equal(rows, TINY_STEPS + 1);
    fclose(f);
    lm_free(path);
}

static void json_is_read_and_written(void **state) {
    (void)state;
    lm_error e = {0};
    lm_unet_config c = lm_unet_config_default(), again;
    use_comma();
    char *text = lm_unet_config_json(&c);
    lm_status s = lm_unet_config_parse(&e, "config.json", text, strlen(text), &again);
    use_point();
    if (s != LM_OK) fail_msg("%s", e.text);
    assert_memory_equal(&c, &again, sizeof c);
    lm_free(text);
}

static void clips_have_the_same_hash_and_bytes(void **state) {
    (void)state;
    static const char *const names[] = {"c.mp4", "c.webm", "c.gif", "c.webp"};
    uint8_t pixels[2 * 16 * 16 * 3];
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 7);
    lumiere_context *context = NULL;
    lumiere_clip *clip = NULL;
    char hash[2][17];
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 1}, &context), LUMIERE_OK);
    assert_int_equal(lumiere_clip_create(context, 2, 16, 16, 12.5, pixels, &clip), LUMIERE_OK);
    lumiere_clip_hash(clip, hash[0]);
    use_comma();
    lumiere_clip_hash(clip, hash[1]);
    use_point();
    assert_string_equal(hash[0], hash[1]);
    for (int i = 0; i < 4; i++) {
        uint8_t *bytes[2];
        size_t size[2];
        lm_error e = {0};
        char *path = tiny_path(&run, names[i]);
        for (int comma = 0; comma < 2; comma++) {
            if (comma) use_comma();
            lumiere_status s = lumiere_clip_write(context, clip, path, "{\"fps\":12.5}");
            use_point();
            if (s != LUMIERE_OK) fail_msg("%s", lumiere_error_message(context));
            assert_int_equal(lm_file_read(&e, path, 1 << 20, LM_MEDIA, &bytes[comma], &size[comma]), LM_OK);
        }
        if (size[0] != size[1] || memcmp(bytes[0], bytes[1], size[0])) fail_msg("%s differs", names[i]);
        lm_free(bytes[0]);
        lm_free(bytes[1]);
        lm_free(path);
    }
    lumiere_clip_free(&clip);
    lumiere_context_free(&context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_and_read_with_a_point),
        cmocka_unit_test(requests_are_set_and_read),
        cmocka_unit_test(run_files_are_read),
        cmocka_unit_test(trainings_go_on),
        cmocka_unit_test(metrics_stay_a_table),
        cmocka_unit_test(json_is_read_and_written),
        cmocka_unit_test(clips_have_the_same_hash_and_bytes),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
