// inspect, and text out of files in general: a recipe is no program, no file makes a terminal do anything, and looking
// at a clip needs no room for its frames.
#include "cli/run_command.h"
#include "cli/tiny_model.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char *work, model[300];
static command_result r;

static void store(const char *name, const void *bytes, size_t size) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", work, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

// A clip whose recipe, which lies beside it, is that text.
static void store_clip(const char *recipe) {
    char npy[128 + 3] = "\x93NUMPY\x01";
    static const char header[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 3), }";
    memset(npy + 10, ' ', 117);
    memcpy(npy + 10, header, sizeof header - 1);
    npy[8] = 118;
    npy[127] = '\n';
    store("x.npy", npy, sizeof npy);
    store("x.npy.json", recipe, strlen(recipe));
}

static void store_recipe(const char *key, json_t *value) {
    json_t *recipe = json_pack("{s:s, s:i, s:o}", "prompt", "a bee", "seed", 1, key, value);
    char *text = json_dumps(recipe, 0);
    assert_non_null(text);
    store_clip(text);
    free(text);
    json_decref(recipe);
}

// Lines of text without control characters (C0, DEL, C1) and without what turns the direction of writing.
static void expect_harmless(const char *text) {
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool c1 = p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0;
        bool turns = p[0] == 0xe2 &&
                     ((p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
        if ((*p < 0x20 && *p != '\n') || *p == 0x7f || c1 || turns)
            fail_msg("byte %d is 0x%02x: %s", (int)(p - (const unsigned char *)text), *p, text);
    }
}

#define HOSTILE                                                                                                        \
    "\x1b]0;owned\x07\x1b[31mred\n\r\x7f\xc2\x9b"                                                                      \
    "2J\xe2\x80\xae"                                                                                                   \
    "evil"
#define HOSTILE_SHOWN "\\u001b]0;owned\\u0007\\u001b[31mred\\n\\r\\u007f\\u009b2J\\u202eevil"

static void expect_shown(int code, const char *piece) {
    if (r.code != code) fail_msg("exit code %d, not %d: %s%s", r.code, code, r.out, r.err);
    expect_harmless(r.out);
    expect_harmless(r.err);
    if (!strstr(r.out, piece) && !strstr(r.err, piece)) fail_msg("no \"%s\" in: %s%s", piece, r.out, r.err);
}

// Runs the printed line in a shell in which lumiere writes its arguments to a file, a byte 1 after each.
static void read_line(char *arguments, size_t size) {
    char script[600], command[700];
    snprintf(script, sizeof script, "%s/script", work);
    FILE *f = fopen(script, "w");
    assert_non_null(f);
    fprintf(f, "cd '%s' || exit 1\nlumiere() { printf '%%s\\001' \"$@\" > arguments; }\n%s", work, r.out);
    assert_int_equal(fclose(f), 0);
    snprintf(command, sizeof command, "sh '%s'", script);
    assert_int_equal(system(command), 0);
    snprintf(script, sizeof script, "%s/arguments", work);
    assert_true(read_text(script, arguments, size));
    snprintf(script, sizeof script, "%s/PWNED", work);
    if (!access(script, F_OK)) fail_msg("a recipe ran a command: %s", r.out);
}

// The line is harmless to look at, and to a shell it is the same prompt.
static void prompts_come_back_through_a_shell(void **state) {
    (void)state;
    static const char *const prompts[] = {
        "it's a 'bee', \"moving\" $HOME",
        "$(touch PWNED) `touch PWNED` ; touch PWNED & touch PWNED | touch PWNED",
        "'; touch PWNED; '",
        "a\nb\n touch PWNED",
        "\n'$(touch PWNED)'\x1b[31m \"`touch PWNED`\" \\\\033 100%s %n !! it's",
        "-x\ttab",
        "--output=PWNED",
        "\xe2\x80\xae$(touch PWNED)",
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80 \xe8\x9c\x82",
        "a backslash \\",
        "a backslash \\ and a bell \a\\",
        "\x7f",
        "",
    };
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        char arguments[4096], wanted[600];
        store_recipe("prompt", json_string(prompts[i]));
        RUN(&r, work, "inspect", "x.npy", "--as-args");
        expect_done(&r);
        expect_harmless(r.out);
        assert_ptr_equal(strchr(r.out, '\n'), r.out + strlen(r.out) - 1);
        read_line(arguments, sizeof arguments);
        snprintf(wanted, sizeof wanted, "generate\001--prompt=%s\001--seed=1\001", prompts[i]);
        assert_string_equal(arguments, wanted);
    }
}

