// Single values of the stored types. Half precision is IEEE 754 binary16, rounded to the nearest, ties to even;
// infinities and NaN are kept. bf16 is in base/bf16.h.
#pragma once
#include "store/safetensors.h"
#include <stdbool.h>

size_t lm_store_type_size(lm_store_type type);      // bytes of one value
const char *lm_store_type_name(lm_store_type type); // as in a header: "F32"
bool lm_store_type_find(const char *name, lm_store_type *out);
// Product of rank dimensions; false when a dimension is negative or the product doesn't fit.
bool lm_store_elements(int rank, const int64_t *dim, size_t *out);

float lm_float_from_f16(uint16_t half);
uint16_t lm_f16_from_float(float value);
