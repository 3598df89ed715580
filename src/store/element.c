#include "store/element.h"

#include "base/memory.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [LM_ST_F32] = {"F32", 4}, [LM_ST_F16] = {"F16", 2}, [LM_ST_BF16] = {"BF16", 2}, [LM_ST_I8] = {"I8", 1},
    [LM_ST_U8] = {"U8", 1},   [LM_ST_I32] = {"I32", 4}, [LM_ST_I64] = {"I64", 8},   [LM_ST_F64] = {"F64", 8},
};

size_t lm_store_type_size(lm_store_type type) {
    return types[type].size;
}

const char *lm_store_type_name(lm_store_type type) {
    return types[type].name;
}

bool lm_store_type_find(const char *name, lm_store_type *out) {
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (!strcmp(types[i].name, name)) {
            *out = (lm_store_type)i;
            return true;
        }
    return false;
}

bool lm_store_elements(int rank, const int64_t *dim, size_t *out) {
    size_t n = 1;
    for (int i = 0; i < rank; i++)
        if (dim[i] < 0 || !lm_mul_size(n, (size_t)dim[i], &n)) return false;
    *out = n;
    return true;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

float lm_float_from_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7FFF;
    if (rest >= 0x7C00) return float_of(sign | 0x7F800000 | (rest & 0x3FF) << 13); // infinity, NaN
    if (rest >= 0x400) return float_of(sign | ((rest << 13) + (112u << 23)));
    float magnitude = (float)rest * 0x1p-24f; // subnormal or zero, exact
    return sign ? -magnitude : magnitude;
}

uint16_t lm_f16_from_float(float value) {
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000, rest = bits & 0x7FFFFFFF, half;
    if (rest > 0x7F800000)
        half = 0x7E00 | (rest >> 13 & 0x3FF); // NaN, quiet
    else if (rest >= 0x47800000)
        half = 0x7C00; // from 65536 on
    else if (rest >= 0x38800000)
        half = (rest - (112u << 23) + 0xFFF + (rest >> 13 & 1)) >> 13; // a carry may reach infinity, as it should
    else if (rest < 0x33000000)
        half = 0; // below half of the smallest subnormal, 2^-24
    else {
        uint32_t mantissa = (rest & 0x7FFFFF) | 0x800000, shift = 126 - (rest >> 23);
        uint32_t lost = mantissa & ((1u << shift) - 1), tie = 1u << (shift - 1);
        half = mantissa >> shift;
        half += lost > tie || (lost == tie && half & 1);
    }
    return (uint16_t)(sign | half);
}