static void refuse(const char *key, json_t *value, const char *piece) {
    store_recipe(key, value);
    RUN(&r, work, "inspect", "x.npy", "--as-args");
    expect_refused(&r, 5, piece);
    expect_harmless(r.err);
}

static void only_commands_that_make_clips_are_printed(void **state) {
    (void)state;
    static const char *const tasks[] = {"generate; touch PWNED #", "",     "rm", "train", "inspect", "bench", "help",
                                        "generate --threads=1",    HOSTILE};
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        refuse("task", json_string(tasks[i]), "\"task\" is no command that makes clips");
    refuse("task", json_integer(1), "\"task\" is no command that makes clips");
    refuse("task", json_object(), "\"task\" is no command that makes clips");
    store_recipe("task", json_string("edit"));
    RUN(&r, work, "inspect", "x.npy", "--as-args");
    expect_done(&r);
    assert_int_equal(strncmp(r.out, "lumiere edit --prompt='a bee' ", 30), 0);
}

// A value must be one that its option takes.
static void values_of_another_type_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *piece;
    } cases[] = {
        {"steps", "{\"a\":1}", "\"steps\" must be a whole number from 1 to 1000"},
        {"steps", "\"20; touch PWNED\"", "\"steps\" must be a whole number"},
        {"steps", "0", "\"steps\" must be a whole number"},
        {"steps", "2.5", "\"steps\" must be a whole number"},
        {"frames", "-4", "\"frames\" must be a whole number"},
        {"width", "1e300", "\"width\" must be a whole number"},
        {"height", "null", "\"height\" must be a whole number"},
        {"seed", "-1", "\"seed\" must be a whole number of at least 0"},
        {"seed", "\"1\"", "\"seed\" must be a whole number"},
        {"fps", "[16]", "\"fps\" must be a number from 0.1 to 240"},
        {"cfg_scale", "-0.5", "\"cfg_scale\" must be a number from 0 to 100"},
        {"cfg_scale", "true", "\"cfg_scale\" must be a number"},
        {"prompt", "[\"a\"]", "\"prompt\" must be a text"},
        {"prompt", "7", "\"prompt\" must be a text"},
        {"prompt", "\"a bee\\n\"", "\"prompt\" ends with a line break"},
        {"loop", "\"yes\"", "\"loop\" must be true or false"},
        {"loop", "1", "\"loop\" must be true or false"},
        {"sampler", "\"euler\"", "\"sampler\" must be dpmpp_2m|ddim"},
        {"sampler", "\"\"", "\"sampler\" must be dpmpp_2m|ddim"},
        {"precision", "\"auto|fp32\"", "\"precision\" must be auto|fp32|bf16"},
        {"style_strip", "[0.5]", "generate takes no --style-strip"},
        {"tile", "512", "generate takes no \"tile\"; upscale does"},
        {"styles", "{}", "\"styles\" must be a list"},
        {"styles", "[\"flat\"]", "\"styles\" must be a list of styles"},
        {"styles", "[{\"style\":\"a\",\"alpha\":\"0.5\",\"hash\":\"0\"}]", "\"styles\" must be a list of styles"},
        {"styles", "[{\"style\":\"a\",\"alpha\":-1,\"hash\":\"0\"}]", "\"alpha\" must be a number from 0 to 1"},
        {"model_folder", "{}", "\"model_folder\" must be a text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL), cases[i].piece);
    store_clip("{\"task\":\"inpaint\",\"prompt\":\"a bee\",\"box\":[1,2,3]}");
    RUN(&r, work, "inspect", "x.npy", "--as-args");
    expect_refused(&r, 5, "\"box\" must be a list of four whole numbers");
    store_clip("{\"task\":\"stylize\",\"prompt\":\"a bee\",\"style_strip\":[0.5,\"x\"]}");
    RUN(&r, work, "inspect", "x.npy", "--as-args");
    expect_refused(&r, 5, "\"style_strip\" must be a list of numbers");
    store_clip("{\"prompt\":\"a\\u0000b\"}"); // no shell's argument holds a NUL; no recipe does either
    RUN(&r, work, "inspect", "x.npy", "--as-args");
    expect_refused(&r, 5, "is no recipe");
}

static void recipes_are_shown_escaped(void **state) {
    (void)state;
    json_t *inner = json_pack("{s:s, s:[s]}", HOSTILE, HOSTILE, "list", HOSTILE);
    store_recipe(HOSTILE, inner);
    RUN(&r, work, "inspect", "x.npy");
    expect_shown(0, "  " HOSTILE_SHOWN ":\n    " HOSTILE_SHOWN ": " HOSTILE_SHOWN "\n");
    RUN(&r, work, "inspect", "x.npy", "--json");
    expect_shown(0, "evil");
    json_t *whole = json_loads(r.out, 0, NULL), *recipe = json_object_get(whole, "recipe");
    const char *back = json_string_value(json_object_get(json_object_get(recipe, HOSTILE), HOSTILE));
    assert_non_null(back);
    assert_string_equal(back, HOSTILE);
    json_decref(whole);
}

static void store_weights(const char *name, const char *tensor, const char *licence) {
    json_t *header =
        json_pack("{s:{s:s, s:s, s:s}, s:{s:s, s:[i], s:[i,i]}}", "__metadata__", "kind", "lumiere-style", "name", "a",
                  "licence", licence, tensor, "dtype", "F32", "shape", 1, "data_offsets", 0, 4);
    char *text = json_dumps(header, 0);
    uint64_t n = strlen(text);
    char bytes[2000] = {0};
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, text, n);
    store(name, bytes, 8 + n + 4);
    free(text);
    json_decref(header);
}

