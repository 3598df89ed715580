// Memory of super-resolution: what 240 frames more take, counted and estimated. malloc and its relatives are replaced
// in this program and count what is in use.
#include "cli/run_options.h"
#include "cli/tiny_pair.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { SIDE = 24, SHORT = 80, LONG = 320, PIXELS = 16 * SIDE * SIDE }; // of a frame of the output

static uint64_t estimated(const tiny_pair *o, int frames, int tile) {
    lumiere_estimate e;
    const lm_upscale_options options = {.steps = 1, .tile = tile};
    if (run_upscale_estimate(o->context, o->large, frames, SIDE, SIDE, &options, &e) != LUMIERE_OK)
        fail_msg("%s", lumiere_error_message(o->context));
    return e.bytes;
}

static void estimate_grows_by_at_most_30_bytes_a_pixel(void **state) {
    (void)state;
    tiny_pair o;
    tiny_pair_open(&o, 2);
    for (int tile = 0; tile <= 64; tile += 64) {
        uint64_t more = estimated(&o, LONG, tile) - estimated(&o, SHORT, tile);
        assert_true(more <= 30u * (LONG - SHORT) * PIXELS);
        assert_true(more >= 15u * (LONG - SHORT) * PIXELS);
    }
    tiny_pair_close(&o);
}

#if defined(__SANITIZE_ADDRESS__) || !defined(__GLIBC__)
static void use_grows_by_at_most_30_bytes_a_pixel(void **state) {
    (void)state;
    skip(); // the sanitizer has its own malloc
}
#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

static atomic_long in_use, peak;

static void *taken(void *p) {
    long now = atomic_fetch_add(&in_use, (long)malloc_usable_size(p)) + (long)malloc_usable_size(p);
    long most = atomic_load(&peak);
    while (now > most && !atomic_compare_exchange_weak(&peak, &most, now)) {
    }
    return p;
}

static void given_back(void *p) {
    atomic_fetch_sub(&in_use, (long)malloc_usable_size(p));
}

void *malloc(size_t size) {
    return taken(__libc_malloc(size));
}
void *calloc(size_t count, size_t size) {
    return taken(__libc_calloc(count, size));
}
void *aligned_alloc(size_t align, size_t size) {
    return taken(__libc_memalign(align, size));
}
void *memalign(size_t align, size_t size) {
    return taken(__libc_memalign(align, size));
}
int posix_memalign(void **out, size_t align, size_t size) {
    *out = taken(__libc_memalign(align, size));
    return *out ? 0 : 12; // ENOMEM
}
void *realloc(void *p, size_t size) {
    given_back(p);
    return taken(__libc_realloc(p, size));
}
void free(void *p) {
    given_back(p);
    __libc_free(p);
}

// The most that one run had in use beside what was there before it; the input not counted.
static long used(const tiny_pair *o, int frames) {
    uint8_t *pixels = calloc((size_t)frames * SIDE * SIDE, 3);
    lumiere_clip *in, *out;
    const lm_upscale_options options = {.steps = 1};
    assert_int_equal(lumiere_clip_create(o->context, frames, SIDE, SIDE, 8, pixels, &in), LUMIERE_OK);
    free(pixels);
    long before = atomic_load(&in_use);
    atomic_store(&peak, before);
    assert_int_equal(run_upscale(o->context, o->large, in, &options, &out), LUMIERE_OK);
    long most = atomic_load(&peak) - before;
    lumiere_clip_free(&in);
    lumiere_clip_free(&out);
    return most;
}

static void use_grows_by_at_most_30_bytes_a_pixel(void **state) {
    (void)state;
    tiny_pair o;
    tiny_pair_open(&o, 2);
    used(&o, SHORT); // the plan and what kernels keep are there from now on
    long few = used(&o, SHORT), many = used(&o, LONG), more = (long)(estimated(&o, LONG, 0) - estimated(&o, SHORT, 0));
    print_message("%d frames: %ld bytes, %d frames: %ld; %.1f bytes a pixel more\n", SHORT, few, LONG, many,
                  (double)(many - few) / ((LONG - SHORT) * PIXELS));
    assert_true(few > 15l * SHORT * PIXELS);
    assert_true(many - few <= 30l * (LONG - SHORT) * PIXELS);
    assert_true(many - few <= more + (1 << 16)); // as estimated
    tiny_pair_close(&o);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimate_grows_by_at_most_30_bytes_a_pixel),
        cmocka_unit_test(use_grows_by_at_most_30_bytes_a_pixel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
