// model.json: what is read, each way of being wrong with its message, and the hash of a model's content.
#include "base/memory.h"
#include "store/model_folder.h"
#include "store_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HEAD "\"format\":1,\"name\":\"tiny\",\"version\":\"2\",\"licence\":\"MIT\","
#define PARTS "\"parts\":{\"text\":\"text\",\"base\":\"nets/base\"}"

static void write_in(const char *folder, const char *name, const char *text) {
    char *path = in_folder(folder, name);
    write_text(path, text);
    lm_free(path);
}

static void make_in(const char *folder, const char *name) {
    char *path = in_folder(folder, name);
    assert_int_equal(mkdir(path, 0777), 0);
    lm_free(path);
}

static char *make_model(const char *folder, const char *name) {
    char *path = in_folder(folder, name);
    assert_int_equal(mkdir(path, 0777), 0);
    write_in(path, "model.json",
             "{" HEAD PARTS
             ",\"description\":\"d\",\"defaults\":{\"width\":64,\"cfg_scale\":4.5,\"sampler\":\"ddim\"}}");
    make_in(path, "text");
    make_in(path, "nets");
    make_in(path, "nets/base");
    write_in(path, "text/config.json", "{}");
    write_in(path, "text/model.safetensors", "abc");
    write_in(path, "text/vocab.txt", "a\n");
    write_in(path, "nets/base/config.json", "{}");
    write_in(path, "nets/base/model.safetensors", "def");
    return path;
}

static void test_read(void **state) {
    char *path = make_model(*state, "read");
    lm_error e = {0};
    lm_model_folder *m;
    assert_status(&e, LM_OK, lm_model_folder_open(&e, path, &m));
    assert_string_equal(lm_model_folder_path(m), path);
    assert_string_equal(lm_model_folder_name(m), "tiny");
    assert_string_equal(lm_model_folder_version(m), "2");
    assert_string_equal(lm_model_folder_licence(m), "MIT");
    char *base = in_folder(path, "nets/base");
    assert_string_equal(lm_model_folder_part(m, "base"), base);
    assert_null(lm_model_folder_part(m, "ssr"));
    assert_true(lm_model_folder_default(m, "width", 1) == 64);
    assert_true(lm_model_folder_default(m, "cfg_scale", 1) == 4.5);
    assert_true(lm_model_folder_default(m, "height", 48) == 48);
    assert_true(lm_model_folder_default(m, "sampler", 3) == 3); // a text is not a number
    assert_string_equal(lm_model_folder_default_text(m, "sampler", "x"), "ddim");
    assert_string_equal(lm_model_folder_default_text(m, "width", "x"), "x");
    assert_string_equal(lm_model_folder_default_text(m, "none", "x"), "x");
    lm_model_folder_free(&m);
    assert_null(m);
    lm_free(base);
    lm_free(path);
}

static void hash_of(const char *path, char out[17]) {
    lm_error e = {0};
    lm_model_folder *m;
    assert_status(&e, LM_OK, lm_model_folder_open(&e, path, &m));
    assert_status(&e, LM_OK, lm_model_folder_hash(&e, m, out));
    lm_model_folder_free(&m);
}

// The same for the same content wherever it lies; another one for any change of weights, configuration or vocabulary.
static void test_hash(void **state) {
    static const char *const files[] = {"text/config.json", "text/model.safetensors", "text/vocab.txt",
                                        "nets/base/config.json", "nets/base/model.safetensors"};
    char *one = make_model(*state, "one"), *two = make_model(*state, "two");
    char first[17], second[17];
    hash_of(one, first);
    // SHA-256 of "PART/FILE", a zero byte and the file's SHA-256, for each file; computed with Python's hashlib
    assert_string_equal(first, "28d9efcbebc99268");
    for (int i = 0; i < 5; i++) {
        hash_of(two, second);
        if (i == 0)
            assert_string_equal(first, second);
        else
            assert_string_not_equal(first, second);
        write_in(two, files[i], "changed");
        char before[17];
        memcpy(before, second, sizeof before);
        hash_of(two, second);
        assert_string_not_equal(before, second);
    }
    lm_free(one);
    lm_free(two);
}

#define STYLE "\"name\":\"flat\",\"licence\":\"MIT\""