static void weights_are_shown_escaped(void **state) {
    (void)state;
    store_weights("w.safetensors", HOSTILE, HOSTILE);
    RUN(&r, work, "inspect", "w.safetensors");
    expect_shown(0, HOSTILE_SHOWN ": F32 [1]\n");
    assert_non_null(strstr(r.out, "licence: " HOSTILE_SHOWN "\n"));
    RUN(&r, work, "inspect", "w.safetensors", "--json");
    expect_shown(0, "evil");
    RUN(&r, work, "generate", "a bee", "--model", model, "--style", "./w.safetensors", "-q");
    expect_shown(3, "lumiere: "); // not a style that fits
}

static void change_model(const char *key, const char *value, bool remove) {
    char path[400];
    snprintf(path, sizeof path, "%s/model.json", model);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    if (remove)
        json_object_del(json, key);
    else
        json_object_set_new(json, key, json_string(value));
    assert_int_equal(json_dump_file(json, path, 0), 0);
    json_decref(json);
}

static void models_are_shown_escaped(void **state) {
    (void)state;
    change_model("name", HOSTILE, false);
    RUN(&r, work, "inspect", model);
    expect_shown(0, "name: " HOSTILE_SHOWN "\n");
    RUN(&r, work, "inspect", model, "--json");
    expect_shown(0, "evil");
    RUN(&r, work, "doctor", "--model", model);
    expect_shown(0, HOSTILE_SHOWN);
    RUN(&r, work, "generate", "a bee", "--model", model, "-o", "m.npy", "--json");
    expect_shown(0, HOSTILE_SHOWN ": 4 frames");
    change_model("name", "tiny", false);
    change_model(HOSTILE, "x", false);
    RUN(&r, work, "generate", "a bee", "--model", model, "-q");
    expect_shown(3, "unknown key \"" HOSTILE_SHOWN "\"");
    expect_refused(&r, 3, "unknown key");
    change_model(HOSTILE, NULL, true);
}

// Names of files, arguments, keys of run files.
static void names_are_shown_escaped(void **state) {
    (void)state;
    RUN(&r, work, "inspect", HOSTILE);
    expect_shown(5, HOSTILE_SHOWN);
    expect_refused(&r, 5, "can't read");
    RUN(&r, work, HOSTILE);
    expect_shown(2, "unknown command");
    RUN(&r, work, "generate", "a bee", "--" HOSTILE);
    expect_shown(2, "unknown option --" HOSTILE_SHOWN);
    RUN(&r, work, "generate", "a bee", "--steps", HOSTILE);
    expect_shown(2, "--steps is \"" HOSTILE_SHOWN);
    RUN(&r, work, "generate", "a bee", "--model", HOSTILE);
    expect_shown(3, HOSTILE_SHOWN);
    RUN(&r, work, "generate", "a bee", "--model", model, "-o", HOSTILE ".npy", "--json");
    expect_shown(0, "wrote " HOSTILE_SHOWN ".npy in ");
    RUN(&r, work, "measure", HOSTILE ".npy", "--no-flow");
    expect_shown(0, HOSTILE_SHOWN ".npy: 4 frames");
    RUN(&r, work, "measure", HOSTILE ".npy", "--json", "--no-flow");
    expect_shown(0, "evil");
    RUN(&r, work, "compare", HOSTILE ".npy", HOSTILE ".npy", "-o", HOSTILE ".webp", "--json", "--fps", "8");
    expect_shown(0, "evil");
    static const char run[] = "stage: image\n\"\\e[31m\\n\\u202e\": 1\n";
    store("run.yaml", run, sizeof run - 1);
    RUN(&r, work, "train", "run.yaml");
    expect_shown(2, "line 2: unknown key \"\\u001b[31m\\n\\u202e\"");
    RUN(&r, work, "train", "run.yaml", "--set", HOSTILE);
    expect_shown(2, "lumiere: ");
}

