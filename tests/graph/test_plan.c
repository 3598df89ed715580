// The memory plan: no two tensors alive at once overlap, sharing changes no value, and what does not fit is refused.
#include "base/memory.h"
#include "base/random.h"
#include "devices/devices.h"
#include "graph/plan_internal.h"
#include "net/families/unet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static lm_unet_config small_config(void) {
    lm_unet_config c = lm_unet_config_default();
    c.levels = 3;
    int channels[] = {16, 32, 48};
    memcpy(c.channels, channels, sizeof channels);
    c.attention[1] = c.attention[2] = true;
    c.text_width = 24;
    c.embed_width = 40;
    c.video = true;
    c.cond_channels = 4;
    c.max_frames = 8;
    return c;
}

typedef struct network {
    lm_graph *g;
    lm_unet io;
    lm_tensor target, loss;
} network;

static network build(lm_dtype compute, bool train) {
    lm_unet_config c = small_config();
    network n = {.g = lm_graph_create(compute)};
    assert_non_null(n.g);
    if (train) lm_graph_train(n.g, NULL);
    n.io = lm_unet_build(n.g, &c, 1, 8, 8, 12, 5);
    n.target = lm_input(n.g, "target", LM_F32, 1, 8, 8, 12, 3);
    n.loss = lm_mse(n.g, n.io.v, n.target);
    lm_output(n.g, n.loss);
    if (train) lm_graph_backward(n.g, n.loss);
    lm_error e = {0};
    assert_int_equal(lm_graph_status(n.g, &e), LM_OK);
    return n;
}

static float *random_block(int64_t n, uint32_t item) {
    float *x = lm_alloc_aligned((size_t)n * sizeof(float));
    assert_non_null(x);
    lm_random_normal(x, n, 7, LM_FOR_TEST, item, 0, 0);
    for (int64_t i = 0; i < n; i++) x[i] *= 0.2f;
    return x;
}

static void write_inputs(lm_plan *p, const network *n) {
    lm_tensor inputs[] = {n->io.x, n->io.cond, n->io.t, n->io.text, n->target};
    lm_error e = {0};
    for (uint32_t i = 0; i < 5; i++) {
        lm_desc d = lm_tensor_desc(n->g, inputs[i]);
        float *x = random_block(lm_desc_count(&d), 100 + i);
        assert_int_equal(lm_plan_write(&e, p, inputs[i], x, (size_t)lm_desc_bytes(&d)), LM_OK);
        lm_free(x);
    }
    float mask[5] = {1, 1, 1, 0, 0};
    assert_int_equal(lm_plan_write(&e, p, n->io.mask, mask, sizeof mask), LM_OK);
}

