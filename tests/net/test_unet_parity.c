// Whole U-Nets, forward and backward, against PyTorch in double precision (tests/oracle/unet_vectors.py).
#include "../op/formula.h"
#include "tested_network.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_CASES = 16 };

typedef struct unet_case {
    char name[40];
    network_shape shape;
    bool gradients;
    lm_unet_config config;
    int64_t samples; // floats before its first record
} unet_case;

static unet_case cases[MAX_CASES];
static int case_count;
static float *samples;
static int64_t sample_floats;

static void read_case(const char *line, unet_case *c) {
    lm_error e = {0};
    long long s[5];
    int gradients, at = 0;
    int fields = sscanf(line, "%39s %lld %lld %lld %lld %lld %d %n", c->name, &s[0], &s[1], &s[2], &s[3], &s[4],
                        &gradients, &at);
    assert_int_equal(fields, 7);
    c->shape = (network_shape){s[0], s[1], s[2], s[3], s[4]};
    c->gradients = gradients;
    network_succeed(lm_unet_config_parse(&e, c->name, line + at, strlen(line + at), &c->config), &e);
}

// Parameters by name, the order of their records.
static int by_name(const void *a, const void *b) {
    return strcmp((*(const lm_param_info *const *)a)->name, (*(const lm_param_info *const *)b)->name);
}

static const lm_param_info **sorted_params(const lm_graph *g) {
    int n = lm_graph_params(g);
    const lm_param_info **list = malloc((size_t)n * sizeof *list);
    assert_non_null(list);
    for (int i = 0; i < n; i++) list[i] = lm_graph_param(g, i);
    qsort(list, (size_t)n, sizeof *list, by_name);
    return list;
}

static int64_t record_floats(const unet_case *c) {
    int64_t frame = c->shape.height * c->shape.width * c->config.out_channels;
    int64_t floats = c->shape.clips * c->shape.frames * formula_record_size(frame);
    if (!c->gradients) return floats;
    lm_graph *g = lm_graph_create(LM_F32);
    assert_non_null(g);
    lm_unet_build(g, &c->config, c->shape.clips, c->shape.frames, c->shape.height, c->shape.width, c->shape.tokens);
    for (int i = 0; i < lm_graph_params(g); i++)
        floats += formula_record_size(lm_desc_count(&lm_graph_param(g, i)->desc));
    lm_graph_free(&g);
    return floats;
}

static int setup(void **state) {
    (void)state;
    FILE *f = fopen(LM_TEST_DATA "/unet_cases.txt", "r");
    assert_non_null(f);
    char line[2000];
    for (; fgets(line, sizeof line, f); case_count++) {
        assert_true(case_count < MAX_CASES);
        read_case(line, &cases[case_count]);
        cases[case_count].samples = sample_floats;
        sample_floats += record_floats(&cases[case_count]);
    }
    fclose(f);
    f = fopen(LM_TEST_DATA "/unet_samples.bin", "rb");
    assert_non_null(f);
    assert_non_null(samples = malloc((size_t)sample_floats * sizeof *samples));
    assert_int_equal(fread(samples, sizeof *samples, (size_t)sample_floats, f), sample_floats);
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(samples);
    return 0;
}

static const unet_case *case_named(const char *name) {
    for (int i = 0; i < case_count; i++)
        if (strcmp(cases[i].name, name) == 0) return &cases[i];
    fail_msg("no case %s", name);
    return NULL;
}

// Worst error of a frame of v; *at moves behind the records.
static double error_of_v(network *n, const unet_case *c, int64_t *at) {
    int64_t count, frames = c->shape.clips * c->shape.frames;
    double *v = network_read(n, n->u.v, &count), worst = 0;
    for (int64_t f = 0; f < frames; f++) {
        double error = formula_error(v + f * (count / frames), count / frames, samples + *at);
        if (!(error <= worst)) worst = error;
        *at += formula_record_size(count / frames);
    }
    free(v);
    return worst;
}

