// JSON when the N-th allocation of the parser fails, for every N: the whole truth or LM_MEMORY, and nothing leaks.
#include "store/json_text.h"
#include "store/safetensors.h"
#include "base/memory.h"
#include "store_test.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long until, live; // allocations before the one that fails, pieces not yet freed
static bool failed;

static void *take(size_t size) {
    if (until-- == 0) {
        failed = true;
        return NULL;
    }
    live++;
    return malloc(size);
}

static void give(void *p) {
    live -= p != NULL;
    free(p);
}

static const char text[] =
    "{\"a name of more than sixteen bytes\": [1, 2.5, \"and a text that is as long as that\"], \"b\": {}}";

static void test_read(void **state) {
    (void)state;
    until = -1;
    lm_error e = {0};
    json_t *whole, *value;
    assert_status(&e, LM_OK, lm_json_read(&e, "x", text, sizeof text - 1, &whole));
    long n = 0;
    for (bool hit = true; hit; n++) {
        long before = live;
        until = n;
        failed = false;
        lm_error_clear(&e);
        lm_status status = lm_json_read(&e, "x", text, sizeof text - 1, &value);
        hit = failed;
        until = -1;
        assert_status(&e, hit ? LM_MEMORY : LM_OK, status);
        assert_int_equal(json_equal(whole, value), !hit);
        json_decref(value);
        assert_int_equal(live, before);
    }
    printf("%ld allocations\n", n - 1);
    assert_true(n > 20);
    lm_error_clear(&e);
    assert_status(&e, LM_MODEL, lm_json_read(&e, "x", "{\n\"a\" 1}", 8, &value));
    assert_message(&e, "'x': line 2, column 5: ':' expected");
    assert_null(value);
    json_decref(whole);
}

// A header is written whole or not at all.
static void test_write(void **state) {
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const lm_to_store tensors[] = {{"a name of more than sixteen bytes", 2, {2, 3}, x, LM_ST_I8},
                                   {"b", 1, {6}, x, LM_ST_BF16}};
    const char *keys[] = {"step"}, *values[] = {"a value of more than sixteen bytes"};
    char *path = in_folder(*state, "n.safetensors");
    long n = 0;
    for (bool hit = true; hit; n++) {
        long before = live;
        lm_error e = {0};
        write_text(path, "old");
        until = n;
        failed = false;
        lm_status status = lm_safetensors_write(&e, path, tensors, 2, keys, values, 1);
        hit = failed;
        until = -1;
        assert_int_equal(live, before);
        if (!hit) {
            assert_status(&e, LM_OK, status);
            lm_safetensors *s;
            assert_status(&e, LM_OK, lm_safetensors_open(&e, path, &s));
            assert_int_equal(lm_safetensors_count(s), 3);
            assert_string_equal(lm_safetensors_metadata(s, "step"), values[0]);
            lm_safetensors_free(&s);
        } else {
            assert_int_not_equal(status, LM_OK);
            assert_message(&e, "memory");
            assert_content(path, "old");
        }
    }
    printf("%ld allocations\n", n - 1);
    assert_true(n > 20);
    lm_free(path);
}

int main(void) {
    until = -1;
    json_set_alloc_funcs(take, give);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_read), cmocka_unit_test(test_write)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
