// Run files: what they may hold, what is refused and where, and that docs/training.md lists every key.
#include "base/files.h"
#include "base/memory.h"
#include "net/families/unet.h"
#include "train/run_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[80];

static int make(void **state) {
    (void)state;
    strcpy(folder, "/tmp/lumiere-config-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/run.yaml", folder);
    return 0;
}

static int clean(void **state) {
    (void)state;
    return unlink(path) || rmdir(folder);
}

static lm_status read_run(lm_error *e, const char *text, const char *const *overrides, int count, lm_run_config *c) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return lm_run_config_read(e, path, overrides, count, c);
}

static const char plain[] = "stage: image\ndata: a.tar\nout: runs/a\n";

static void test_defaults(void **state) {
    (void)state;
    lm_error e = {0};
    lm_run_config c;
    assert_int_equal(read_run(&e, plain, NULL, 0, &c), LM_OK);
    assert_string_equal(c.stage, "image");
    assert_string_equal(c.text, "models/emoji/text");
    assert_string_equal(c.out, "runs/a");
    assert_string_equal(c.init, "");
    assert_int_equal(c.data.count, 1);
    assert_string_equal(c.data.at[0], "a.tar");
    assert_int_equal(c.size, 32);
    assert_int_equal(c.frames, 80);
    assert_int_equal(c.steps, 10000);
    assert_true(c.learning_rate == 1e-3 && c.clip == 1 && c.outlier == 20 && c.average == 0.9995);
    assert_int_equal(c.checkpoint_steps, 0);
    assert_int_equal(c.sample_prompts.count, 0);
    lm_run_config_free(&c);
    assert_null(c.stage);
    assert_int_equal(c.data.count, 0);
}

static void test_values(void **state) {
    (void)state;
    lm_error e = {0};
    lm_run_config c;
    assert_int_equal(read_run(&e,
                              "# a comment\nstage: \"video\"\ndata: [a.tar, 'b c.tar']\nout: x\ninit: y\nseed: 9\n"
                              "learning_rate: 3.5e-4\nsample_prompts:\n  - a rocket, moving from left to right\n"
                              "  - \"\\u706b: yes\"\nsize: 64\n",
                              NULL, 0, &c),
                     LM_OK);
    assert_string_equal(c.stage, "video");
    assert_int_equal(c.data.count, 2);
    assert_string_equal(c.data.at[1], "b c.tar");
    assert_true(c.learning_rate == 3.5e-4);
    assert_int_equal(c.seed, 9);
    assert_int_equal(c.size, 64);
    assert_int_equal(c.sample_prompts.count, 2);
    assert_string_equal(c.sample_prompts.at[0], "a rocket, moving from left to right");
    assert_string_equal(c.sample_prompts.at[1], "\xe7\x81\xab: yes");
    lm_run_config_free(&c);
}

// Later ones win; a list replaces the list, longer or shorter.
static void test_overrides(void **state) {
    (void)state;
    static const char *const set[] = {"steps=5",     "out=runs/b = c", "data=[x, y, z]", "data=[q]",
                                      "data=[s, t]", "seed=1e15",      "steps=7",        "config=n.json"};
    lm_error e = {0};
    lm_run_config c;
    assert_int_equal(read_run(&e, plain, set, 8, &c), LM_OK);
    assert_int_equal(c.steps, 7);
    assert_string_equal(c.out, "runs/b = c");
    assert_int_equal(c.data.count, 2);
    assert_string_equal(c.data.at[0], "s");
    assert_string_equal(c.data.at[1], "t");
    assert_true(c.seed == 1000000000000000);
    assert_string_equal(c.config, "n.json");
    lm_run_config_free(&c);
}

static void test_groups(void **state) {
    (void)state;
    lm_error e = {0};
    lm_run_config c;
    lm_group_rule r[LM_UNET_GROUPS];
    assert_int_equal(read_run(&e, plain, NULL, 0, &c), LM_OK);
    assert_int_equal(lm_run_config_rules(&e, "run.yaml", &c, r), LM_OK);
    for (int i = 0; i < LM_UNET_GROUPS; i++) assert_true(!r[i].muon && r[i].rate == 1e-3);
    lm_run_config_free(&c);
    static const char *const set[] = {
        "optimizer=muon", "muon_rate=0.03", "learning_rate=2e-3",
        "groups=[conditions adamw, temporal muon, attention  muon 0.01, ends adamw 5e-4]"};
    assert_int_equal(read_run(&e, plain, set, 4, &c), LM_OK);
    assert_int_equal(lm_run_config_rules(&e, "run.yaml", &c, r), LM_OK);
    static const bool muon[LM_UNET_GROUPS] = {
        [LM_UNET_CONVOLUTIONS] = true, [LM_UNET_TEMPORAL] = true, [LM_UNET_ATTENTION] = true};
    for (int i = 0; i < LM_UNET_GROUPS; i++) assert_int_equal(r[i].muon, muon[i]);
    assert_true(r[LM_UNET_CONVOLUTIONS].rate == 0.03 && r[LM_UNET_TEMPORAL].rate == 0.03);
    assert_true(r[LM_UNET_ATTENTION].rate == 0.01 && r[LM_UNET_ENDS].rate == 5e-4);
    assert_true(r[LM_UNET_CONDITIONS].rate == 2e-3 && r[LM_UNET_VECTORS].rate == 2e-3);
    lm_run_config_free(&c);
}