// Worst error of a parameter's gradient, over the trained ones.
static double error_of_gradients(network *n, int64_t at, double tolerance, int *compared) {
    const lm_param_info **params = sorted_params(n->g);
    double worst = 0;
    for (int i = 0; i < lm_graph_params(n->g); i++) {
        int64_t count = lm_desc_count(&params[i]->desc);
        if (params[i]->trainable) {
            double *grad = network_read_grad(n, params[i]);
            double error = formula_error(grad, count, samples + at);
            if (!(error <= tolerance)) print_error("gradient of %s: error %.2e\n", params[i]->name, error);
            if (!(error <= worst)) worst = error;
            free(grad);
            ++*compared;
        }
        at += formula_record_size(count);
    }
    free(params);
    return worst;
}

static void forward(const char *name, const char *device, lm_dtype compute, double tolerance) {
    const unet_case *c = case_named(name);
    network n;
    network_open(&n, device, 2, &c->config, c->shape, compute, NETWORK_FORWARD);
    network_fill(&n, NULL);
    network_write_formula(&n, c->shape);
    network_run(&n);
    int64_t at = c->samples;
    double error = error_of_v(&n, c, &at);
    network_close(&n);
    print_message("%s on %s in %s: error %.1e\n", name, device, lm_dtype_name(compute), error);
    assert_true(error <= tolerance);
}

static void backward(const char *name, const char *device, lm_dtype compute, double tolerance, network_loss loss) {
    const unet_case *c = case_named(name);
    network n;
    network_open(&n, device, 2, &c->config, c->shape, compute, loss);
    network_fill(&n, NULL);
    network_write_formula(&n, c->shape);
    network_run(&n);
    int64_t at = c->samples;
    double of_v = error_of_v(&n, c, &at);
    int compared = 0;
    double error = error_of_gradients(&n, at, tolerance, &compared);
    int params = lm_graph_params(n.g);
    network_close(&n);
    print_message("%s on %s in %s: error %.1e, gradients of %d of %d parameters %.1e\n", name, device,
                  lm_dtype_name(compute), of_v, compared, params, error);
    assert_true(of_v <= tolerance);
    assert_true(error <= tolerance);
    assert_true(loss == NETWORK_TRAIN_ALL ? compared == params : compared > 0 && compared < params);
}

static const char *const small[] = {"small-image", "odd-video", "small-video", "small-super-resolution"};
enum { SMALL = sizeof small / sizeof small[0] };

static void test_small_on_reference_f64(void **state) {
    (void)state;
    for (int i = 0; i < SMALL; i++) backward(small[i], "reference", LM_F64, 1e-12, NETWORK_TRAIN_ALL);
}

static void test_small_forward_f32(void **state) {
    (void)state;
    for (int i = 0; i < SMALL; i++) forward(small[i], "cpu", LM_F32, 1e-10);
}

static void test_small_backward_f32(void **state) {
    (void)state;
    for (int i = 0; i < SMALL; i++) backward(small[i], "cpu", LM_F32, 1e-8, NETWORK_TRAIN_ALL);
}

static void test_small_inflation_alone_f32(void **state) {
    (void)state;
    backward("odd-video", "cpu", LM_F32, 1e-8, NETWORK_TRAIN_INFLATION);
    backward("small-video", "cpu", LM_F32, 1e-8, NETWORK_TRAIN_INFLATION);
}

static void test_small_forward_bf16(void **state) {
    (void)state;
    for (int i = 0; i < SMALL; i++) {
        forward(small[i], "cpu", LM_BF16, 2e-3);
        forward(small[i], "reference", LM_BF16, 2e-3);
    }
}

static void test_default_image(void **state) {
    (void)state;
    forward("default-image", "cpu", LM_F32, 1e-10);
    forward("default-image", "cpu", LM_BF16, 2e-3);
}

static void test_default_video(void **state) {
    (void)state;
    forward("default-video", "cpu", LM_F32, 1e-10);
    forward("default-video", "cpu", LM_BF16, 2e-3);
}

static void test_super_resolution(void **state) {
    (void)state;
    forward("super-resolution", "cpu", LM_F32, 1e-10);
    forward("super-resolution", "cpu", LM_BF16, 2e-3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_on_reference_f64), cmocka_unit_test(test_small_forward_f32),
        cmocka_unit_test(test_small_backward_f32),     cmocka_unit_test(test_small_inflation_alone_f32),
        cmocka_unit_test(test_small_forward_bf16),     cmocka_unit_test(test_default_image),
        cmocka_unit_test(test_default_video),          cmocka_unit_test(test_super_resolution),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