static bool overlap(const plan_storage *a, const plan_storage *b) {
    bool alive = a->first <= b->last && b->first <= a->last;
    return alive && a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static void storages_alive_together_do_not_overlap(void **state) {
    (void)state;
    lm_error e = {0};
    lm_device *d = NULL;
    assert_int_equal(lm_device_open(&e, "cpu", 1, &d), LM_OK);
    for (int train = 0; train < 2; train++) {
        network n = build(LM_F32, train);
        lm_plan *p = NULL;
        assert_int_equal(lm_plan_create(&e, n.g, d, &p), LM_OK);
        int pairs = 0;
        int64_t sum = 0;
        for (int i = 0; i < p->storage_count; i++) {
            const plan_storage *a = &p->storages[i];
            if (a->home != PLAN_BLOCK) continue;
            assert_true(a->offset % PLAN_ALIGN == 0 && a->offset + a->bytes <= (int64_t)p->block_bytes);
            sum += a->bytes;
            for (int j = 0; j < i; j++)
                if (p->storages[j].home == PLAN_BLOCK) {
                    assert_false(overlap(a, &p->storages[j]));
                    pairs++;
                }
        }
        assert_true(pairs > 100);
        assert_true((int64_t)p->block_bytes < sum / 2); // reuse does happen
        lm_plan_free(&p);
        lm_graph_free(&n.g);
    }
    lm_device_close(&d);
}

// Runs the training graph on a device and returns its gradients and loss.
static float *gradients(const char *device, int threads, int chain, float *loss, int64_t *count) {
    lm_error e = {0};
    lm_device *d = NULL;
    assert_int_equal(lm_device_open(&e, device, threads, &d), LM_OK);
    network n = build(LM_F32, true);
    lm_graph_chain(n.g, chain);
    lm_plan *p = NULL;
    assert_int_equal(lm_plan_create(&e, n.g, d, &p), LM_OK);
    int steps = p->nodes[p->node_count - 1].step + 1;
    assert_true(chain > 1 ? steps < p->node_count : steps == p->node_count);
    *count = lm_graph_grad_count(n.g);
    float *w = random_block(lm_graph_param_count(n.g), 1), *g = random_block(*count, 2);
    memset(g, 0, (size_t)*count * sizeof *g);
    lm_plan_bind(p, w, g);
    write_inputs(p, &n);
    for (int i = 0; i < 2; i++)
        assert_int_equal(lm_plan_run(&e, p), LM_OK); // a replay must not depend on the run before
    assert_int_equal(lm_plan_read(&e, p, n.loss, loss, sizeof *loss), LM_OK);
    lm_free(w);
    lm_plan_free(&p);
    lm_graph_free(&n.g);
    lm_device_close(&d);
    return g;
}

static void devices_thread_counts_and_chains_agree(void **state) {
    (void)state;
    float loss[3];
    int64_t count;
    float *want = gradients("reference", 1, 1, &loss[0], &count);
    float *one = gradients("cpu", 1, 1, &loss[1], &count), *two = gradients("cpu", 2, 6, &loss[2], &count);
    assert_memory_equal(one, two, (size_t)count * sizeof *one);
    assert_memory_equal(&loss[1], &loss[2], sizeof loss[1]);
    double error = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        double x = (double)one[i] - (double)want[i];
        error += x * x;
        size += (double)want[i] * (double)want[i];
    }
    assert_true(size > 0 && error / size < 1e-8);
    assert_true(loss[0] > 0 && (double)(loss[0] - loss[1]) < 1e-5 * (double)loss[0] &&
                (double)(loss[1] - loss[0]) < 1e-5 * (double)loss[0]);
    lm_free(want);
    lm_free(one);
    lm_free(two);
}

static void node_by_node_comparison_finds_no_difference(void **state) {
    (void)state;
    lm_error e = {0};
    lm_device *d = NULL;
    assert_int_equal(lm_device_open(&e, "cpu", 1, &d), LM_OK);
    network n = build(LM_BF16, true);
    lm_plan *p = NULL;
    assert_int_equal(lm_plan_create(&e, n.g, d, &p), LM_OK);
    float *w = random_block(lm_graph_param_count(n.g), 1), *g = random_block(lm_graph_grad_count(n.g), 2);
    lm_plan_bind(p, w, g);
    write_inputs(p, &n);
    double worst;
    int node;
    assert_int_equal(lm_plan_compare(&e, p, &worst, &node), LM_OK);
    if (worst > 5e-5) print_error("node %d (%s) differs by %g\n", node, lm_plan_node(p, node).op, worst);
    assert_true(node >= 0 && worst <= 5e-5);
    lm_free(w);
    lm_free(g);
    lm_plan_free(&p);
    lm_graph_free(&n.g);
    lm_device_close(&d);
}

static void bytes_are_known_before_and_too_many_refused(void **state) {
    (void)state;
    lm_error e = {0};
    lm_device *d = NULL;
    assert_int_equal(lm_device_open(&e, "cpu", 1, &d), LM_OK);
    network n = build(LM_F32, false);
    uint64_t before;
    lm_plan *p = NULL;
    assert_int_equal(lm_plan_bytes(&e, n.g, d, &before), LM_OK);
    assert_int_equal(lm_plan_create(&e, n.g, d, &p), LM_OK);
    assert_true(before > 0 && before == lm_plan_total_bytes(p));
    lm_plan_free(&p);
    lm_graph_free(&n.g);
    lm_graph *g = lm_graph_create(LM_F32);
    lm_tensor x = lm_input(g, "x", LM_F32, 1, 1, 1, 1, (int64_t)1 << 45);
    lm_output(g, lm_silu(g, x));
    assert_int_equal(lm_plan_create(&e, g, d, &p), LM_MEMORY);
    assert_non_null(strstr(e.text, "MB are free"));
    assert_null(p);
    lm_graph_free(&g);
    lm_device_close(&d);
}

