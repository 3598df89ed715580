// Recipes when memory is short: whichever allocation of the JSON reader and writer fails, a recipe is there whole or
// the call says that memory is short; it is never taken for somebody else's comment.
#include "media_test.h"

#include "base/memory.h"

#include <jansson.h>
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

static const char recipe[] =
    "{\"prompt\":\"a bee, longer than a few characters\",\"fps\":12.5,\"list\":[1,2,{\"a\":null}]}";

typedef lm_status (*way)(lm_error *e, char **out);

static lm_status write_one(lm_error *e, char **out) {
    lm_clip clip = make_clip(2, 8, 6, 3);
    *out = NULL;
    const lm_status status = lm_media_write(e, "a.npy", &clip, recipe);
    lm_clip_free(&clip);
    return status;
}
static lm_status read_one(lm_error *e, char **out) {
    return lm_media_read_recipe(e, "given.npy", out);
}
static lm_status read_comment(lm_error *e, char **out) {
    return lm_media_read_recipe(e, "given.gif", out);
}

static void fail_each(way go, const char *expected, long least) {
    long n = 0;
    for (bool hit = true; hit; n++) {
        lm_error e = {0};
        char *out = NULL;
        const long before = live;
        until = n;
        failed = false;
        const lm_status status = go(&e, &out);
        hit = failed;
        until = -1;
        assert_int_equal(live, before);
        if (status != (hit ? LM_MEMORY : LM_OK)) fail_msg("allocation %ld: %d, \"%s\"", n, (int)status, e.text);
        if (hit) assert_null(out);
        if (!hit && expected) assert_string_equal(out, expected);
        lm_free(out);
    }
    assert_true(n > least);
}

static void a_shortage_loses_no_recipe(void **state) {
    (void)state;
    lm_clip clip = make_clip(2, 8, 6, 3);
    write_clip("given.npy", &clip, recipe);
    write_clip("given.gif", &clip, recipe);
    lm_clip_free(&clip);
    assert_int_equal(remove("given.gif.json"), 0);
    until = -1;
    json_set_alloc_funcs(take, give);
    fail_each(write_one, NULL, 20);
    fail_each(read_one, recipe, 20);
    fail_each(read_comment, recipe, 20);
    json_set_alloc_funcs(malloc, free);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_shortage_loses_no_recipe, enter_folder, leave_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
