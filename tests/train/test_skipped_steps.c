// Training in which numbers go wrong: steps whose gradient is not a finite number, weights that become so. A backend
// that is the CPU's but for two functions makes them go wrong when they are asked to.
#include "base/files.h"
#include "base/memory.h"
#include "device/cpu/cpu.h"
#include "devices/devices.h"
#include "watched_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static tiny_run run;

static struct {
    int64_t step;     // under way
    int64_t from, to; // steps whose gradient is not a number; from 0: none
    int64_t spoils;   // step whose update leaves `value` in a weight, or in its average; 0: none
    bool average;     // which
    float value;
    int64_t enlarges;    // step whose update leaves all weights 30 times as large; 0: none
    int64_t stop_after;  // 0: never
    char lines[1 << 14]; // of the log
} fault;

static lm_status bad_squares(lm_error *e, lm_device *d, const float *x, int64_t n, double *out) {
    lm_status s = lm_cpu_backend.squares(e, d, x, n, out);
    fault.step++;
    if (fault.from && fault.step >= fault.from && fault.step <= fault.to) *out = (double)NAN;
    return s;
}

static lm_status bad_adamw(lm_error *e, lm_device *d, const lm_adamw *p, float *w, const float *g, float *m, float *v,
                           float *average, int64_t n) {
    lm_status s = lm_cpu_backend.adamw(e, d, p, w, g, m, v, average, n);
    if (fault.step == fault.spoils) *(fault.average ? average : w) = fault.value;
    for (int64_t i = 0; i < n && fault.step == fault.enlarges; i++) w[i] *= 30;
    return s;
}

static bool on_step(void *user, int64_t step, int64_t steps, double loss, double seconds_left) {
    (void)user, (void)steps, (void)loss, (void)seconds_left;
    assert_int_equal(step, fault.step);
    return step != fault.stop_after;
}

static void on_line(void *user, const char *line) {
    (void)user;
    assert_true(strlen(fault.lines) + strlen(line) + 2 < sizeof fault.lines);
    strcat(strcat(fault.lines, line), "\n");
}

// 40 steps into folder out, resumed where `at` is not 0.
static lm_status train(lm_error *e, const char *out, const char *setting, int64_t at) {
    static lm_backend backend;
    backend = lm_cpu_backend;
    backend.squares = bad_squares;
    backend.adamw = bad_adamw;
    char *target = lm_format("out=%s/%s", run.folder, out);
    const char *const set[] = {target, "steps=40", "validate_every=0", "sample_every=0", setting, NULL};
    const lm_trainer_options o = {.precision = LM_F32, .resume = at > 0, .log = on_line, .progress = on_step};
    lm_run_config c;
    lm_device *d = NULL;
    assert_int_equal(tiny_run_config(e, &run, set, &c), LM_OK);
    assert_int_equal(lm_device_open(e, "cpu", 1, &d), LM_OK);
    d->backend = &backend;
    fault.step = at;
    fault.lines[0] = 0;
    lm_error_clear(e);
    lm_status s = lm_train(e, d, &c, &o);
    lm_device_close(&d);
    lm_run_config_free(&c);
    lm_free(target);
    return s;
}

static void expect_text(const char *text, const char *what) {
    if (!strstr(text, what)) fail_msg("\"%s\" does not say \"%s\"", text, what);
}

static void expect_step(const char *out, const char *step) {
    lm_safetensors *f = tiny_tensors(&run, out, "checkpoint.safetensors");
    assert_string_equal(lm_safetensors_metadata(f, "step"), step);
    lm_safetensors_free(&f);
}

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

static int no_fault(void **state) {
    (void)state;
    memset(&fault, 0, sizeof fault);
    return 0;
}

// From the first step on: it ends at the 20th, and there is nothing to keep.
static void test_from_the_beginning(void **state) {
    (void)state;
    lm_error e = {0};
    fault.from = 1, fault.to = 40;
    assert_int_equal(train(&e, "never", NULL, 0), LM_FAILED);
    assert_int_equal(fault.step, 20);
    expect_text(e.text, "stopped at step 20: the gradient is not a finite number, 20 steps in a row");
    expect_text(e.text, "there is no checkpoint yet");
    expect_text(e.text, "try a lower learning_rate");
    char *path = tiny_file(&run, "never", "checkpoint.safetensors");
    assert_int_equal(access(path, F_OK), -1);
    lm_free(path);
}

// After 7 good steps, with a checkpoint every 3: that of step 6 stays, none is written over it while steps are skipped.
static void test_last_checkpoint_stays(void **state) {
    (void)state;
    lm_error e = {0};
    fault.from = 8, fault.to = 40;
    assert_int_equal(train(&e, "later", NULL, 0), LM_FAILED);
    assert_int_equal(fault.step, 27);
    expect_text(e.text, "stopped at step 27");
    expect_text(e.text, "the checkpoint of step 6 stays");
    expect_step("later", "6");
    fault.from = 0; // whatever it was is mended: on from there
    if (train(&e, "later", NULL, 6) != LM_OK) fail_msg("%s", e.text);
    expect_step("later", "40");
    assert_null(strstr(fault.lines, "skipped"));
}