static void refuse(const char *text, const char *override, const char *message, const char *place) {
    lm_error e = {0};
    lm_run_config c;
    lm_status s = read_run(&e, text, &override, override != NULL, &c);
    if (s != LM_USAGE) fail_msg("%d for %s %s", s, text, override ? override : "");
    assert_int_equal(e.status, LM_USAGE);
    if (!strstr(e.text, message) || !strstr(e.text, place))
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", e.text, message, place);
    lm_run_config_free(&c);
}

static void test_defects(void **state) {
    (void)state;
    static const struct {
        const char *text, *message, *place;
    } cases[] = {
        {"", "not a mapping", "run.yaml"},
        {"- stage\n- image\n", "not a mapping", "run.yaml"},
        {"stage: image\n\tout: a\n", "not YAML", "line 2"},
        {"stage: [image\nout: a\n", "not YAML", "line 2"},
        {"stage: \"image\n", "not YAML", "line 2"},
        {"stage: *nothing\n", "not YAML", "line 1"},
        {"stage: image\nout: \xff\n", "not YAML", "line"},
        {"stage: image\nsteps: 5\nspeed: 3\n", "unknown key \"speed\"", "line 3"},
        {"? [a]\n: 3\n", "unknown key", "line 1"},
        {"stage: style\ndata: a\nout: b\n", "the style stage needs init", "run.yaml"},
        {"stage: style\ndata: a\nout: b\ninit: c\nstyle_name: A B\n", "a style can't be called \"A B\"", "run.yaml"},
        {"stage: style\ndata: a\nout: b\ninit: c\nstyle: model\n", "can't be called \"model\"", "run.yaml"},
        {"stage: style\ndata: a\nout: b\ninit: c\nstyle_licence: ''\n", "style_licence is empty", "run.yaml"},
        {"stage: style\nstyle_rank: 257\n", "style_rank must be a whole number from 0 to 256", "line 2"},
        {"stage: image\nsteps: 5\n\nsteps: 6\n", "steps stands there twice", "line 4"},
        {"steps: 5.5\n", "steps must be a whole number from 1 to 1e+09, not \"5.5\"", "line 1"},
        {"stage: image\nsteps: 0\n", "steps must be", "line 2"},
        {"stage: image\nsteps: many\n", "not \"many\"", "line 2"},
        {"stage: image\nsteps:\n", "steps must be", "line 2"},
        {"learning_rate: nan\n", "learning_rate must be a number from 0 to 10", "line 1"},
        {"learning_rate: .nan\n", "learning_rate must be", "line 1"},
        {"eps: inf\n", "eps must be a number from", "line 1"},
        {"outlier: .inf\n", "outlier must be", "line 1"},
        {"checkpoint_minutes: -inf\n", "checkpoint_minutes must be", "line 1"},
        {"steps: inf\n", "steps must be a whole number", "line 1"},
        {"learning_rate: 1e400\n", "learning_rate must be", "line 1"},
        {"frames: 81\n", "frames must be a whole number from 1 to 80", "line 1"},
        {"seed: -1\n", "seed must be", "line 1"},
        {"stage: [image]\n", "stage takes one value", "line 1"},
        {"steps: {a: 1}\n", "steps takes one value", "line 1"},
        {"out: \"a\\0b\"\n", "out takes one value", "line 1"},
        {"stage: image\ndata: {a: b}\n", "data takes a list", "line 2"},
        {"data: [a, [b]]\n", "data takes a list of texts", "line 1"},
        {"stage: image\n---\nstage: video\n", "a second document", "line 3"},
        {"stage: sound\ndata: a\nout: b\n", "stage must be image, video, ssr or style, not \"sound\"", "run.yaml"},
        {"data: a\nout: b\n", "stage must be image, video, ssr or style", "run.yaml"},
        {"stage: image\nout: b\n", "data is missing", "run.yaml"},
        {"stage: image\ndata:\nout: b\n", "data has an empty entry", "run.yaml"},
        {"stage: image\ndata: a\n", "out is missing", "run.yaml"},
        {"stage: video\ndata: a\nout: b\n", "the video stage needs init", "run.yaml"},
        {"stage: image\ndata: a\nout: b\noptimizer: sgd\n", "optimizer must be adamw or muon, not \"sgd\"", "run.yaml"},
        {"stage: image\ndata: a\nout: b\ngroups: [heads muon]\n",
         "\"heads muon\" begins with no group's name; there are vectors, ends, convolutions, attention, conditions, "
         "projections, temporal and positions",
         "run.yaml"},
        {"stage: image\ndata: a\nout: b\ngroups: [attention]\n", "after the group comes adamw or muon", "run.yaml"},
        {"stage: image\ndata: a\nout: b\ngroups: [attention muo]\n", "after the group comes adamw or muon", "run.yaml"},
        {"stage: image\ndata: a\nout: b\ngroups: [attention muons 1]\n", "comes adamw or muon", "run.yaml"},
        {"stage: image\ndata: a\nout: b\ngroups: [vectors muon]\n", "norms and biases are no matrices", "run.yaml"},
        {"stage: image\ndata: a\nout: b\ngroups: [attention muon fast]\n", "a rate is a number from 0 to 10",
         "run.yaml"},
        {"stage: image\ndata: a\nout: b\ngroups: [attention muon 0.1 2]\n", "a rate is a number", "run.yaml"},
        {"stage: image\ndata: a\nout: b\ngroups: [attention muon nan]\n", "a rate is a number", "run.yaml"},
        {"stage: image\ndata: a\nout: b\ngroups: [attention muon, attention adamw]\n", "attention stands there twice",
         "run.yaml"},
        {"stage: image\ndata: a\nout: b\ninit: c\nconfig: d\n", "init or config, not both", "run.yaml"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].text, NULL, cases[i].message, cases[i].place);
    refuse(plain, "steps", "must be key=value", "--set steps");
    refuse(plain, "speed=3", "unknown key \"speed\"", "--set");
    refuse(plain, "steps=x", "steps must be", "--set");
    refuse(plain, "data=[a", "not YAML", "--set");
    refuse(plain, "=3", "must be key=value", "--set");
}

