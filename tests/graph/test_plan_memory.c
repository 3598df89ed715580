// Memory is counted before it is taken: what a plan says of its bytes, how near the estimate without kernels is, and
// that a network of which the packed weights don't fit is refused with nothing taken.
#include "base/clock.h"
#include "base/memory.h"
#include "devices/devices.h"
#include "graph/plan.h"
#include "net/families/unet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static lm_device *open_device(const char *name) {
    lm_error e = {0};
    lm_device *d = NULL;
    if (lm_device_open(&e, name, 1, &d) != LM_OK) fail_msg("%s", e.text);
    return d;
}

static double resident_bytes(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    long size, resident;
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

// Linear layers side by side, each with weights of its own; forward, and with train also the gradient by x.
static lm_graph *layers(int count, int64_t in, int64_t out, bool train) {
    lm_error e = {0};
    lm_graph *g = lm_graph_create(LM_F32);
    assert_non_null(g);
    if (train) lm_graph_train(g, NULL);
    lm_tensor x = lm_input(g, "x", LM_F32, 1, 1, 1, 16, in), y[2];
    if (train) lm_graph_want_grad(g, x);
    for (int i = 0; i < count; i++) {
        lm_scope_push(g, "%d", i);
        y[i % 2] = lm_linear(g, x, lm_param(g, "w", ((lm_init){LM_INIT_ONE, 0}), out, in), LM_NONE,
                             i ? y[(i - 1) % 2] : LM_NONE);
        lm_scope_pop(g);
    }
    lm_tensor last = y[(count - 1) % 2];
    lm_output(g, last);
    if (train) lm_graph_backward(g, lm_mse(g, last, lm_input(g, "target", LM_F32, 1, 1, 1, 16, out)));
    if (lm_graph_status(g, &e) != LM_OK) fail_msg("%s", e.text);
    return g;
}

// The weights' own bytes are the least that the packed ones take; gradients by x pack them again.
static void counting_takes_no_memory(void **state) {
    (void)state;
    enum { COUNT = 12, SIDE = 2048 };
    const double weights = (double)COUNT * SIDE * SIDE * sizeof(float); // 201 MB
    lm_device *d = open_device("cpu");
    for (int train = 0; train < 2; train++) {
        lm_error e = {0};
        uint64_t bytes = 0;
        lm_graph *g = layers(COUNT, SIDE, SIDE, train);
        const double before = resident_bytes();
        if (lm_plan_bytes(&e, g, d, &bytes) != LM_OK) fail_msg("%s", e.text);
        const double taken = resident_bytes() - before;
        assert_true((double)bytes >= (train ? 2 : 1) * weights);
        if (taken > 0.25 * weights) fail_msg("%.0f MB taken to count %.0f MB", taken / 1e6, (double)bytes / 1e6);
        lm_graph_free(&g);
    }
    lm_device_close(&d);
}

static void weights_that_do_not_fit_are_refused_untaken(void **state) {
    (void)state;
    enum { COUNT = 64, SIDE = 1 << 16 };
    const double weights = (double)COUNT * SIDE * SIDE * sizeof(float); // 1.1 TB
    lm_device *d = open_device("cpu");
    lm_graph *g = layers(COUNT, SIDE, SIDE, false);
    lm_error e = {0};
    lm_plan *p = NULL;
    uint64_t bytes = 0;
    const double before = resident_bytes();
    if (lm_plan_bytes(&e, g, d, &bytes) != LM_OK) fail_msg("%s", e.text);
    assert_true((double)bytes >= weights);
    assert_int_equal(lm_plan_create(&e, g, d, &p), LM_MEMORY);
    assert_null(p);
    assert_non_null(strstr(e.text, "MB are free"));
    char need[40];
    snprintf(need, sizeof need, "needs %.0f MB", (double)bytes / 1e6);
    assert_non_null(strstr(e.text, need));
    const double taken = resident_bytes() - before;
    if (taken > 3e8) fail_msg("%.0f MB taken to refuse", taken / 1e6);
    lm_graph_free(&g);
    lm_device_close(&d);
}

static lm_graph *unet(lm_dtype compute, bool train) {
    lm_error e = {0};
    lm_unet_config c = lm_unet_config_default();
    c.video = true;
    c.cond_channels = 4;
    lm_graph *g = lm_graph_create(compute);
    assert_non_null(g);
    if (train) lm_graph_train(g, NULL);
    const lm_unet net = lm_unet_build(g, &c, 1, 16, 64, 64, 32);
    if (train) {
        const lm_tensor target = lm_input(g, "target", LM_F32, 1, 16, 64, 64, 3);
        lm_graph_backward(g, lm_mse(g, net.v, target));
    }
    if (lm_graph_status(g, &e) != LM_OK) fail_msg("%s", e.text);
    return g;
}

// 16 frames of 64x64 of the default network. What the estimate leaves out is workspace and the weights' padding.
static void the_estimate_is_near_and_below(void **state) {
    (void)state;
    lm_device *devices[] = {open_device("cpu"), open_device("reference")};
    for (int i = 0; i < 8; i++) {
        const lm_dtype compute = i & 1 ? LM_BF16 : LM_F32;
        const bool train = i & 2, reference = i & 4;
        lm_error e = {0};
        uint64_t estimate = 0, bytes = 0;
        lm_graph *g = unet(compute, train);
        const double start = lm_seconds();
        if (lm_plan_estimate_bytes(&e, g, devices[reference], &estimate) != LM_OK) fail_msg("%s", e.text);
        const double middle = lm_seconds();
        if (lm_plan_bytes(&e, g, devices[reference], &bytes) != LM_OK) fail_msg("%s", e.text);
        print_message("%s, %s, %s: %.1f MB estimated in %.1f ms, %.1f MB planned in %.1f ms\n",
                      devices[reference]->backend->name, compute == LM_BF16 ? "bf16" : "fp32",
                      train ? "training" : "inference", (double)estimate / 1e6, (middle - start) * 1e3,
                      (double)bytes / 1e6, (lm_seconds() - middle) * 1e3);
        lm_graph_free(&g);
        assert_true(estimate > 0 && estimate <= bytes);
        if (!reference) assert_true((double)estimate >= 0.9 * (double)bytes);
    }
    lm_device_close(&devices[0]);
    lm_device_close(&devices[1]);
}

static void a_wrong_graph_has_no_estimate(void **state) {
    (void)state;
    lm_device *d = open_device("cpu");
    lm_graph *g = lm_graph_create(LM_F32);
    assert_non_null(g);
    lm_error e = {0};
    uint64_t bytes = 7;
    assert_int_equal(lm_plan_estimate_bytes(&e, g, d, &bytes), LM_FAILED);
    assert_string_equal(e.text, "the graph has no output");
    lm_add(g, lm_input(g, "a", LM_F32, 2, 3), lm_input(g, "b", LM_F32, 3, 2));
    lm_error_clear(&e);
    assert_int_equal(lm_plan_estimate_bytes(&e, g, d, &bytes), LM_FAILED);
    assert_non_null(strstr(e.text, "add does not take these shapes"));
    assert_int_equal(bytes, 7);
    lm_graph_free(&g);
    lm_device_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counting_takes_no_memory),
        cmocka_unit_test(weights_that_do_not_fit_are_refused_untaken),
        cmocka_unit_test(the_estimate_is_near_and_below),
        cmocka_unit_test(a_wrong_graph_has_no_estimate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
