// Fowler, Noll and Vo's hash FNV-1a, for tables: a byte at a time, so that one pass hashes all beginnings of a text.
// Not for what others may choose, nor for files' contents (store/file_digest.h).
#pragma once
#include <stddef.h>
#include <stdint.h>

#define LM_HASH32_START 2166136261u
#define LM_HASH64_START 14695981039346656037u

static inline uint32_t lm_hash32_more(uint32_t h, const void *bytes, size_t size) {
    for (const unsigned char *b = bytes; size--; b++) h = (h ^ *b) * 16777619u;
    return h;
}
static inline uint64_t lm_hash64_more(uint64_t h, const void *bytes, size_t size) {
    for (const unsigned char *b = bytes; size--; b++) h = (h ^ *b) * 1099511628211u;
    return h;
}