static void test_list_length(void **state) {
    (void)state;
    char text[1000] = "stage: image\nout: b\ndata: [";
    for (int i = 0; i < LM_RUN_LIST; i++) strcat(text, "a, ");
    char full[1010], over[1010];
    snprintf(full, sizeof full, "%s]\n", text);
    snprintf(over, sizeof over, "%sa]\n", text);
    lm_error e = {0};
    lm_run_config c;
    assert_int_equal(read_run(&e, full, NULL, 0, &c), LM_OK);
    assert_int_equal(c.data.count, LM_RUN_LIST);
    lm_run_config_free(&c);
    refuse(over, NULL, "data has more than 64 entries", "line 3");
}

static void test_no_file(void **state) {
    (void)state;
    lm_error e = {0};
    lm_run_config c;
    assert_int_equal(lm_run_config_read(&e, "/nowhere/run.yaml", NULL, 0, &c), LM_MEDIA);
    assert_non_null(strstr(e.text, "/nowhere/run.yaml"));
    lm_run_config_free(&c);
}

static char *read_file(const char *name) {
    lm_error e = {0};
    uint8_t *bytes;
    size_t size;
    if (lm_file_read(&e, name, 1 << 20, LM_MEDIA, &bytes, &size) != LM_OK) fail_msg("%s", e.text);
    return (char *)bytes;
}

// Each key has its row "| `key` | type | default | meaning |" with the table's type and meaning, and there is no other.
static void test_documentation(void **state) {
    (void)state;
    char *doc = read_file(LM_SOURCE_DIR "/docs/training.md");
    const char *name, *type, *meaning;
    int keys = 0, rows = 0;
    for (; (name = lm_run_config_describe(keys, &type, &meaning)); keys++) {
        char *start = lm_format("\n| `%s` | %s | ", name, type), *end = lm_format(" | %s |\n", meaning);
        char *row = strstr(doc, start);
        if (!row) fail_msg("docs/training.md has no row%s", start);
        const char *tail = strstr(row + 1, end);
        if (!tail || tail > strchr(row + 1, '\n')) fail_msg("docs/training.md, %s: must end in%s", name, end);
        lm_free(start);
        lm_free(end);
    }
    for (const char *row = doc; (row = strstr(row, "\n| `")); row++) rows++;
    assert_int_equal(rows, keys);
    lm_free(doc);
}

static void test_shipped(void **state) {
    (void)state;
    static const char *const names[] = {"image", "video", "ssr", "style-flat", "style-mono", "style-chalk"};
    for (int i = 0; i < 6; i++) {
        lm_error e = {0};
        lm_run_config c;
        char *name = lm_format(LM_SOURCE_DIR "/configs/%s.yaml", names[i]);
        if (lm_run_config_read(&e, name, NULL, 0, &c) != LM_OK) fail_msg("%s", e.text);
        assert_memory_equal(c.stage, names[i], strlen(c.stage));
        lm_run_config_free(&c);
        lm_free(name);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_values),        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_defects),  cmocka_unit_test(test_list_length),   cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_shipped),  cmocka_unit_test(test_documentation), cmocka_unit_test(test_groups),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
