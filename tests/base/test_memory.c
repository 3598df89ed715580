// Allocation with checked sizes, the arena, and the errors that tell of a shortage.
#include "base/memory.h"
#include "base/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_overflow(void **state) {
    (void)state;
    size_t n = 5;
    assert_false(lm_mul_size(SIZE_MAX, 2, &n));
    assert_false(lm_mul_size((size_t)1 << 32, (size_t)1 << 32, &n));
    assert_int_equal(n, 5);
    assert_true(lm_mul_size(SIZE_MAX, 1, &n) && n == SIZE_MAX);
    assert_true(lm_mul_size(SIZE_MAX, 0, &n) && n == 0);
    assert_null(lm_alloc(SIZE_MAX / 2, 3));
    assert_null(lm_alloc_zero((size_t)1 << 33, (size_t)1 << 31));
    assert_null(lm_alloc_aligned(SIZE_MAX));
    assert_null(lm_alloc_aligned(SIZE_MAX - 63));
    lm_arena a = {0};
    assert_null(lm_arena_alloc(&a, SIZE_MAX));
    assert_null(lm_arena_alloc(&a, SIZE_MAX - 15));
    lm_arena_free(&a);
    char *p = lm_alloc(4, 1);
    memcpy(p, "abc", 4);
    assert_null(lm_realloc(p, SIZE_MAX, 16));
    assert_string_equal(p, "abc");
    lm_free(p);
}

static void test_blocks(void **state) {
    (void)state;
    for (size_t n = 0; n < 300; n++) {
        unsigned char *aligned = lm_alloc_aligned(n), *zero = lm_alloc_zero(n, 3);
        assert_non_null(aligned);
        assert_non_null(zero);
        assert_int_equal((uintptr_t)aligned % 64, 0);
        memset(aligned, 1, n);
        for (size_t i = 0; i < 3 * n; i++) assert_int_equal(zero[i], 0);
        lm_free(aligned);
        lm_free(zero);
    }
    lm_free(NULL);
    char *text = lm_format("%s-%d", "a", 7), *copy = lm_strdup(text);
    assert_string_equal(copy, "a-7");
    assert_ptr_not_equal(copy, text);
    lm_free(text);
    lm_free(copy);
}

// Pieces of many sizes, some larger than a block: zeroed, aligned, and none over another.
static void test_arena(void **state) {
    (void)state;
    enum { PIECES = 2000 };
    lm_arena a = {0};
    unsigned char *pieces[PIECES];
    size_t sizes[PIECES];
    for (size_t i = 0; i < PIECES; i++) {
        sizes[i] = i % 97 == 0 ? 100000 : i * 7 % 301;
        pieces[i] = lm_arena_alloc(&a, sizes[i]);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        for (size_t j = 0; j < sizes[i]; j++) assert_int_equal(pieces[i][j], 0);
        memset(pieces[i], (int)(i % 255) + 1, sizes[i]);
    }
    for (size_t i = 0; i < PIECES; i++)
        for (size_t j = 0; j < sizes[i]; j++)
            if (pieces[i][j] != i % 255 + 1) fail_msg("piece %zu was written over", i);
    assert_string_equal(lm_arena_strdup(&a, "kept"), "kept");
    lm_arena_free(&a);
    assert_null(a.blocks);
}

static uint64_t kib_of_status(const char *key) {
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kib = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key))) sscanf(line + strlen(key), "%llu", &kib);
    fclose(f);
    return kib;
}

// A limit on the address space or on data shows in what is available. In a process of its own: the limit can't be
// lifted again.
static void check_limit(int resource, const char *key) {
    pid_t child = fork();
    if (child == 0) {
        const uint64_t more = 64 << 20;
        struct rlimit limit = {kib_of_status(key) * 1024 + more, RLIM_INFINITY};
        _exit(setrlimit(resource, &limit) == 0 && lm_memory_available() <= more ? 0 : 1);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
}

static void test_available(void **state) {
    (void)state;
    assert_true(lm_memory_available() > 0);
    check_limit(RLIMIT_AS, "VmSize:");
    check_limit(RLIMIT_DATA, "VmData:");
}

static void test_errors(void **state) {
    (void)state;
    lm_error e = {0};
    assert_int_equal(lm_fail_memory(&e, 2.5e6, "a test"), LM_MEMORY);
    assert_string_equal(e.text, "no memory: a test needs 2.5 MB more");
    assert_int_equal(lm_fail(&e, LM_MEDIA, "later"), LM_MEDIA); // its own status, but the first message stays
    assert_int_equal(e.status, LM_MEMORY);
    assert_string_equal(e.text, "no memory: a test needs 2.5 MB more");
    lm_error_clear(&e);
    assert_int_equal(e.status, LM_OK);
    assert_string_equal(e.text, "");
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    longer[3] = '\n';
    assert_int_equal(lm_fail(&e, LM_USAGE, "%s", longer), LM_USAGE);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "xxx\\nxxx", 8); // one line
    assert_int_equal(lm_fail(NULL, LM_FAILED, "nowhere to say it"), LM_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overflow),  cmocka_unit_test(test_blocks), cmocka_unit_test(test_arena),
        cmocka_unit_test(test_available), cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
