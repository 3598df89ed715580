// Shards: pixels and captions of good ones, and what is said about damaged ones.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include "train_data.h"

#include "base/memory.h"
#include "train/shards.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 8 };

static lm_pool *pool;
static uint8_t *still, *clip; // three styles of SIDE x SIDE side by side; a clip of the committed data
static size_t still_size, clip_size;
static uint8_t still_pixels[SIDE * 3 * SIDE * 4];

static const char still_json[] =
    "{\"key\":\"a\",\"subject\":\"1f680\",\"caption\":\"a rocket\",\"paraphrases\":[\"rocket, space\",\"a ship\"],"
    "\"styles\":[\"flat\",\"3d\",\"mono\"],\"size\":8,\"frames\":1,\"skin_tone\":null}";
static const char clip_json[] = "{\"subject\":\"1f3ce\",\"caption\":\"a racing car\",\"paraphrases\":[],\"size\":64,"
                                "\"motion\":\"racing\",\"frames\":48}";

static int prepare(void **state) {
    (void)state;
    lm_error e = {0};
    for (int i = 0; i < SIDE * 3 * SIDE * 4; i++) still_pixels[i] = (uint8_t)(i * 37 + i / 11);
    still = make_webp(still_pixels, 3 * SIDE, SIDE, &still_size);
    clip = first_file_of_tar(LM_SOURCE_DIR "/data/emoji/train-anim-000.tar", &clip_size);
    return lm_pool_create(&e, 2, &pool);
}

static int clean_up(void **state) {
    (void)state;
    lm_free(still);
    lm_free(clip);
    lm_pool_free(&pool);
    return 0;
}

static tar_file text_file(const char *name, const char *text) {
    return (tar_file){name, text, strlen(text), NULL};
}
static tar_file still_file(const char *name) {
    return (tar_file){name, still, still_size, NULL};
}
static tar_file clip_file(const char *name) {
    return (tar_file){name, clip, clip_size, NULL};
}

static void test_good_records(void **state) {
    (void)state;
    const tar_file files[] = {still_file("x/1.webp"), text_file("x/1.json", still_json), text_file("x/1.txt", "more"),
                              text_file("2.json", clip_json), clip_file("2.webm")};
    size_t size;
    uint8_t *tar = make_tar(files, 5, &size);
    lm_sprites list = {0};
    lm_error e = {0};
    assert_int_equal(lm_shard_read(&e, "good.tar", tar, size, "3d", pool, &list), LM_OK);
    assert_int_equal(list.count, 2);
    const lm_sprite *s = &list.items[0];
    assert_string_equal(s->subject, "1f680");
    assert_int_equal(s->caption_count, 3);
    assert_string_equal(s->captions[0], "a rocket");
    assert_string_equal(s->captions[2], "a ship");
    assert_null(s->motion);
    assert_int_equal(s->frames, 1);
    for (int i = 0; i < SIDE * SIDE; i++) { // the middle one of three
        const uint8_t *p = still_pixels + (i / SIDE * 3 * SIDE + SIDE + i % SIDE) * 4;
        for (int c = 0; c < 3; c++) assert_int_equal(s->data[i * 4 + c], (2 * p[c] * p[3] + 255) / 510);
        assert_int_equal(s->data[i * 4 + 3], p[3]);
    }
    s = &list.items[1];
    assert_string_equal(s->motion, "racing");
    assert_int_equal(s->frames, 48);
    assert_int_equal(s->size, 64);
    assert_int_equal(s->data[3], 0);                    // a corner is clear
    assert_true(s->data[(56 * 64 + 32) * 4 + 3] > 200); // the car is not
    lm_sprites_clear(&list);
    lm_free(tar);
}

static void test_other_styles_are_left_out(void **state) {
    (void)state;
    const tar_file files[] = {still_file("1.webp"), text_file("1.json", still_json)};
    size_t size;
    uint8_t *tar = make_tar(files, 2, &size);
    lm_sprites list = {0};
    lm_error e = {0};
    assert_int_equal(lm_shard_read(&e, "good.tar", tar, size, "modern", pool, &list), LM_OK);
    assert_int_equal(list.count, 0);
    lm_sprites_clear(&list);
    lm_free(tar);
}

