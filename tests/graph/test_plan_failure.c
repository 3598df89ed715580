// A kernel that fails ends the plan's run with its status, and the message names the node; the plan can run again.
#include "base/memory.h"
#include "base/random.h"
#include "devices/devices.h"
#include "graph/plan_internal.h"
#include "refusing_dnnl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { FRAMES = 4, SIDE = 6, CHANNELS = 8, COUNT = FRAMES * SIDE * SIDE * CHANNELS };

// Two convolutions with an activation between them, trained.
typedef struct network {
    lm_device *d;
    lm_graph *g;
    lm_plan *plan;
    lm_tensor x, target, loss;
    float *weights, *grads;
    int64_t grad_count;
} network;

static lm_tensor scoped_conv(lm_graph *g, const char *scope, lm_tensor x) {
    lm_scope_push(g, "%s", scope);
    lm_tensor w = lm_param(g, "weight", ((lm_init){LM_INIT_ONE, 0}), CHANNELS, CHANNELS, 3, 3);
    x = lm_conv(g, x, w, LM_NONE, LM_NONE, LM_SPACE, 1);
    lm_scope_pop(g);
    return x;
}

static float *random_block(int64_t n, uint32_t item) {
    float *x = lm_alloc_aligned((size_t)n * sizeof(float));
    assert_non_null(x);
    lm_random_normal(x, n, 7, LM_FOR_TEST, item, 0, 0);
    return x;
}

static void open_network(network *n, int threads) {
    lm_error e = {0};
    *n = (network){.g = lm_graph_create(LM_F32)};
    assert_int_equal(lm_device_open(&e, "cpu", threads, &n->d), LM_OK);
    lm_graph_train(n->g, NULL);
    n->x = lm_input(n->g, "x", LM_F32, 1, FRAMES, SIDE, SIDE, CHANNELS);
    n->target = lm_input(n->g, "target", LM_F32, 1, FRAMES, SIDE, SIDE, CHANNELS);
    lm_tensor y = scoped_conv(n->g, "second", lm_silu(n->g, scoped_conv(n->g, "first", n->x)));
    n->loss = lm_mse(n->g, y, n->target);
    lm_output(n->g, n->loss);
    lm_graph_backward(n->g, n->loss);
    if (lm_plan_create(&e, n->g, n->d, &n->plan) != LM_OK) fail_msg("%s", e.text);
    n->grad_count = lm_graph_grad_count(n->g);
    n->weights = random_block(lm_graph_param_count(n->g), 1);
    n->grads = random_block(n->grad_count, 2);
    lm_plan_bind(n->plan, n->weights, n->grads);
}

static void close_network(network *n) {
    lm_plan_free(&n->plan);
    lm_graph_free(&n->g);
    lm_free(n->weights);
    lm_free(n->grads);
    lm_device_close(&n->d);
}

static lm_status run_network(lm_error *e, network *n) {
    static float x[COUNT], target[COUNT];
    lm_random_normal(x, COUNT, 7, LM_FOR_TEST, 3, 0, 0);
    lm_random_normal(target, COUNT, 7, LM_FOR_TEST, 4, 0, 0);
    lm_error_clear(e);
    LM_TRY(lm_plan_write(e, n->plan, n->x, x, sizeof x));
    LM_TRY(lm_plan_write(e, n->plan, n->target, target, sizeof target));
    return lm_plan_run(e, n->plan);
}

// Every run of a primitive refused in turn: the message says in which of the convolutions, forward and backward.
static void the_message_names_the_node(void **state) {
    (void)state;
    static const char *const ops[] = {"conv,", "conv_grad_x,", "conv_grad_w,"};
    for (int threads = 1; threads <= 2; threads++) {
        lm_error e = {0};
        network n;
        int seen[3][2] = {0};
        open_network(&n, threads);
        dnnl_refuse(0, 0);
        assert_int_equal(run_network(&e, &n), LM_OK);
        const long runs = atomic_load(&dnnl_runs);
        float *right = random_block(n.grad_count, 0);
        memcpy(right, n.grads, (size_t)n.grad_count * sizeof *right);
        for (long i = 1; i <= runs; i++) {
            dnnl_refuse(i, 1);
            assert_int_equal(run_network(&e, &n), LM_MEMORY);
            assert_non_null(strstr(e.text, "failed: oneDNN: no memory"));
            bool first = strncmp(e.text, "the node first ", 15) == 0;
            assert_true(first || strncmp(e.text, "the node second ", 16) == 0);
            for (int k = 0; k < 3; k++) seen[k][first] += strstr(e.text, ops[k]) != NULL;
        }
        assert_true(seen[0][0] && seen[0][1] && seen[1][0] && !seen[1][1] && seen[2][0] && seen[2][1]); // x is an input
        dnnl_refuse(0, 0);
        assert_int_equal(run_network(&e, &n), LM_OK);
        assert_memory_equal(right, n.grads, (size_t)n.grad_count * sizeof *right);
        lm_free(right);
        close_network(&n);
    }
}

// An id outside the table, in a chain and alone, on both devices.
static void other_devices_and_chains_do_too(void **state) {
    (void)state;
    static const char *const devices[] = {"cpu", "reference"};
    for (int i = 0; i < 4; i++) {
        lm_error e = {0};
        lm_device *d = NULL;
        lm_plan *p = NULL;
        assert_int_equal(lm_device_open(&e, devices[i % 2], 2, &d), LM_OK);
        lm_graph *g = lm_graph_create(LM_F32);
        lm_graph_chain(g, i / 2 ? 4 : 1);
        lm_tensor ids = lm_input(g, "ids", LM_I32, 1, 3);
        lm_scope_push(g, "words");
        lm_tensor table = lm_param(g, "weight", ((lm_init){LM_INIT_ONE, 0}), 5, CHANNELS);
        lm_tensor y = lm_embedding(g, ids, table);
        lm_scope_pop(g);
        lm_output(g, lm_silu(g, y));
        if (lm_plan_create(&e, g, d, &p) != LM_OK) fail_msg("%s", e.text);
        float *weights = random_block(5 * CHANNELS, 1);
        lm_plan_bind(p, weights, NULL);
        assert_int_equal(lm_plan_write(&e, p, ids, (int32_t[]){0, 4, 5}, 3 * sizeof(int32_t)), LM_OK);
        assert_int_equal(lm_plan_run(&e, p), LM_FAILED);
        assert_non_null(strstr(e.text, "words"));
        assert_non_null(strstr(e.text, "failed: embedding: id 5 at position 2; ids must lie in 0 to 4"));
        lm_free(weights);
        lm_plan_free(&p);
        lm_graph_free(&g);
        lm_device_close(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_message_names_the_node),
        cmocka_unit_test(other_devices_and_chains_do_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
