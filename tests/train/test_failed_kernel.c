// A kernel that fails during training ends it with the kernel's status, wherever it runs; the step isn't counted as
// skipped, and what the last good steps left behind can be gone on with.
#include "base/memory.h"
#include "refusing_dnnl.h"
#include "watched_run.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static tiny_run run;

static int make(void **state) {
    (void)state;
    tiny_run_make(&run);
    return 0;
}

static int clean(void **state) {
    (void)state;
    tiny_run_remove(&run);
    return 0;
}

// The runs of primitives that n steps take, all that comes before and between them included.
static long runs_of(int64_t steps, const char *const *set) {
    static int counts;
    lm_error e = {0};
    watch w = {.stop_after = steps};
    char *out = lm_format("count-%d", counts++);
    dnnl_refuse(0, 0);
    lm_status s = watched_train(&e, &run, out, set, LM_F32, false, &w);
    if (s != LM_CANCELLED) fail_msg("%d: %s", (int)s, e.text);
    lm_free(out);
    return atomic_load(&dnnl_runs);
}

// Refuses from a run on; the run must end after so many steps, and resumed it must end as one that nothing happened to.
static void refuse_once(const char *out, const char *const *set, long at, long count, int64_t steps) {
    lm_error e = {0};
    watch w = {0};
    dnnl_refuse(at, count);
    assert_int_equal(watched_train(&e, &run, out, set, LM_F32, false, &w), LM_MEMORY);
    dnnl_refuse(0, 0);
    if (e.status != LM_MEMORY || !strstr(e.text, "the node ") || !strstr(e.text, "oneDNN: no memory"))
        fail_msg("%d: %s", (int)e.status, e.text);
    assert_int_equal(w.last, steps);
    assert_int_equal(w.skips, 0);
    lm_safetensors *f = tiny_tensors(&run, out, "checkpoint.safetensors");
    assert_string_equal(lm_safetensors_metadata(f, "step"), steps < 6 ? "3" : "6");
    assert_string_equal(lm_safetensors_metadata(f, "skipped"), "0");
    lm_safetensors_free(&f);
    lm_error_clear(&e);
    if (watched_train(&e, &run, out, set, LM_F32, true, &w) != LM_OK) fail_msg("%s", e.text);
    assert_int_equal(w.last, TINY_STEPS);
    tiny_run_expect_same(&run, "whole", out);
}

// In the forward and the backward pass of step 5, once and from then on; checkpoints are of step 3.
static void a_step_ends_the_run(void **state) {
    (void)state;
    static const char *const set[] = {"sample_every=0", "validate_every=0", NULL};
    watch w;
    dnnl_refuse(0, 0);
    watched_train_whole(&run, "whole", set, LM_F32, &w);
    const long four = runs_of(4, set), five = runs_of(5, set);
    assert_true(five - four > 10);
    refuse_once("forward", set, four + 1, LONG_MAX, 4);
    refuse_once("last", set, five, 1, 4);
    refuse_once("middle", set, (four + five) / 2, 1, 4);
}

// What is looked at between the steps: validation after step 4, the text encoder before the first, a sample sheet.
static void what_runs_between_steps_ends_it_too(void **state) {
    (void)state;
    static const char *const looks[] = {"sample_every=6", "validate_every=4", NULL};
    lm_error e = {0};
    watch w = {0};
    dnnl_refuse(1, 1);
    assert_int_equal(watched_train(&e, &run, "encoder", looks, LM_F32, false, &w), LM_MEMORY);
    assert_non_null(strstr(e.text, "the node encoder.layer.0"));
    assert_int_equal(w.last, 0);
    static const char *const quiet[] = {"sample_every=0", "validate_every=0", NULL};
    static const int64_t steps[] = {4, 6};
    for (int i = 0; i < 2; i++) { // the first run after those of the step itself is the look's
        const char *const set[] = {i ? "sample_every=6" : "sample_every=0", i ? "validate_every=0" : "validate_every=4",
                                   NULL};
        const long at = runs_of(steps[i], quiet) + 1;
        lm_error_clear(&e);
        w = (watch){0};
        dnnl_refuse(at, LONG_MAX);
        assert_int_equal(watched_train(&e, &run, i ? "sheet" : "validation", set, LM_F32, false, &w), LM_MEMORY);
        assert_non_null(strstr(e.text, "oneDNN: no memory"));
        assert_int_equal(w.last, steps[i] - 1); // progress comes after the look
        assert_int_equal(w.skips, 0);
    }
    dnnl_refuse(0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_ends_the_run),
        cmocka_unit_test(what_runs_between_steps_ends_it_too),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
