// Files written by us: read back for every type, laid out as the format says, and checked before anything is written.
#include "base/bf16.h"
#include "base/files.h"
#include "base/memory.h"
#include "base/random.h"
#include "store/element.h"
#include "store/model_folder.h"
#include "store_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void fill(float *out, int64_t n) {
    lm_random_normal(out, n, 7, LM_FOR_TEST, 0, 0, 0);
}

// Weights of an odd shape, a vector, a scalar and an empty tensor come back within the type's precision.
static void round_trip(const char *folder, lm_store_type type, double tolerance) {
    const lm_slot slots[] = {{"a.weight", 4, {3, 5, 2, 7}, 0},
                             {"a.bias", 1, {9}, 210},
                             {"scalar", 0, {0}, 219},
                             {"empty", 2, {0, 4}, 220},
                             {"b.weight", 2, {1, 1}, 220}};
    float before[221], after[221] = {0};
    fill(before, 221);
    before[219] = 0.5f, before[220] = -0.25f;
    lm_error e = {0};
    char *path = in_folder(folder, "weights.safetensors");
    const char *keys[] = {"kind", "step"}, *values[] = {"test \"quoted\"", "12"};
    assert_status(&e, LM_OK, lm_weights_save(&e, path, slots, 5, before, type, keys, values, 2));
    assert_status(&e, LM_OK, lm_weights_load(&e, path, slots, 5, after));
    for (int i = 0; i < 221; i++)
        if (fabs((double)after[i] - before[i]) > tolerance * 4)
            fail_msg("value %d: %g, was %g", i, after[i], before[i]);
    if (type != LM_ST_I8)
        for (int i = 0; i < 221; i++) {
            float stored = type == LM_ST_F16    ? lm_float_from_f16(lm_f16_from_float(before[i]))
                           : type == LM_ST_BF16 ? lm_float_from_bf16(lm_bf16_from_float(before[i]))
                                                : before[i];
            assert_memory_equal(&after[i], &stored, 4);
        }
    lm_safetensors *s;
    assert_status(&e, LM_OK, lm_safetensors_open(&e, path, &s));
    assert_string_equal(lm_safetensors_metadata(s, "kind"), "test \"quoted\"");
    assert_string_equal(lm_safetensors_metadata(s, "step"), "12");
    assert_null(lm_safetensors_metadata(s, "none"));
    assert_null(lm_safetensors_find(s, "a"));
    for (int i = 0; i < lm_safetensors_count(s); i++) { // aligned for its type
        const lm_stored *t = lm_safetensors_at(s, i);
        assert_int_equal((uintptr_t)t->data % lm_store_type_size(t->type), 0);
        assert_ptr_equal(lm_safetensors_find(s, t->name), t);
    }
    lm_safetensors_free(&s);
    assert_null(s);
    lm_free(path);
}

static void test_f32(void **state) {
    round_trip(*state, LM_ST_F32, 0);
}
static void test_f16(void **state) {
    round_trip(*state, LM_ST_F16, 0x1p-11);
}
static void test_bf16(void **state) {
    round_trip(*state, LM_ST_BF16, 0x1p-8);
}
static void test_i8(void **state) {
    round_trip(*state, LM_ST_I8, 0.5 / 127);
}

// The types that are stored as they are.
static void test_plain_types(void **state) {
    const int64_t i64[3] = {-1, 0, INT64_MAX};
    const int32_t i32[2] = {INT32_MIN, 5};
    const uint8_t u8[5] = {0, 1, 254, 255, 7};
    const double f64[2] = {1.0 / 3, -2e300};
    const lm_to_store tensors[] = {{"u8", 1, {5}, u8, LM_ST_U8},
                                   {"i64", 1, {3}, i64, LM_ST_I64},
                                   {"i32", 2, {2, 1}, i32, LM_ST_I32},
                                   {"f64", 8, {1, 1, 1, 1, 1, 1, 1, 2}, f64, LM_ST_F64}};
    lm_error e = {0};
    lm_safetensors *s;
    char *path = in_folder(*state, "plain.safetensors");
    assert_status(&e, LM_OK, lm_safetensors_write(&e, path, tensors, 4, NULL, NULL, 0));
    assert_status(&e, LM_OK, lm_safetensors_open(&e, path, &s));
    assert_int_equal(lm_safetensors_count(s), 4);
    for (int i = 0; i < 4; i++) {
        const lm_stored *t = lm_safetensors_find(s, tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->type, tensors[i].type);
        assert_int_equal(t->rank, tensors[i].rank);
        assert_memory_equal(t->dim, tensors[i].dim, (size_t)t->rank * 8);
        assert_memory_equal(t->data, tensors[i].data, t->bytes);
    }
    float out[2];
    assert_status(&e, LM_OK, lm_safetensors_floats(&e, s, lm_safetensors_find(s, "f64"), out));
    assert_true(out[0] == 1.0f / 3 && isinf(out[1]));
    assert_status(&e, LM_MODEL, lm_safetensors_floats(&e, s, lm_safetensors_find(s, "i64"), out));
    assert_message(&e, "tensor 'i64' has the type I64");
    lm_safetensors_free(&s);
    lm_free(path);
}

