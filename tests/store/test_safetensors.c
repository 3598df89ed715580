// Reading safetensors: a file of the Python package, what the format permits, and each defect with its message.
#include "base/files.h"
#include "base/memory.h"
#include "store/model_folder.h"
#include "store_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_ramp(const lm_safetensors *s, const char *name, lm_store_type type, int count) {
    lm_error e = {0};
    float values[24];
    const lm_stored *t = lm_safetensors_find(s, name);
    assert_non_null(t);
    assert_int_equal(t->type, type);
    assert_status(&e, LM_OK, lm_safetensors_floats(&e, s, t, values));
    for (int i = 0; i < count; i++) assert_true(values[i] == (float)i / 8 - 1);
}

// tests/oracle/make_safetensors.py wrote the file and states its values.
static void test_python(void **state) {
    (void)state;
    lm_error e = {0};
    lm_safetensors *s;
    assert_status(&e, LM_OK, lm_safetensors_open(&e, LM_TEST_DATA "/store/python.safetensors", &s));
    assert_int_equal(lm_safetensors_count(s), 12);
    assert_string_equal(lm_safetensors_metadata(s, "format"), "pt");
    assert_string_equal(lm_safetensors_metadata(s, "note"), "ü");
    check_ramp(s, "f32", LM_ST_F32, 24);
    check_ramp(s, "f16", LM_ST_F16, 10);
    check_ramp(s, "bf16", LM_ST_BF16, 7);
    check_ramp(s, "f64", LM_ST_F64, 3);
    const lm_stored *t = lm_safetensors_find(s, "f32");
    assert_true(t->rank == 3 && t->dim[0] == 2 && t->dim[1] == 3 && t->dim[2] == 4);
    float values[6];
    const float rows[6] = {-63.5f, 2.5f, 0, 254, 0, 0};
    assert_status(&e, LM_OK, lm_safetensors_floats(&e, s, lm_safetensors_find(s, "i8"), values));
    for (int i = 0; i < 6; i++) assert_true(values[i] == rows[i]);
    assert_memory_equal(lm_safetensors_find(s, "u8")->data, "\0\xff", 2);
    assert_memory_equal(lm_safetensors_find(s, "i32")->data, ((int32_t[]){INT32_MIN, 7}), 8);
    assert_memory_equal(lm_safetensors_find(s, "i64")->data, ((int64_t[]){1LL << 40, -1}), 16);
    t = lm_safetensors_find(s, "scalar");
    assert_true(t->rank == 0 && t->bytes == 4);
    t = lm_safetensors_find(s, "empty");
    assert_true(t->rank == 2 && t->dim[0] == 0 && t->dim[1] == 3 && t->bytes == 0);
    assert_non_null(lm_safetensors_find(s, "é.weight"));
    lm_safetensors_free(&s);
}

// A file in memory: the header's length, the header, then data zero bytes. On the heap, so that a sanitizer sees its
// end.
static uint8_t *make_file(uint64_t length, const char *header, size_t data, size_t *size) {
    size_t n = strlen(header);
    *size = 8 + n + data;
    uint8_t *bytes = calloc(*size, 1);
    assert_non_null(bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, n);
    return bytes;
}

static lm_status parse(lm_error *e, const char *header, size_t data, int *count) {
    size_t size;
    uint8_t *bytes = make_file(strlen(header), header, data, &size);
    lm_safetensors *s;
    lm_status status = lm_safetensors_parse(e, "x.safetensors", bytes, size, &s);
    if (s) *count = lm_safetensors_count(s);
    lm_safetensors_free(&s);
    free(bytes);
    return status;
}

#define T(name, type, shape, from, to)                                                                                 \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"

static void test_permitted(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        int count;
    } cases[] = {
        {"{}", 0, 0},
        {"{}          ", 0, 0}, // padding
        {"{\"__metadata__\":{}}", 0, 0},
        {"{" T("b", "F32", "[2]", 8, 16) "," T("a", "F64", "[]", 0, 8) "}  ", 16, 2}, // in any order, scalars
        {"{" T("a", "U8", "[3]", 0, 3) "," T("z", "F32", "[0,9]", 3, 3) "," T("b", "F32", "[1]", 3, 7) "}", 7, 3},
        {"{" T("z", "F32", "[0]", 0, 0) "," T("y", "F32", "[0]", 0, 0) "}", 0, 2},
        {"{" T("", "U8", "[1,1,1,1,1,1,1,1]", 0, 1) "}", 1, 1},
        {"{\"a\":{\"data_offsets\":[0,2],\"shape\":[1],\"dtype\":\"BF16\"}}", 2, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lm_error e = {0};
        int count = -1;
        assert_status(&e, LM_OK, parse(&e, cases[i].header, cases[i].data, &count));
        assert_int_equal(count, cases[i].count);
    }
}

