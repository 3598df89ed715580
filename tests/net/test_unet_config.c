// config.json of the U-Net: keys that say what the network is are wanted, those that older models lack and those of an
// inflation that isn't there are not; what is wrong is named.
#include "base/memory.h"
#include "net/families/unet.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static json_t *whole(void) {
    lm_unet_config c = lm_unet_config_default();
    char *text = lm_unet_config_json(&c);
    json_t *object = json_loads(text, 0, NULL);
    assert_non_null(object);
    lm_free(text);
    return object;
}

// Takes object.
static lm_status parse(json_t *object, lm_error *e, lm_unet_config *c) {
    char *text = json_dumps(object, 0);
    lm_error_clear(e);
    lm_status s = lm_unet_config_parse(e, "config.json", text, strlen(text), c);
    assert_int_equal(s, e->status);
    free(text);
    json_decref(object);
    return s;
}

// Removes each key in turn; how many of them may be left out.
static int leave_out_each(bool video) {
    json_t *all = whole();
    const char *key;
    json_t *value;
    int optional = 0;
    json_object_set_new(all, "video", json_boolean(video));
    assert_int_equal(json_object_size(all), 17);
    json_object_foreach(all, key, value) {
        lm_error e = {0};
        lm_unet_config c, usual = lm_unet_config_default();
        json_t *without = json_copy(all);
        json_object_del(without, key);
        bool inflation =
            !strcmp(key, "temporal_down") || !strcmp(key, "temporal_attention_blocks") || !strcmp(key, "max_frames");
        lm_status s = parse(without, &e, &c);
        if (!strcmp(key, "residual_scale") || (inflation && !video)) {
            usual.video = video;
            if (s != LM_OK) fail_msg("without %s: %s", key, e.text);
            assert_memory_equal(&c, &usual, sizeof c);
            optional++;
            continue;
        }
        char piece[100];
        snprintf(piece, sizeof piece, "config.json: %s is missing; it must be ", key);
        if (s != LM_MODEL || !strstr(e.text, piece)) fail_msg("without %s: status %d, \"%s\"", key, s, e.text);
    }
    json_decref(all);
    return optional;
}

static void keys_are_wanted(void **state) {
    (void)state;
    assert_int_equal(leave_out_each(true), 1);
    assert_int_equal(leave_out_each(false), 4); // what the inflation is like, where there is none
}

static void lists_must_fit(void **state) {
    (void)state;
    static const struct {
        const char *key, *list, *piece;
    } cases[] = {
        {"channels", "[]", "channels is empty; a network has a level at least"},
        {"channels", "[32]", "attention has 4 entries; 1 channels need 1"},
        {"channels", "[0,96,160,256]", "channels must be a list of whole numbers from 1 to 8192"},
        {"channels", "32", "channels must be a list of whole numbers"},
        {"channels", "[1,2,3,4,5,6,7,8,9]", "8 of them at most"},
        {"attention", "[]", "attention has 0 entries; 4 channels need 4"},
        {"temporal_down", "[]", "temporal_down has 0 entries; 4 channels need 3"},
        {"attention", "[0,1,0,1]", "attention must be a list of true and false"},
        {"temporal_down", "[true]", "temporal_down has 1 entries; 4 channels need 3"},
        {"groups", "{}", "groups must be a whole number from 1 to 1024"},
        {"groups", "-16", "groups must be a whole number from 1 to 1024"},
        {"video", "1", "video must be true or false"},
        {"levels", "4", "unknown key \"levels\""},
        {"chan\\u001b[31m", "4", "unknown key \"chan\\u001b[31m\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lm_error e = {0};
        lm_unet_config c;
        char change[200];
        json_t *object = whole();
        snprintf(change, sizeof change, "{\"%s\":%s}", cases[i].key, cases[i].list);
        json_t *part = json_loads(change, 0, NULL);
        assert_int_equal(json_object_update(object, part), 0);
        json_decref(part);
        lm_status s = parse(object, &e, &c);
        if (s != LM_MODEL || !strstr(e.text, cases[i].piece))
            fail_msg("%s: status %d, \"%s\" does not say \"%s\"", change, s, e.text, cases[i].piece);
    }
}

// One level: nothing is halved in time, and the lists say so.
static void a_single_level_is_possible(void **state) {
    (void)state;
    lm_error e = {0};
    lm_unet_config c;
    json_t *object = whole();
    json_object_set_new(object, "channels", json_pack("[i]", 32));
    json_object_set_new(object, "attention", json_pack("[b]", 1));
    json_object_set_new(object, "temporal_down", json_array());
    if (parse(object, &e, &c) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(c.levels, 1);
    assert_int_equal(c.channels[0], 32);
    assert_int_equal(c.channels[1], 0);
    assert_true(c.attention[0] && !c.attention[1] && !c.temporal_down[0]);
}

static void shipped_models_are_read(void **state) {
    (void)state;
    static const char *const parts[] = {"base", "ssr"};
    for (int i = 0; i < 2; i++) {
        lm_error e = {0};
        lm_unet_config c;
        char *path = lm_format("%s/models/emoji/%s/config.json", LM_SOURCE_DIR, parts[i]);
        if (lm_unet_config_read(&e, path, &c) != LM_OK) fail_msg("%s", e.text);
        assert_int_equal(lm_unet_is_ssr(&c), i == 1);
        lm_free(path);
    }
}

static long until; // allocations of jansson's before the one that fails

static void *take(size_t size) {
    return until-- == 0 ? NULL : malloc(size);
}

// Whichever allocation of the reader fails: a shortage is not what is wrong with the file.
static void a_shortage_is_no_fault_of_the_file(void **state) {
    (void)state;
    const lm_unet_config usual = lm_unet_config_default();
    char *text = lm_unet_config_json(&usual);
    assert_non_null(text);
    json_set_alloc_funcs(take, free);
    lm_status status = LM_MEMORY;
    long n = 0;
    for (; status != LM_OK && n < 10000; n++) {
        lm_error e = {0};
        lm_unet_config c;
        until = n;
        status = lm_unet_config_parse(&e, "x", text, strlen(text), &c);
        if (status != LM_OK && status != LM_MEMORY) fail_msg("allocation %ld: %s", n, e.text);
    }
    assert_true(status == LM_OK && n > 40);
    json_set_alloc_funcs(malloc, free);
    lm_free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_wanted),
        cmocka_unit_test(lists_must_fit),
        cmocka_unit_test(a_single_level_is_possible),
        cmocka_unit_test(shipped_models_are_read),
        cmocka_unit_test(a_shortage_is_no_fault_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
