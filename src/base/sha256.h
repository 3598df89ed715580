// SHA-256 (FIPS 180-4), to name a model by its content.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct lm_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    uint8_t block[64];
} lm_sha256;

void lm_sha256_begin(lm_sha256 *s);
void lm_sha256_add(lm_sha256 *s, const void *bytes, size_t size);
void lm_sha256_end(lm_sha256 *s, uint8_t out[32]);