static void test_defects(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *piece;
    } cases[] = {
        {"", 4, "header doesn't begin with '{'"},
        {" {}", 0, "header doesn't begin with '{'"},
        {"[]", 0, "header doesn't begin with '{'"},
        {"{\"a\":", 0, "line 1, column "},
        {"{} {}", 0, "end of file expected"},
        {"{\"a\xff\":{}}", 0, "unable to decode byte 0xff"},
        {"{" T("a", "U8", "[1]", 0, 1) "," T("a", "U8", "[1]", 1, 2) "}", 2, "duplicate object key"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "duplicate object key"},
        {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "duplicate object key"},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"step\":1}}", 0, "__metadata__ 'step' is not a string"},
        {"{\"a\":7}", 0, "tensor 'a' is not described by an object"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor 'a' has no \"dtype\""},
        {"{" T("a", "F8_E4M3", "[1]", 0, 1) "}", 1, "tensor 'a' has the type 'F8_E4M3'; known are F64, F32"},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "has no \"shape\""},
        {"{" T("a", "U8", "[1.0]", 0, 1) "}", 1, "a dimension that is not a whole number"},
        {"{" T("a", "U8", "[-1]", 0, 1) "}", 1, "a dimension that is not a whole number"},
        {"{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "more than 8 dimensions"},
        {"{" T("a", "U8", "[99999999999999999999]", 0, 1) "}", 1, "too big integer"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "has no \"data_offsets\""},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "has no \"data_offsets\", a list of two"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1, "has no \"data_offsets\""},
        {"{" T("a", "U8", "[1]", -1, 0) "}", 1, "has no \"data_offsets\", a list of two whole numbers"},
        {"{" T("a", "U8", "[1]", 1, 0) "}", 1, "ends before it begins"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":0}}", 1, "a property that is not dtype"},
        {"{" T("a", "F32", "[2,3]", 0, 20) "}", 20, "tensor 'a' has 20 bytes; its shape and type need 24"},
        {"{" T("a", "U8", "[4294967296,4294967296]", 0, 0) "}", 0,
         "a shape too large to exist"}, // 2^64: 0 if it wrapped
        {"{" T("a", "F64", "[2305843009213693952]", 0, 0) "}", 0, "a shape too large to exist"}, // times 8 bytes: 2^64
        {"{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 1, 3) "}", 3,
         "overlaps the one before, which ends at 2"},
        {"{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 3, 5) "}", 5, "bytes are unused from 2"},
        {"{" T("a", "U8", "[2]", 1, 3) "}", 3, "bytes are unused from 0"},
        {"{" T("a", "U8", "[2]", 0, 2) "," T("z", "U8", "[0]", 1, 1) "}", 2,
         "tensor 'z' begins at byte 1 of the data; it overlaps"},
        {"{" T("a", "U8", "[4]", 0, 4) "}", 3, "truncated: tensor 'a' ends at byte 4 of the data, the file at 3"},
        {"{" T("a", "U8", "[4]", 0, 4) "}", 5, "5 bytes of data; the tensors take 4"},
        {"{}", 1, "1 bytes of data; the tensors take 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        lm_error e = {0};
        int count = -1;
        assert_status(&e, LM_MODEL, parse(&e, cases[i].header, cases[i].data, &count));
        assert_int_equal(count, -1);
        assert_message(&e, cases[i].piece);
        assert_message(&e, "'x.safetensors': ");
    }
}

static void test_header_length(void **state) {
    (void)state;
    static const struct {
        uint64_t length;
        const char *piece;
    } cases[] = {{3, "truncated: a header of 3 bytes in a file of 10"},
                 {100000000, "truncated: a header of 100000000 bytes"},
                 {100000001, "a header of 100000001 bytes; at most 100000000 are allowed"},
                 {UINT64_MAX, "a header of 18446744073709551615 bytes; at most"},
                 {1, "line 1, column "}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t size;
        uint8_t *bytes = make_file(cases[i].length, "{}", 0, &size);
        lm_error e = {0};
        lm_safetensors *s;
        assert_status(&e, LM_MODEL, lm_safetensors_parse(&e, "x", bytes, size, &s));
        assert_null(s);
        assert_message(&e, cases[i].piece);
        free(bytes);
    }
}

// Cut off anywhere, a file is refused.
static void test_truncated(void **state) {
    char *path = in_folder(*state, "cut.safetensors");
    lm_error e = {0};
    uint8_t *whole;
    size_t size;
    assert_status(&e, LM_OK,
                  lm_file_read(&e, LM_TEST_DATA "/store/python.safetensors", 1 << 20, LM_MODEL, &whole, &size));
    for (size_t n = 0; n < size; n++) {
        write_bytes(path, whole, n);
        lm_safetensors *s;
        lm_error_clear(&e);
        assert_status(&e, LM_MODEL, lm_safetensors_open(&e, path, &s));
        assert_null(s);
        assert_message(&e, "truncated: ");
        assert_message(&e, path);
    }
    lm_free(whole);
    lm_free(path);
}