static void test_styles(void **state) {
    lm_error e = {0};
    lm_model_folder *m;
    static const char json[] = "{" HEAD PARTS ",\"styles\":[{" STYLE ",\"file\":\"styles/f.safetensors\"},"
                               "{\"name\":\"ink-2\",\"file\":\"ink\",\"licence\":\"MIT\",\"description\":\"by pen\"}]}";
    assert_status(&e, LM_OK, lm_model_folder_parse(&e, *state, (const uint8_t *)json, strlen(json), &m));
    assert_int_equal(lm_model_folder_styles(m), 2);
    const lm_model_style *flat = lm_model_folder_style(m, 0), *ink = lm_model_folder_find_style(m, "ink-2");
    assert_string_equal(flat->name, "flat");
    assert_non_null(strstr(flat->file, "/styles/f.safetensors"));
    assert_string_equal(flat->licence, "MIT");
    assert_string_equal(flat->description, "");
    assert_ptr_equal(ink, lm_model_folder_style(m, 1));
    assert_string_equal(ink->description, "by pen");
    assert_null(lm_model_folder_find_style(m, "ink"));
    lm_model_folder_free(&m);
}

static void test_defects(void **state) {
    (void)state;
    static const struct {
        const char *json, *piece;
    } cases[] = {
        {"", "line 1"},
        {"{" HEAD PARTS, "line 1"}, // cut off
        {"{" HEAD PARTS "} x", "end of file expected"},
        {"{\n" HEAD "\"name\":\"again\"," PARTS "}", "duplicate object key"},
        {"{" HEAD "\"parts\":{\"base\":\"\xff\"}}", "unable to decode byte 0xff"},
        {"{" HEAD "\"parts\":{\"base\":\"a\\u0000b\"}}", "\\u0000 is not allowed"},
        {"[1]", "not an object"},
        {"{\"name\":\"x\"," PARTS "}", "\"format\" is missing"},
        {"{\"format\":\"1\"," PARTS "}", "\"format\" is missing or not a number; it should be 1"},
        {"{\"format\":2," PARTS "}", "format 2 is unknown; this program reads format 1"},
        {"{\"format\":99999999999999999999," PARTS "}", "too big integer"},
        {"{\"format\":1,\"version\":\"2\",\"licence\":\"MIT\"," PARTS "}", "\"name\" is missing"},
        {"{\"format\":1,\"name\":7,\"version\":\"2\",\"licence\":\"MIT\"," PARTS "}",
         "\"name\" is missing or not a text"},
        {"{\"format\":1,\"name\":\"x\",\"version\":1,\"licence\":\"MIT\"," PARTS "}", "\"version\" is missing or not"},
        {"{\"format\":1,\"name\":\"x\",\"version\":\"1\",\"licence\":\"\"," PARTS "}", "\"licence\" is missing or not"},
        {"{" HEAD "\"extra\":1," PARTS "}", "unknown key \"extra\""},
        {"{" HEAD "\"description\":1," PARTS "}", "\"description\" is not a text"},
        {"{" HEAD "\"defaults\":{}}", "\"parts\" is missing"},
        {"{" HEAD "\"parts\":{}}", "\"parts\" is missing"},
        {"{" HEAD "\"parts\":[\"base\"]}", "\"parts\" is missing"},
        {"{" HEAD "\"parts\":{\"base\":1}}", "part 'base' is not a text"},
        {"{" HEAD "\"parts\":{\"../base\":\"base\"}}", "a part can't be called '../base'"},
        {"{" HEAD "\"parts\":{\"base\":\"\"}}", "part 'base' is in ''"},
        {"{" HEAD "\"parts\":{\"base\":\"/etc\"}}", "part 'base' is in '/etc'"},
        {"{" HEAD "\"parts\":{\"base\":\"..\"}}", "part 'base' is in '..'"},
        {"{" HEAD "\"parts\":{\"base\":\"a/../../b\"}}", "it should be a folder in the model's"},
        {"{" HEAD "\"parts\":{\"base\":\"a/\"}}", "part 'base' is in 'a/'"},
        {"{" HEAD "\"parts\":{\"base\":\"./a\"}}", "part 'base' is in './a'"},
        {"{" HEAD PARTS ",\"defaults\":[]}", "\"defaults\" is not an object"},
        {"{" HEAD PARTS ",\"styles\":{}}", "\"styles\" is not a list"},
        {"{" HEAD PARTS ",\"styles\":[1]}", "style 0 of \"styles\" is not an object"},
        {"{" HEAD PARTS ",\"styles\":[{" STYLE ",\"file\":\"a\",\"size\":1}]}", "unknown key \"size\" of a style"},
        {"{" HEAD PARTS ",\"styles\":[{" STYLE "}]}", "a style has no \"file\""},
        {"{" HEAD PARTS ",\"styles\":[{\"name\":\"a\",\"file\":\"a\"}]}", "a style has no \"licence\""},
        {"{" HEAD PARTS ",\"styles\":[{" STYLE ",\"file\":7}]}", "\"file\" of a style is not a text"},
        {"{" HEAD PARTS ",\"styles\":[{" STYLE ",\"file\":\"\"}]}", "\"file\" of a style is not a text"},
        {"{" HEAD PARTS ",\"styles\":[{" STYLE ",\"file\":\"../a\"}]}", "style 'flat' is in '../a'"},
        {"{" HEAD PARTS ",\"styles\":[{" STYLE ",\"file\":\"/a\"}]}", "style 'flat' is in '/a'"},
        {"{" HEAD PARTS ",\"styles\":[{\"name\":\"a b\",\"file\":\"a\",\"licence\":\"MIT\"}]}",
         "a style can't be called 'a b'"},
        {"{" HEAD PARTS ",\"styles\":[{" STYLE ",\"file\":\"a\"},{" STYLE ",\"file\":\"b\"}]}",
         "two styles are called 'flat'"},
        {"{" HEAD PARTS ",\"defaults\":{\"width\":null}}", "default \"width\" is not a number or a text"},
        {"{" HEAD PARTS ",\"defaults\":{\"width\":\"64\"}}", "default \"width\" must be a number"},
        {"{" HEAD PARTS ",\"defaults\":{\"upscale_noise\":\"0\"}}", "default \"upscale_noise\" must be a number"},
        {"{" HEAD PARTS ",\"defaults\":{\"sampler\":2}}", "default \"sampler\" must be a text"},
        {"{" HEAD PARTS ",\"defaults\":{\"width\":1e999}}", "real number overflow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lm_error e = {0};
        lm_model_folder *m = (void *)&e;
        assert_status(&e, LM_MODEL,
                      lm_model_folder_parse(&e, "tiny", (const uint8_t *)cases[i].json, strlen(cases[i].json), &m));
        assert_null(m);
        assert_message(&e, cases[i].piece);
        assert_message(&e, "'tiny/model.json'");
    }
}

static void open_fails(const char *path, const char *piece) {
    lm_error e = {0};
    lm_model_folder *m;
    assert_status(&e, LM_MODEL, lm_model_folder_open(&e, path, &m));
    assert_null(m);
    assert_message(&e, piece);
}

static void remove_in(const char *folder, const char *name) {
    char *path = in_folder(folder, name);
    assert_int_equal(remove(path), 0);
    lm_free(path);
}

static void test_missing_files(void **state) {
    char *path = make_model(*state, "missing"), *file = in_folder(path, "model.json"), *none = in_folder(path, "none");
    open_fails(none, "no model folder");
    open_fails(file, "is not a model folder; give the folder that holds model.json");
    remove_in(path, "text/vocab.txt");
    open_fails(path, "part 'text' has no file");
    remove_in(path, "nets/base/model.safetensors");
    open_fails(path, "nets/base/model.safetensors'");
    remove_in(path, "nets/base/config.json");
    open_fails(path, "nets/base/config.json'");
    char *large = calloc(1, (1 << 20) + 1);
    write_bytes(file, large, (1 << 20) + 1);
    open_fails(path, "at most 1048576 are allowed");
    free(large);
    remove_in(path, "model.json");
    open_fails(path, "can't read");
    lm_free(path);
    lm_free(file);
    lm_free(none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),    cmocka_unit_test(test_hash),          cmocka_unit_test(test_styles),
        cmocka_unit_test(test_defects), cmocka_unit_test(test_missing_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