// 19 in a row are no reason to stop, nor are 19 more after a good step. A checkpoint that was due comes later.
static void test_nineteen(void **state) {
    (void)state;
    lm_error e = {0};
    fault.from = 2, fault.to = 20;
    if (train(&e, "nineteen", "checkpoint_steps=20", 0) != LM_OK) fail_msg("%s", e.text);
    expect_text(fault.lines, "19 of 40 steps were skipped");
    fault.stop_after = 21;
    assert_int_equal(train(&e, "nineteen-2", "checkpoint_steps=20", 0), LM_CANCELLED);
    fault.from = 22, fault.to = 40, fault.stop_after = 0;
    if (train(&e, "nineteen-2", "checkpoint_steps=20", 21) != LM_OK) fail_msg("%s", e.text);
    expect_text(fault.lines, "38 of 40 steps were skipped");
}

static void replace_in_file(const char *path, const char *from, const char *to) {
    uint8_t *bytes;
    size_t size;
    assert_int_equal(lm_file_read(NULL, path, 1 << 24, LM_MEDIA, &bytes, &size), LM_OK);
    char *at = memmem(bytes, size, from, strlen(from));
    assert_non_null(at);
    memcpy(at, to, strlen(from));
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    lm_free(bytes);
}

// Stopped by the user after 8 skipped steps, the count goes on with the run; in a checkpoint of before there was none.
static void test_resumed(void **state) {
    (void)state;
    lm_error e = {0};
    char *path = tiny_file(&run, "resumed", "checkpoint.safetensors");
    for (int old = 0; old < 2; old++) {
        fault.from = 3, fault.to = 40, fault.stop_after = 10;
        assert_int_equal(train(&e, "resumed", NULL, 0), LM_CANCELLED);
        expect_step("resumed", "10");
        if (old) replace_in_file(path, "skipped_in_row", "skipped_in_rox");
        fault.stop_after = 0;
        assert_int_equal(train(&e, "resumed", NULL, 10), LM_FAILED);
        assert_int_equal(fault.step, old ? 30 : 22);
        expect_text(e.text, "the checkpoint of step 10 stays");
        expect_step("resumed", "10");
        replace_in_file(path, "\"skipped\":\"8\"", "\"skipped\":\"x\"");
        assert_int_equal(train(&e, "resumed", NULL, 10), LM_MODEL);
        assert_int_equal(unlink(path), 0);
    }
    lm_free(path);
}

// Losses that stay far above their mean are no reason to go on either: step 10 enlarges all weights.
static void test_outliers_in_a_row(void **state) {
    (void)state;
    lm_error e = {0};
    fault.enlarges = 10;
    assert_int_equal(train(&e, "outliers", "outlier=5", 0), LM_FAILED);
    expect_text(e.text, "stopped at step 30: the loss is an outlier, 20 steps in a row");
    expect_text(e.text, "a larger outlier");
    expect_step("outliers", "9");
}

// Weights or an average that could not be read again are not saved over those that can.
static void test_diverged(void **state) {
    static const struct {
        bool average;
        float value;
        const char *says;
    } cases[] = {{false, NAN, "weights/"}, {true, INFINITY, "average/"}, {true, 66000, "holds 66000"}};
    (void)state;
    for (int i = 0; i < 3; i++) {
        lm_error e = {0};
        char out[20];
        snprintf(out, sizeof out, "diverged-%d", i);
        fault.spoils = 6, fault.average = cases[i].average, fault.value = cases[i].value;
        assert_int_equal(train(&e, out, "average=0.999", 0), LM_FAILED);
        assert_int_equal(fault.step, 6);
        expect_text(e.text, "step 6: the training has diverged");
        expect_text(e.text, cases[i].says);
        expect_step(out, "3");
        char *model = tiny_file(&run, out, "model.safetensors");
        lm_safetensors *f = tiny_tensors(&run, out, "model.safetensors");
        assert_string_equal(lm_safetensors_metadata(f, "step"), "3");
        lm_safetensors_free(&f);
        lm_free(model);
        fault.spoils = 0;
        if (train(&e, out, NULL, 3) != LM_OK) fail_msg("%s", e.text);
    }
}

// A validation loss that is not a number is said and recorded; it is not the same as no validation.
static void test_validation(void **state) {
    (void)state;
    lm_error e = {0};
    fault.spoils = 5, fault.average = true, fault.value = NAN, fault.stop_after = 6;
    assert_int_equal(train(&e, "validation", "validate_every=6", 0), LM_FAILED);
    expect_text(fault.lines, "the averaged weights' validation loss is not a finite number");
    char *path = tiny_file(&run, "validation", "metrics.csv");
    uint8_t *bytes;
    size_t size;
    assert_int_equal(lm_file_read(NULL, path, 1 << 20, LM_MEDIA, &bytes, &size), LM_OK);
    expect_text((char *)bytes, ",nan,0\n");
    lm_free(bytes);
    lm_free(path);
}

// Nothing is learned at rate 0, and a run that has its steps has nothing to do: both are said.
static void test_said(void **state) {
    (void)state;
    lm_error e = {0};
    if (train(&e, "said", "learning_rate=0", 0) != LM_OK) fail_msg("%s", e.text);
    expect_text(fault.lines, "learning_rate is 0: no weight will change");
    if (train(&e, "said", "steps=20", 40) != LM_OK) fail_msg("%s", e.text);
    expect_text(fault.lines, "the run has all of its 20 steps");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_from_the_beginning, no_fault),
        cmocka_unit_test_setup(test_nineteen, no_fault),
        cmocka_unit_test_setup(test_last_checkpoint_stays, no_fault),
        cmocka_unit_test_setup(test_resumed, no_fault),
        cmocka_unit_test_setup(test_outliers_in_a_row, no_fault),
        cmocka_unit_test_setup(test_diverged, no_fault),
        cmocka_unit_test_setup(test_validation, no_fault),
        cmocka_unit_test_setup(test_said, no_fault),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
