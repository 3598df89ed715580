#include "base/memory.h"

#include "base/cgroup.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

bool lm_mul_size(size_t a, size_t b, size_t *out) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *out = product;
    return true;
}

void *lm_alloc(size_t count, size_t size) {
    size_t bytes;
    if (!lm_mul_size(count, size, &bytes)) return NULL;
    return malloc(bytes ? bytes : 1);
}

void *lm_alloc_zero(size_t count, size_t size) {
    size_t bytes;
    if (!lm_mul_size(count, size, &bytes)) return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *lm_realloc(void *p, size_t count, size_t size) {
    size_t bytes;
    if (!lm_mul_size(count, size, &bytes)) return NULL;
    return realloc(p, bytes ? bytes : 1);
}

void *lm_alloc_aligned(size_t bytes) {
    if (bytes > SIZE_MAX - 64) return NULL;
    return aligned_alloc(64, (bytes + 63) / 64 * 64 + (bytes == 0) * 64);
}

void lm_free(void *p) {
    free(p);
}

char *lm_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = lm_alloc(n, 1);
    if (copy) memcpy(copy, s, n);
    return copy;
}

char *lm_format(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    char *text = n < 0 ? NULL : lm_alloc((size_t)n + 1, 1);
    if (text) vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    va_end(args);
    return text;
}

static uint64_t kib_in_file(const char *path, const char *key) {
    uint64_t kib = lm_number_in_file(path, key);
    return kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024;
}

// What a limit on this process leaves, of which "KEY: N kB" in /proc/self/status says how much is taken.
static uint64_t left_of_limit(int resource, const char *key) {
    struct rlimit r;
    if (getrlimit(resource, &r) || r.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    uint64_t used = kib_in_file("/proc/self/status", key);
    if (used == UINT64_MAX) used = 0;
    return r.rlim_cur > used ? r.rlim_cur - used : 0;
}

uint64_t lm_memory_available(void) {
    const uint64_t all[] = {kib_in_file("/proc/meminfo", "MemAvailable:"), lm_cgroup_memory_left(""),
                            left_of_limit(RLIMIT_AS, "VmSize:"), left_of_limit(RLIMIT_DATA, "VmData:")};
    uint64_t least = all[0];
    for (int i = 1; i < 4; i++)
        if (all[i] < least) least = all[i];
    return least;
}

struct lm_arena_block {
    struct lm_arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

void *lm_arena_alloc(lm_arena *a, size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + 15) / 16 * 16;
    struct lm_arena_block *b = a->blocks;
    if (!b || b->size - b->used < bytes) {
        size_t size = bytes > 65536 ? bytes : 65536;
        b = lm_alloc_zero(1, sizeof *b + size);
        if (!b) return NULL;
        b->size = size;
        b->next = a->blocks;
        a->blocks = b;
    }
    void *p = b->data + b->used;
    b->used += bytes;
    return p;
}

char *lm_arena_strdup(lm_arena *a, const char *s) {
    size_t n = strlen(s) + 1;
    char *copy = lm_arena_alloc(a, n);
    if (copy) memcpy(copy, s, n);
    return copy;
}

void lm_arena_free(lm_arena *a) {
    for (struct lm_arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        lm_free(b);
    }
    a->blocks = NULL;
}
