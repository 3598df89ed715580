// Allocation. Everything the library allocates passes here or through a library it uses.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// All return NULL when memory is short or count * size overflows; lm_free takes what any of them returned, or NULL.
void *lm_alloc(size_t count, size_t size);            // contents undefined
void *lm_alloc_zero(size_t count, size_t size);       // zeroed
void *lm_realloc(void *p, size_t count, size_t size); // p stays valid on failure; not for lm_alloc_aligned memory
void *lm_alloc_aligned(size_t bytes);                 // on a 64-byte boundary, contents undefined
void lm_free(void *p);
char *lm_strdup(const char *s);
char *lm_format(const char *format, ...) __attribute__((format(printf, 1, 2))); // heap string or NULL

// false when the product does not fit; *out is then untouched
bool lm_mul_size(size_t a, size_t b, size_t *out);

// Memory the machine can still give to this process, in bytes: MemAvailable, limited by its control groups (cgroup.h),
// RLIMIT_AS and RLIMIT_DATA.
uint64_t lm_memory_available(void);

// Bump allocator: many small pieces with one lifetime. Zero-initialise; every piece is zeroed and 16-byte aligned.
typedef struct lm_arena {
    struct lm_arena_block *blocks;
} lm_arena;
void *lm_arena_alloc(lm_arena *a, size_t bytes); // NULL when memory is short
char *lm_arena_strdup(lm_arena *a, const char *s);
void lm_arena_free(lm_arena *a);