static void wrong_shapes_are_reported_with_their_place(void **state) {
    (void)state;
    lm_graph *g = lm_graph_create(LM_F32);
    lm_tensor a = lm_input(g, "a", LM_F32, 2, 3), b = lm_input(g, "b", LM_F32, 3, 2);
    lm_scope_push(g, "here");
    assert_int_equal(lm_add(g, a, b).id, -1);
    assert_int_equal(lm_silu(g, a).id, -1); // builders do nothing after the first error
    lm_error e = {0};
    assert_int_equal(lm_graph_status(g, &e), LM_FAILED);
    assert_non_null(strstr(e.text, "add does not take these shapes: f32 [2,3] f32 [3,2]"));
    assert_non_null(strstr(e.text, "here, test_plan.c:"));
    lm_graph_free(&g);
}

// y = a + conv(a) with acc = a: the output must not overwrite the conv's own input.
static void acc_that_is_also_an_operand_is_not_shared(void **state) {
    (void)state;
    lm_error e = {0};
    lm_device *d = NULL;
    assert_int_equal(lm_device_open(&e, "cpu", 1, &d), LM_OK);
    lm_graph *g = lm_graph_create(LM_F32);
    lm_tensor x = lm_input(g, "x", LM_F32, 1, 1, 4, 4, 8);
    lm_tensor a = lm_silu(g, x);
    lm_tensor w = lm_param(g, "w", ((lm_init){LM_INIT_ONE, 0}), 8, 8, 3, 3);
    lm_tensor y = lm_conv(g, a, w, LM_NONE, a, LM_SPACE, 1);
    lm_tensor z = lm_conv(g, y, w, LM_NONE, lm_silu(g, y), LM_SPACE, 1); // here acc can be shared
    lm_output(g, z);
    lm_plan *p = NULL;
    assert_int_equal(lm_plan_create(&e, g, d, &p), LM_OK);
    assert_int_not_equal(p->storage_of[a.id], p->storage_of[y.id]);
    int shared = 0;
    for (int v = 0; v < z.id; v++) shared += p->storage_of[v] == p->storage_of[z.id];
    assert_int_equal(shared, 1); // silu(y) is read by nobody else
    lm_plan_free(&p);
    lm_graph_free(&g);
    lm_device_close(&d);
}

// Graphs whose arrays grow at every place of the backward pass; the sanitizer sees what is read where they were.
static void backward_passes_of_any_length(void **state) {
    (void)state;
    for (int length = 1; length <= 300; length++) {
        lm_error e = {0};
        lm_graph *g = lm_graph_create(LM_F32);
        assert_non_null(g);
        lm_graph_train(g, NULL);
        lm_tensor x = lm_param(g, "x", ((lm_init){LM_INIT_ONE, 0}), 4), y = x;
        for (int i = 0; i < length; i++) {
            lm_silu(g, y); // leads nowhere
            y = lm_silu(g, y);
        }
        lm_graph_backward(g, lm_mse(g, y, lm_input(g, "target", LM_F32, 4)));
        if (lm_graph_status(g, &e) != LM_OK) fail_msg("%d: %s", length, e.text);
        assert_true(lm_grad(g, x).id >= 0);
        lm_graph_free(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storages_alive_together_do_not_overlap),
        cmocka_unit_test(devices_thread_counts_and_chains_agree),
        cmocka_unit_test(node_by_node_comparison_finds_no_difference),
        cmocka_unit_test(bytes_are_known_before_and_too_many_refused),
        cmocka_unit_test(wrong_shapes_are_reported_with_their_place),
        cmocka_unit_test(backward_passes_of_any_length),
        cmocka_unit_test(acc_that_is_also_an_operand_is_not_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
