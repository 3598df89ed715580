// What an estimate takes.
#include "cli/run_command.h"
#include "cli/run_options.h"
#include "cli/tiny_model.h"

#include "base/clock.h"
#include "pipeline/context.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

static char *work, folder[300];

static const lm_backend *counted;
static int runs;

static lm_status count_run(lm_error *e, lm_device *d, const lm_call *calls, int count, void *workspace,
                           uint64_t weights_version) {
    runs++;
    return counted->run(e, d, calls, count, workspace, weights_version);
}

// To know which words are lost the prompt's tokens are enough, and what is made is known from the plans.
static void an_estimate_runs_no_network(void **state) {
    (void)state;
    lumiere_context *c;
    lumiere_model *m;
    lumiere_estimate estimate;
    const lm_generate_options o = {.prompt = "a bee", .negative_prompt = "a rocket"};
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 1}, &c), LUMIERE_OK);
    if (lumiere_model_open(c, folder, &m) != LUMIERE_OK) fail_msg("%s", lumiere_error_message(c));
    // the first one measures the machine and plans the networks
    assert_int_equal(run_generate_estimate(c, m, &o, &estimate), LUMIERE_OK);
    counted = c->device->backend;
    lm_backend counting = *counted;
    counting.run = count_run;
    c->device->backend = &counting;
    runs = 0;
    assert_int_equal(run_generate_estimate(c, m, &o, &estimate), LUMIERE_OK);
    c->device->backend = counted;
    assert_int_equal(runs, 0);
    lumiere_model_free(&m);
    lumiere_context_free(&c);
}

static double resident(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    long pages = 0;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*s %ld", &pages), 1);
    fclose(f);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

// Neither weights nor kernels nor the machine's speed are needed for a request of the default model to be resolved.
static void an_unloaded_model_estimates(void **state) {
    (void)state;
    lumiere_context *c;
    lumiere_model *m, *loaded;
    lumiere_estimate known, e = {0};
    char *recipe = NULL, *again = NULL;
    const lm_generate_options o = {.prompt = "a rocket, moving from left to right"};
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 1}, &c), LUMIERE_OK);
    counted = c->device->backend;
    lm_backend counting = *counted;
    counting.run = count_run;
    c->device->backend = &counting;
    runs = 0;
    const double before = resident(), started = lm_seconds();
    if (lumiere_model_open_unloaded(c, LM_SOURCE_DIR "/models/emoji", &m)) fail_msg("%s", lumiere_error_message(c));
    const double opened = lm_seconds();
    assert_int_equal(run_generate_estimate(c, m, &o, &e), LUMIERE_OK);
    print_message("opened in %.1f ms, estimated in %.1f ms, %.1f MB\n", 1e3 * (opened - started),
                  1e3 * (lm_seconds() - opened), (resident() - before) / 1e6);
    assert_int_equal(runs, 0);
    assert_true(isnan(e.seconds));
    assert_null(m->weights);
#if !defined(__SANITIZE_ADDRESS__)
    assert_true(resident() - before < 30e6);
#endif
    assert_int_equal(run_generate_recipe(c, m, &o, NULL, &recipe), LUMIERE_OK);
    c->device->backend = counted;
    if (lumiere_model_open(c, LM_SOURCE_DIR "/models/emoji", &loaded)) fail_msg("%s", lumiere_error_message(c));
    assert_int_equal(run_generate_estimate(c, loaded, &o, &known), LUMIERE_OK);
    assert_int_equal(run_generate_recipe(c, loaded, &o, NULL, &again), LUMIERE_OK);
    assert_string_equal(recipe, again);
    assert_true(known.seconds > 0);
    assert_int_equal(e.bytes, known.bytes);
    assert_true(e.flops == known.flops);
    lumiere_string_free(&recipe);
    lumiere_string_free(&again);
    lumiere_model_free(&m);
    lumiere_model_free(&loaded);
    lumiere_context_free(&c);
}

// What was opened without weights reads them for its first clip.
static void an_unloaded_model_makes_the_same_clip(void **state) {
    (void)state;
    lumiere_context *c;
    lumiere_model *m, *loaded;
    lumiere_clip *a, *b;
    const lm_generate_options o = {.prompt = "a bee"};
    assert_int_equal(lumiere_context_create(&(lumiere_context_options){.threads = 1}, &c), LUMIERE_OK);
    if (lumiere_model_open_unloaded(c, folder, &m)) fail_msg("%s", lumiere_error_message(c));
    if (lumiere_model_open(c, folder, &loaded)) fail_msg("%s", lumiere_error_message(c));
    assert_int_equal(run_generate(c, m, &o, &a), LUMIERE_OK);
    assert_int_equal(run_generate(c, loaded, &o, &b), LUMIERE_OK);
    assert_string_equal(lumiere_model_hash(m), lumiere_model_hash(loaded));
    assert_memory_equal(a->clip.data, b->clip.data, (size_t)a->clip.frames * 8 * 8 * 3);
    lumiere_clip_free(&a);
    lumiere_clip_free(&b);
    lumiere_model_free(&m);
    lumiere_model_free(&loaded);
    lumiere_context_free(&c);
}

static int set_up(void **state) {
    (void)state;
    work = temporary_make();
    snprintf(folder, sizeof folder, "%s/tiny", work);
    tiny_model_make(folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    temporary_remove(work);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_estimate_runs_no_network),
                                       cmocka_unit_test(an_unloaded_model_estimates),
                                       cmocka_unit_test(an_unloaded_model_makes_the_same_clip)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
