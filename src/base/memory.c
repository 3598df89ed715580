#include "base/memory.h"

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

// First number in a file, after an optional key; UINT64_MAX when there is none ("max" in a cgroup).
static uint64_t read_number(const char *path, const char *key) {
    FILE *f = fopen(path, "re");
    if (!f) return UINT64_MAX;
    char line[256];
    uint64_t value = UINT64_MAX;
    while (fgets(line, sizeof line, f)) {
        size_t n = key ? strlen(key) : 0;
        unsigned long long v;
        if ((!key || !strncmp(line, key, n)) && sscanf(line + n, "%llu", &v) == 1) {
            value = v;
            break;
        }
    }
    fclose(f);
    return value;
}

uint64_t lm_memory_available(void) {
    uint64_t kib = read_number("/proc/meminfo", "MemAvailable:");
    uint64_t free_bytes = kib == UINT64_MAX ? UINT64_MAX : kib * 1024;
    uint64_t limit = read_number("/sys/fs/cgroup/memory.max", NULL);
    uint64_t used = read_number("/sys/fs/cgroup/memory.current", NULL);
    if (limit != UINT64_MAX && used != UINT64_MAX) {
        // the page cache counts as used in a cgroup but can be given back
        uint64_t cache = read_number("/sys/fs/cgroup/memory.stat", "inactive_file ");
        if (cache != UINT64_MAX) used -= cache < used ? cache : used;
        uint64_t left = limit > used ? limit - used : 0;
        if (left < free_bytes) free_bytes = left;
    }
    struct rlimit r;
    if (!getrlimit(RLIMIT_AS, &r) && r.rlim_cur != RLIM_INFINITY) {
        uint64_t vm_kib = read_number("/proc/self/status", "VmSize:");
        uint64_t vm = vm_kib == UINT64_MAX ? 0 : vm_kib * 1024;
        uint64_t left = r.rlim_cur > vm ? r.rlim_cur - vm : 0;
        if (left < free_bytes) free_bytes = left;
    }
    return free_bytes;
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