// The bytes of a small file, by the format's rules: length, header padded to 8 with spaces, data little-endian.
static void test_layout(void **state) {
    const float x[2] = {1, -2};
    const lm_to_store tensors[] = {{"x", 1, {2}, x, LM_ST_F32}};
    lm_error e = {0};
    char *path = in_folder(*state, "layout.safetensors");
    assert_status(&e, LM_OK, lm_safetensors_write(&e, path, tensors, 1, NULL, NULL, 0));
    static const char expected[] =
        "\x38\0\0\0\0\0\0\0{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}  "
        "\0\0\x80\x3f\0\0\0\xc0";
    uint8_t *bytes;
    size_t size;
    assert_status(&e, LM_OK, lm_file_read(&e, path, 1000, LM_MODEL, &bytes, &size));
    assert_int_equal(size, sizeof expected - 1);
    assert_memory_equal(bytes, expected, size);
    lm_free(bytes);
    lm_free(path);
}

static void test_i8_scales(void **state) {
    const float x[6] = {127, -63.4f, 0.5f, 0, 0, 0}; // ties to even: 0.5 -> 0
    const lm_to_store tensors[] = {{"x", 2, {2, 3}, x, LM_ST_I8}};
    lm_error e = {0};
    lm_safetensors *s;
    char *path = in_folder(*state, "i8.safetensors");
    assert_status(&e, LM_OK, lm_safetensors_write(&e, path, tensors, 1, NULL, NULL, 0));
    assert_status(&e, LM_OK, lm_safetensors_open(&e, path, &s));
    assert_int_equal(lm_safetensors_count(s), 2);
    const float scales[2] = {1, 0};
    const int8_t values[6] = {127, -63, 0, 0, 0, 0};
    assert_memory_equal(lm_safetensors_find(s, "x.scale")->data, scales, 8);
    assert_memory_equal(lm_safetensors_find(s, "x")->data, values, 6);
    lm_safetensors_free(&s);
    lm_free(path);
}

// What can't be written is refused, and the file that was there stays.
static void refused(const char *folder, lm_to_store tensor, int copies, lm_status status, const char *piece) {
    char *path = in_folder(folder, "refused.safetensors");
    write_text(path, "old");
    const lm_to_store tensors[2] = {tensor, tensor};
    lm_error e = {0};
    assert_status(&e, status, lm_safetensors_write(&e, path, tensors, copies, NULL, NULL, 0));
    assert_message(&e, piece);
    assert_content(path, "old");
    lm_free(path);
}

static void test_refused(void **state) {
    const float large[2] = {1, 65520}, nan[2] = {NAN, 1}, edge[2] = {65519.0f, INFINITY};
    refused(*state, (lm_to_store){"x", 1, {2}, large, LM_ST_F32}, 2, LM_USAGE,
            "two tensors of the file have the name 'x'");
    refused(*state, (lm_to_store){"__metadata__", 1, {2}, large, LM_ST_F32}, 1, LM_USAGE, "'__metadata__'");
    refused(*state, (lm_to_store){"x", 1, {2}, large, LM_ST_F16}, 1, LM_FAILED, "holds 65520, too large for F16");
    refused(*state, (lm_to_store){"x", 1, {2}, nan, LM_ST_I8}, 1, LM_FAILED, "not a finite number");
    refused(*state, (lm_to_store){"x", 0, {0}, large, LM_ST_I8}, 1, LM_USAGE, "no rows");
    refused(*state, (lm_to_store){"x", 2, {INT64_MAX, 3}, large, LM_ST_F32}, 1, LM_USAGE, "impossible shape");
    refused(*state, (lm_to_store){"x", 1, {-1}, large, LM_ST_F32}, 1, LM_USAGE, "impossible shape");
    refused(*state, (lm_to_store){"\xff", 1, {2}, large, LM_ST_F32}, 1, LM_FAILED, "not UTF-8");
    const lm_to_store kept = {"x", 1, {2}, edge, LM_ST_F16};
    lm_error e = {0};
    char *path = in_folder(*state, "edge.safetensors"), *nowhere = in_folder(*state, "none/x.safetensors");
    assert_status(&e, LM_OK, lm_safetensors_write(&e, path, &kept, 1, NULL, NULL, 0));
    assert_status(&e, LM_MEDIA, lm_safetensors_write(&e, nowhere, &kept, 1, NULL, NULL, 0));
    assert_message(&e, "there is no folder");
    const lm_slot slot = {"x", 1, {2}, 0};
    lm_error_clear(&e);
    assert_status(&e, LM_USAGE, lm_weights_save(&e, path, &slot, 1, large, LM_ST_I64, NULL, NULL, 0));
    assert_message(&e, "weights can't be stored as I64");
    lm_free(path);
    lm_free(nowhere);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32),       cmocka_unit_test(test_f16),         cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_i8),        cmocka_unit_test(test_plain_types), cmocka_unit_test(test_layout),
        cmocka_unit_test(test_i8_scales), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
