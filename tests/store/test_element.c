// Half precision and bf16 against the rule itself: every value, and the ties and neighbours between any two.
#include "base/bf16.h"
#include "store/element.h"
#include "store_test.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

// IEEE 754: sign, 5 bits of exponent, 10 of mantissa
static double f16_value(unsigned half) {
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double magnitude = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}

static void test_f16_values(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float x = lm_float_from_f16((uint16_t)h);
        if ((h & 0x7FFF) > 0x7C00)
            assert_true(isnan(x) && isnan(lm_float_from_f16(lm_f16_from_float(x))));
        else if ((h & 0x7FFF) == 0x7C00)
            assert_true(isinf(x) && (x < 0) == (h >> 15));
        else
            assert_true(x == f16_value(h) && !!signbit(x) == (h >> 15));
        if (!isnan(x)) assert_int_equal(lm_f16_from_float(x), h);
    }
}

// Between two neighbours the middle goes to the even one, and anything nearer goes to the nearer.
static void test_f16_rounding(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x7C00; h++) { // the last one's upper neighbour is 65536, infinity
        float above = h == 0x7BFF ? 65536.0f : (float)f16_value(h + 1), middle = (float)((f16_value(h) + above) / 2);
        for (unsigned sign = 0; sign <= 0x8000; sign += 0x8000) {
            float s = sign ? -1.0f : 1.0f;
            assert_int_equal(lm_f16_from_float(s * middle), sign | (h + (h & 1)));
            assert_int_equal(lm_f16_from_float(s * nextafterf(middle, 0)), sign | h);
            assert_int_equal(lm_f16_from_float(s * nextafterf(middle, INFINITY)), sign | (h + 1));
        }
    }
    assert_int_equal(lm_f16_from_float(3e38f), 0x7C00);
    assert_int_equal(lm_f16_from_float(-INFINITY), 0xFC00);
    assert_int_equal(lm_f16_from_float(1e-45f), 0);
    assert_int_equal(lm_f16_from_float(-1e-45f), 0x8000);
}

static void test_bf16(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float x = lm_float_from_bf16((uint16_t)h);
        assert_int_equal(bits_of(x), h << 16);
        if (isnan(x))
            assert_true(isnan(lm_float_from_bf16(lm_bf16_from_float(x))));
        else
            assert_int_equal(lm_bf16_from_float(x), h);
        if ((h & 0x7FFF) >= 0x7F80) continue;
        const uint32_t middle = h << 16 | 0x8000;
        float between[3];
        for (uint32_t i = 0; i < 3; i++) memcpy(&between[i], &(uint32_t){middle - 1 + i}, 4);
        assert_int_equal(lm_bf16_from_float(between[0]), h);
        assert_int_equal(lm_bf16_from_float(between[1]), h + (h & 1));
        assert_int_equal(lm_bf16_from_float(between[2]), h + 1);
    }
    float nan; // its only set bits are among those that are lost
    memcpy(&nan, &(uint32_t){0x7F800001}, 4);
    assert_true(isnan(lm_float_from_bf16(lm_bf16_from_float(nan))));
    assert_true(isnan(lm_float_from_f16(lm_f16_from_float(nan))));
}

static void test_types(void **state) {
    (void)state;
    for (int i = LM_ST_F32; i <= LM_ST_F64; i++) {
        lm_store_type found;
        assert_true(lm_store_type_find(lm_store_type_name((lm_store_type)i), &found));
        assert_int_equal(found, i);
    }
    lm_store_type found;
    assert_false(lm_store_type_find("f32", &found));
    size_t n = 7;
    assert_false(lm_store_elements(2, (int64_t[]){INT64_MAX, 3}, &n));
    assert_false(lm_store_elements(1, (int64_t[]){-1}, &n));
    assert_int_equal(n, 7);
    assert_true(lm_store_elements(0, NULL, &n) && n == 1);
    assert_true(lm_store_elements(3, (int64_t[]){2, 0, 5}, &n) && n == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_values),
        cmocka_unit_test(test_f16_rounding),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