// A name that is no UTF-8 is no JSON string: its bytes are spelled.
static void names_that_are_no_utf8_are_in_the_json(void **state) {
    (void)state;
    store_clip("{}");
    char from[600], to[600];
    snprintf(from, sizeof from, "%s/x.npy", work);
    snprintf(to, sizeof to, "%s/caf\xe9.npy", work);
    assert_int_equal(rename(from, to), 0);
    RUN(&r, work, "inspect", "caf\xe9.npy");
    expect_shown(0, "path: caf\\xe9.npy\n");
    RUN(&r, work, "inspect", "caf\xe9.npy", "--json");
    expect_shown(0, "\"path\":\"caf\\\\xe9.npy\"");
    RUN(&r, work, "measure", "caf\xe9.npy", "--json", "--no-flow");
    expect_shown(0, "\"clip\":\"caf\\\\xe9.npy\"");
    assert_int_equal(remove(to), 0);
}

// 5000 frames of a pixel each on a screen of 4000x4000: 240 GB as pixels.
static void long_and_large_clips_are_described(void **state) {
    (void)state;
    enum { FRAMES = 5000 };
    static const uint8_t start[19] = {'G', 'I', 'F', '8', '9', 'a', 0xa0, 15, 0xa0, 15, 0x80};
    static const uint8_t frame[] = {0x21, 0xf9, 4, 4, 10, 0, 0, 0, 0x2c, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0};
    char *bytes = malloc(sizeof start + FRAMES * sizeof frame + 1), *p = bytes;
    assert_non_null(bytes);
    memcpy(p, start, sizeof start);
    p += sizeof start;
    for (int i = 0; i < FRAMES; i++, p += sizeof frame) memcpy(p, frame, sizeof frame);
    *p++ = 0x3b;
    store("long.gif", bytes, (size_t)(p - bytes));
    free(bytes);
    RUN(&r, work, "inspect", "long.gif");
    expect_done(&r);
    assert_string_equal(
        r.out, "kind: clip\npath: long.gif\nframes: 5000\nwidth: 4000\nheight: 4000\nfps: 10.0\nseconds: 500.0\n"
               "recipe: null\n");
}

static void help_of_bench_names_all_rows(void **state) {
    (void)state;
    static const char *const rows[] = {"forward", "image", "video", "ssr"};
    RUN(&r, work, "help", "bench");
    expect_done(&r);
    const char *option = strstr(r.out, "--rows"), *end = strchr(option, '\n');
    for (int i = 0; i < 4; i++) {
        char line[40];
        const char *named = strstr(option, rows[i]);
        if (!named || named > strchr(end + 1, '\n')) fail_msg("--rows does not name %s: %s", rows[i], r.out);
        snprintf(line, sizeof line, "%s: ", rows[i]);
        if (!strstr(r.out, line)) fail_msg("nothing is said of the row %s: %s", rows[i], r.out);
    }
}

static int set_up(void **state) {
    (void)state;
    unsetenv("LUMIERE_MODEL");
    work = temporary_make();
    snprintf(model, sizeof model, "%s/tiny", work);
    tiny_model_make(model);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_come_back_through_a_shell),
        cmocka_unit_test(only_commands_that_make_clips_are_printed),
        cmocka_unit_test(values_of_another_type_are_refused),
        cmocka_unit_test(recipes_are_shown_escaped),
        cmocka_unit_test(weights_are_shown_escaped),
        cmocka_unit_test(models_are_shown_escaped),
        cmocka_unit_test(names_are_shown_escaped),
        cmocka_unit_test(names_that_are_no_utf8_are_in_the_json),
        cmocka_unit_test(long_and_large_clips_are_described),
        cmocka_unit_test(help_of_bench_names_all_rows),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
