// Handles may be freed in any order, on any thread: nothing must outlive anything, and what is freed last takes the
// device's threads with it.
#include "cli/run_options.h"
#include "cli/tiny_model.h"
#include "lumiere/lumiere.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char *work, folder[256];

static lumiere_context *open_context(void) {
    const lumiere_context_options o = {.threads = 2, .precision = "fp32"};
    lumiere_context *c;
    if (lumiere_context_create(&o, &c) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
    return c;
}

static lumiere_model *open_model(lumiere_context *c) {
    lumiere_model *m;
    if (lumiere_model_open(c, folder, &m) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
    return m;
}

static lumiere_status generate(lumiere_context *c, lumiere_model *m, lumiere_clip **out) {
    const lm_generate_options o = {
        .prompt = "a bee", .seed = 3, .width = 8, .height = 8, .frames = 4, .steps = 2, .refine_set = true};
    return run_generate(c, m, &o, out);
}

static bool same(const lumiere_clip *a, const lumiere_clip *b) {
    size_t n = (size_t)lumiere_clip_frames(a) * (size_t)lumiere_clip_width(a) * (size_t)lumiere_clip_height(a) * 3;
    return lumiere_clip_frames(a) == lumiere_clip_frames(b) && !memcmp(lumiere_clip_data(a), lumiere_clip_data(b), n);
}

// Of this process.
static int count_threads(void) {
    DIR *d = opendir("/proc/self/task");
    int n = 0;
    if (!d) return 0;
    for (const struct dirent *entry; (entry = readdir(d));) n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

// A thread that has been joined may be listed for a moment longer.
static void expect_threads(int wanted) {
    for (int i = 0; i < 2000 && count_threads() != wanted; i++) usleep(1000);
    assert_int_equal(count_threads(), wanted);
}

// The six orders of a context, a model and a clip. Plans, text encoder and enlarger have all been used.
static void any_order_will_do(void **state) {
    (void)state;
    static const char orders[][4] = {"cmf", "cfm", "mcf", "mfc", "fcm", "fmc"};
    const int threads = count_threads();
    for (int i = 0; i < 6; i++) {
        lumiere_context *c = open_context();
        lumiere_model *m = open_model(c);
        lumiere_clip *clip;
        if (generate(c, m, &clip) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
        assert_int_equal(lumiere_clip_width(clip), 32); // enlarged
        for (const char *at = orders[i]; *at; at++) {
            if (*at == 'c') lumiere_context_free(&c);
            if (*at == 'm') lumiere_model_free(&m);
            if (*at == 'f') lumiere_clip_free(&clip);
            if (clip) assert_non_null(lumiere_clip_data(clip));
            if (m) assert_int_equal(strlen(lumiere_model_hash(m)), 16);
        }
        assert_true(!c && !m && !clip);
        expect_threads(threads);
    }
}

// With its context gone: as before, and two models of one device after each other.
static void a_model_works_after_its_context(void **state) {
    (void)state;
    const int threads = count_threads();
    lumiere_context *first = open_context(), *other = open_context();
    lumiere_model *m = open_model(first), *twin = open_model(first);
    lumiere_clip *before, *after;
    char *recipe;
    assert_int_equal(generate(first, m, &before), LUMIERE_OK);
    lumiere_context_free(&first);
    const lm_generate_options o = {.prompt = "a bee", .frames = 4};
    lumiere_estimate e;
    assert_int_equal(run_generate_estimate(other, m, &o, &e), LUMIERE_OK);
    assert_int_equal(run_generate_recipe(other, m, &o, NULL, &recipe), LUMIERE_OK);
    lumiere_string_free(&recipe);
    for (int i = 0; i < 2; i++) {
        if (generate(other, i ? twin : m, &after) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(other));
        assert_true(same(before, after));
        lumiere_clip_free(&after);
        if (i == 0) lumiere_model_free(&m);
    }
    assert_int_equal(run_set_styles(other, twin, NULL, 0), LUMIERE_OK);
    lumiere_model_free(&twin);
    lumiere_context_free(&other);
    lumiere_clip_free(&before);
    expect_threads(threads);
}

// A context that could not be created has no device, and models of others need none of it.
static void a_context_without_a_device_refuses(void **state) {
    (void)state;
    const lumiere_context_options none = {.device = "none"};
    lumiere_context *c = open_context(), *broken;
    lumiere_model *m = open_model(c), *no;
    const lm_generate_options o = {.prompt = "a bee", .frames = 4};
    lumiere_estimate e;
    assert_int_equal(lumiere_context_create(&none, &broken), LUMIERE_USAGE);
    assert_int_equal(lumiere_model_open(broken, folder, &no), LUMIERE_USAGE);
    assert_null(no);
    assert_non_null(strstr(lumiere_error_message(broken), "no device"));
    if (run_generate_estimate(broken, m, &o, &e) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(broken));
    lumiere_context_free(&c);
    lumiere_context_free(&broken);
    lumiere_model_free(&m);
}

// A model that can't be opened leaves the device to its context alone.
static void a_model_that_failed_keeps_nothing(void **state) {
    (void)state;
    const int threads = count_threads();
    lumiere_context *c = open_context();
    lumiere_model *m;
    assert_int_equal(lumiere_model_open(c, work, &m), LUMIERE_MODEL);
    assert_null(m);
    lumiere_context_free(&c);
    expect_threads(threads);
}

static void *free_context(void *p) {
    lumiere_context_free(p);
    return NULL;
}

static void two_threads_free_at_once(void **state) {
    (void)state;
    const int threads = count_threads();
    for (int i = 0; i < 20; i++) {
        lumiere_context *c = open_context();
        lumiere_model *m = open_model(c);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, free_context, &c), 0);
        lumiere_model_free(&m);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    expect_threads(threads);
}

// Two contexts at work at the same time.
static void *generate_three(void *out) {
    lumiere_context *c = open_context();
    lumiere_model *m = open_model(c);
    lumiere_clip **clips = out;
    for (int i = 0; i < 3; i++)
        if (generate(c, m, &clips[i]) != LUMIERE_OK) clips[i] = NULL;
    lumiere_context_free(&c);
    lumiere_model_free(&m);
    return NULL;
}

static void contexts_share_nothing(void **state) {
    (void)state;
    enum { THREADS = 3 };
    lumiere_clip *clips[THREADS][3] = {0};
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, generate_three, clips[i]), 0);
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (int i = THREADS * 3 - 1; i >= 0; i--) {
        assert_non_null(clips[i / 3][i % 3]);
        assert_true(same(clips[0][0], clips[i / 3][i % 3]));
        lumiere_clip_free(&clips[i / 3][i % 3]);
    }
}

static int make(void **state) {
    (void)state;
    work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    tiny_model_make(folder);
    tiny_model_add_ssr(folder);
    return 0;
}

static int clean(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_will_do),
        cmocka_unit_test(a_model_works_after_its_context),
        cmocka_unit_test(a_context_without_a_device_refuses),
        cmocka_unit_test(a_model_that_failed_keeps_nothing),
        cmocka_unit_test(two_threads_free_at_once),
        cmocka_unit_test(contexts_share_nothing),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