static void expect_refused(const uint8_t *bytes, size_t size, const char *message) {
    lm_sprites list = {0};
    lm_error e = {0};
    lm_status status = lm_shard_read(&e, "bad.tar", bytes, size, "3d", pool, &list);
    if (status != LM_MEDIA || !strstr(e.text, message) || !strstr(e.text, "bad.tar") || list.count)
        fail_msg("status %d, '%s'; expected '%s'", status, e.text, message);
    lm_sprites_clear(&list);
}

static void expect_tar_refused(const tar_file *files, int count, const char *message) {
    size_t size;
    uint8_t *tar = make_tar(files, count, &size);
    expect_refused(tar, size, message);
    lm_free(tar);
}

static void test_damaged_tars(void **state) {
    (void)state;
    static const uint8_t zeros[10240], noise[4096] = "this is not a tar";
    expect_refused(noise, sizeof noise, "not a tar: Unrecognized archive format");
    expect_refused(noise, 0, "tar");
    expect_refused(zeros, sizeof zeros, "no records");
    const tar_file files[] = {text_file("2.json", clip_json), clip_file("2.webm")};
    size_t size;
    uint8_t *tar = make_tar(files, 2, &size);
    expect_refused(tar, 512 + 100, "tar");         // within the first file
    expect_refused(tar, 512 + 512 + 100, "tar");   // within a header
    expect_refused(tar, 3 * 512 + 1000, "2.webm"); // within the second file
    tar[1024 + 3] ^= 0x55;                         // a header that its checksum doesn't fit
    expect_refused(tar, size, "not a whole tar");
    lm_free(tar);
}