static void test_unreadable(void **state) {
    char *none = in_folder(*state, "none.safetensors");
    lm_error e = {0};
    lm_safetensors *s;
    assert_status(&e, LM_MODEL, lm_safetensors_open(&e, none, &s));
    assert_message(&e, "none.safetensors': No such file");
    lm_error_clear(&e);
    assert_status(&e, LM_MODEL, lm_safetensors_open(&e, *state, &s));
    assert_message(&e, "it is not a file");
    lm_free(none);
}

static void expect_load(const char *path, const lm_slot *slots, int count, const char *piece) {
    lm_error e = {0};
    float block[16];
    assert_status(&e, LM_MODEL, lm_weights_load(&e, path, slots, count, block));
    assert_message(&e, piece);
    assert_message(&e, path);
}

// Writes a file of the header's tensors over data, which may hold zero bytes.
static void write_file(const char *path, const char *header, const void *data, size_t data_size) {
    size_t size;
    uint8_t *bytes = make_file(strlen(header), header, data_size, &size);
    memcpy(bytes + size - data_size, data, data_size);
    write_bytes(path, bytes, size);
    free(bytes);
}

static void test_weights(void **state) {
    char *path = in_folder(*state, "weights.safetensors");
    const float data[6] = {1, 2, 3, 4, 5, 6};
    write_file(path, "{" T("a", "F32", "[2,2]", 0, 16) "," T("b", "F32", "[2]", 16, 24) "}", data, sizeof data);
    const lm_slot slots[] = {{"b", 1, {2}, 0}, {"a", 2, {2, 2}, 3}, {"c", 1, {1}, 8}};
    const lm_slot turned[] = {{"b", 1, {2}, 0}, {"a", 1, {4}, 3}}, wide[] = {{"a", 2, {2, 3}, 0}, {"b", 1, {2}, 6}};
    float block[9] = {0};
    unsigned char filled[3] = {9, 9, 9};
    lm_error e = {0};
    assert_status(&e, LM_OK, lm_weights_load(&e, path, slots, 2, block));
    assert_memory_equal(block, ((float[]){5, 6, 0, 1, 2, 3, 4, 0, 0}), sizeof block);
    expect_load(path, slots, 3, "tensor 'c' is missing");
    expect_load(path, slots, 1, "tensor 'a' is not one of the network's");
    expect_load(path, turned, 2, "tensor 'a' has the shape [2,2]; [4] is needed");
    expect_load(path, wide, 2, "tensor 'a' has the shape [2,2]; [2,3] is needed");
    block[8] = 7;
    assert_status(&e, LM_OK, lm_weights_load_some(&e, path, slots, 3, block, filled, NULL));
    assert_true(filled[0] == 1 && filled[1] == 1 && filled[2] == 0 && block[8] == 7);
    assert_status(&e, LM_MODEL, lm_weights_load_some(&e, path, slots + 1, 2, block, filled, NULL));
    assert_message(&e, "tensor 'b' is not one of the network's");
    lm_free(path);
}

static void test_bad_weights(void **state) {
    char *path = in_folder(*state, "bad.safetensors");
    const lm_slot slot = {"a", 2, {1, 2}, 0};
    write_file(path, "{" T("a", "F32", "[1,2]", 0, 8) "}", "\0\0\0\0\0\0\xc0\x7f", 8);
    expect_load(path, &slot, 1, "tensor 'a' holds a value that is not a finite number");
    write_file(path, "{" T("a", "I32", "[1,2]", 0, 8) "}", "\0\0\0\0\0\0\0\0", 8);
    expect_load(path, &slot, 1, "tensor 'a' has the type I32; a weight has F32, F16, BF16, F64 or I8");
    write_file(path, "{" T("a", "I8", "[1,2]", 0, 2) "}", "\1\2", 2);
    expect_load(path, &slot, 1, "tensor 'a' is in 8 bits and its '.scale' is missing");
    write_file(path, "{" T("a", "I8", "[1,2]", 0, 2) "," T("a.scale", "F32", "[2]", 2, 10) "}", "\1\2\0\0\0\0\0\0\0\0",
               10);
    expect_load(path, &slot, 1, "tensor 'a.scale' is not F32 with one value a row");
    write_file(path, "{" T("a", "I8", "[1,2]", 0, 2) "," T("a.scale", "F16", "[1]", 2, 4) "}", "\1\2\0\0", 4);
    expect_load(path, &slot, 1, "tensor 'a.scale' is not F32 with one value a row");
    // data that is not aligned
    write_file(path, "{" T("a", "I8", "[1,2]", 0, 2) "," T("a.scale", "F32", "[1]", 2, 6) "} ", "\1\376\0\0\0\x3f", 6);
    float block[2];
    lm_error e = {0};
    assert_status(&e, LM_OK, lm_weights_load(&e, path, &slot, 1, block));
    assert_true(block[0] == 0.5f && block[1] == -1.0f);
    lm_free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_python),        cmocka_unit_test(test_permitted),   cmocka_unit_test(test_defects),
        cmocka_unit_test(test_header_length), cmocka_unit_test(test_truncated),   cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_weights),       cmocka_unit_test(test_bad_weights),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