static void test_wrong_files(void **state) {
    (void)state;
    const tar_file json = text_file("1.json", still_json), webp = still_file("1.webp");
    char long_name[230];
    memset(long_name, 'a', sizeof long_name);
    memcpy(long_name + 140, "/", 1);
    memcpy(long_name + sizeof long_name - 6, ".json", 6);
    const struct {
        tar_file files[3];
        int count;
        const char *message;
    } cases[] = {
        {{text_file("README", "hello")}, 1, "file name 'README'"},
        {{text_file(".json", still_json)}, 1, "file name '.json'"},
        {{text_file(long_name, still_json)}, 1, "file name 'aaa"},
        {{webp, {"1.json", "", 0, "/etc/passwd"}}, 2, "1.json is a link or a device"},
        {{json, webp, json}, 3, "1.json is in the tar twice"},
        {{json, text_file("1.webp", "")}, 2, "1.webp is empty"},
        {{webp}, 1, "record 1 has no .json"},
        {{json}, 1, "record 1 must have either a .webm or a .webp"},
        {{json, webp, clip_file("1.webm")}, 3, "record 1 must have either a .webm or a .webp"},
        {{json, still_file("2.webp"), text_file("2.json", still_json)}, 3, "record 1 must have either"},
        {{json, text_file("1.webp", "RIFF....WEBP....")}, 2, "record 1"},
        {{text_file("1.json", clip_json), text_file("1.webm", "no video")}, 2, "record 1"},
        {{text_file("1.json", "{\"subject\": \"a\",\n  oops}"), webp}, 2, "JSON line 2"},
        {{text_file("1.json", "[1,2]"), webp}, 2, "must be an object"},
        {{text_file("1.json", "{\"size\":8,\"size\":9}"), webp}, 2, "duplicate"},
        {{text_file("1.json", "{\"subject\":\"\xff\"}"), webp}, 2, "unable to decode byte 0xff"},
        {{text_file("1.json", "{\"subject\":\"a\\u0000b\"}"), webp}, 2, "JSON line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_tar_refused(cases[i].files, cases[i].count, cases[i].message);
}

// The good JSON with one field replaced by a value, or taken out where value is NULL.
static void expect_field_refused(bool is_still, const char *field, const char *value, const char *message) {
    json_t *json = json_loads(is_still ? still_json : clip_json, 0, NULL);
    if (value)
        json_object_set_new(json, field, json_loads(value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(json, field);
    char *text = json_dumps(json, 0);
    const tar_file files[] = {text_file("1.json", text), is_still ? still_file("1.webp") : clip_file("1.webm")};
    expect_tar_refused(files, 2, message);
    free(text);
    json_decref(json);
}

static void test_wrong_fields(void **state) {
    (void)state;
    char long_text[1100];
    memset(long_text, 'a', sizeof long_text);
    long_text[0] = long_text[sizeof long_text - 2] = '"';
    long_text[sizeof long_text - 1] = 0;
    char many[64 * 4 + 2] = "[";
    for (int i = 0; i < 64; i++) strcat(many, i < 63 ? "\"a\"," : "\"a\"");
    many[sizeof many - 2] = ']';
    const struct {
        bool is_still;
        const char *field, *value, *message;
    } cases[] = {
        {true, "subject", NULL, "\"subject\" must be a string of 1 to 1000 bytes"},
        {true, "subject", "7", "\"subject\" must be a string"},
        {true, "caption", NULL, "\"caption\" must be a string"},
        {true, "caption", "\"\"", "\"caption\" must be a string"},
        {true, "caption", "[\"a\"]", "\"caption\" must be a string"},
        {true, "caption", long_text, "\"caption\" must be a string of 1 to 1000 bytes"},
        {true, "paraphrases", NULL, "\"paraphrases\" must be a list of at most 63 strings"},
        {true, "paraphrases", "\"a\"", "\"paraphrases\" must be a list"},
        {true, "paraphrases", "[\"a\", 1]", "\"paraphrases\"[1] must be a string"},
        {true, "paraphrases", many, "\"paraphrases\" must be a list of at most 63"},
        {true, "frames", "2", "\"frames\" must be a whole number from 1 to 1"},
        {true, "size", "4", "\"size\" must be a whole number from 8 to 512"},
        {true, "size", "1e9", "\"size\" must be a whole number"},
        {true, "size", "10", "\"size\" is 10; it must be a multiple of 4"},
        {true, "size", "12", "frames of 24 x 8 pixels; its JSON says 36 x 12"},
        {true, "styles", NULL, "\"styles\" must be a list"},
        {true, "styles", "[3]", "\"styles\"[0] must be a string"},
        {true, "styles", "[\"flat\",\"3d\"]", "frames of 24 x 8 pixels; its JSON says 16 x 8"},
        {false, "motion", "5", "\"motion\" must be a string"},
        {false, "frames", NULL, "\"frames\" must be a whole number from 1 to 1024"},
        {false, "frames", "0", "\"frames\" must be a whole number"},
        {false, "frames", "48.0", "\"frames\" must be a whole number"},
        {false, "frames", "99999999999", "\"frames\" must be a whole number"},
        {false, "frames", "47", "more frames than the 47 its JSON says"},
        {false, "frames", "49", "48 frames; its JSON says 49"},
        {false, "size", "32", "frames of 64 x 128 pixels; its JSON says 32 x 64"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_field_refused(cases[i].is_still, cases[i].field, cases[i].value, cases[i].message);
}

static void test_first_defect_in_order_is_reported(void **state) {
    (void)state;
    tar_file files[20];
    char names[10][2][16];
    for (int i = 0; i < 10; i++) {
        snprintf(names[i][0], sizeof names[i][0], "%d.json", i);
        snprintf(names[i][1], sizeof names[i][1], "%d.webp", i);
        files[2 * i] = text_file(names[i][0], i < 4 ? still_json : "{}");
        files[2 * i + 1] = still_file(names[i][1]);
    }
    for (int i = 0; i < 20; i++) expect_tar_refused(files, 20, "record 4: \"subject\"");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_records), cmocka_unit_test(test_other_styles_are_left_out),
        cmocka_unit_test(test_damaged_tars), cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_wrong_fields), cmocka_unit_test(test_first_defect_in_order_is_reported),
    };
    return cmocka_run_group_tests(tests, prepare, clean_up);
}
