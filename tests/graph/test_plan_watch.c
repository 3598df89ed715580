// A plan that is watched: asked before every step, stopped between two of them, and run again with the same result.
#include "base/memory.h"
#include "base/random.h"
#include "devices/devices.h"
#include "graph/plan.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include <string.h>

enum { SIDE = 12, CHANNELS = 16, COUNT = SIDE * SIDE * CHANNELS, LAYERS = 20 };

typedef struct network {
    lm_device *d;
    lm_graph *g;
    lm_plan *plan;
    lm_tensor x, y;
    float *weights;
} network;

static float *random_block(int64_t n, uint32_t item) {
    float *x = lm_alloc_aligned((size_t)n * sizeof(float));
    assert_non_null(x);
    lm_random_normal(x, n, 7, LM_FOR_TEST, item, 0, 0);
    return x;
}

static void open_network(network *n, const char *device, int chain) {
    lm_error e = {0};
    *n = (network){.g = lm_graph_create(LM_F32)};
    assert_non_null(n->g);
    assert_int_equal(lm_device_open(&e, device, 2, &n->d), LM_OK);
    lm_graph_chain(n->g, chain);
    lm_tensor h = n->x = lm_input(n->g, "x", LM_F32, 1, 1, SIDE, SIDE, CHANNELS);
    for (int i = 0; i < LAYERS; i++) {
        lm_scope_push(n->g, "%d", i);
        h = lm_silu(n->g, lm_linear(n->g, h, lm_param(n->g, "w", ((lm_init){LM_INIT_ONE, 0}), CHANNELS, CHANNELS),
                                    LM_NONE, LM_NONE));
        lm_scope_pop(n->g);
    }
    lm_output(n->g, n->y = h);
    if (lm_plan_create(&e, n->g, n->d, &n->plan) != LM_OK) fail_msg("%s", e.text);
    n->weights = random_block(lm_graph_param_count(n->g), 1);
    lm_plan_bind(n->plan, n->weights, NULL);
}

static void close_network(network *n) {
    lm_plan_free(&n->plan);
    lm_graph_free(&n->g);
    lm_free(n->weights);
    lm_device_close(&n->d);
}

static lm_status run_network(lm_error *e, network *n, float y[COUNT]) {
    static float x[COUNT];
    lm_random_normal(x, COUNT, 7, LM_FOR_TEST, 3, 0, 0);
    lm_error_clear(e);
    LM_TRY(lm_plan_write(e, n->plan, n->x, x, sizeof x));
    LM_TRY(lm_plan_run(e, n->plan));
    return lm_plan_read(e, n->plan, n->y, y, COUNT * sizeof *y);
}

typedef struct counter {
    int asked, most; // true `most` times
} counter;

static bool count_down(void *user) {
    counter *c = user;
    return c->asked++ < c->most;
}

static void a_run_stops_at_any_step_and_can_be_repeated(void **state) {
    (void)state;
    static const char *const devices[] = {"cpu", "reference"};
    static float right[COUNT], y[COUNT];
    for (int i = 0; i < 2; i++) {
        lm_error e = {0};
        network n;
        open_network(&n, devices[i], 1);
        assert_int_equal(run_network(&e, &n, right), LM_OK);
        counter c = {.most = 1 << 30};
        lm_plan_watch(n.plan, count_down, &c);
        assert_int_equal(run_network(&e, &n, y), LM_OK);
        assert_memory_equal(y, right, sizeof right);
        const int steps = c.asked;
        assert_int_equal(steps, lm_plan_nodes(n.plan));
        for (int k = 0; k < steps; k++) {
            lm_plan_weights_changed(n.plan); // a kernel that was not reached still has to pack
            c = (counter){.most = k};
            assert_int_equal(run_network(&e, &n, y), LM_CANCELLED);
            assert_int_equal(e.status, LM_CANCELLED);
            assert_non_null(strstr(e.text, "stopped before the node"));
            assert_int_equal(c.asked, k + 1);
            c = (counter){.most = 1 << 30};
            memset(y, 0, sizeof y);
            assert_int_equal(run_network(&e, &n, y), LM_OK);
            assert_memory_equal(y, right, sizeof right);
        }
        c = (counter){.most = 0};
        lm_plan_watch(n.plan, NULL, NULL);
        assert_int_equal(run_network(&e, &n, y), LM_OK);
        assert_int_equal(c.asked, 0);
        close_network(&n);
    }
}

static void chained_steps_are_asked_once(void **state) {
    (void)state;
    static float y[COUNT];
    lm_error e = {0};
    network n;
    open_network(&n, "cpu", 4);
    counter c = {.most = 1 << 30};
    lm_plan_watch(n.plan, count_down, &c);
    assert_int_equal(run_network(&e, &n, y), LM_OK);
    assert_true(c.asked > 1 && c.asked <= lm_plan_nodes(n.plan));
    close_network(&n);
}

typedef struct flag {
    atomic_bool stop;
    atomic_int asked;
} flag;

static bool not_stopped(void *user) {
    flag *f = user;
    atomic_fetch_add(&f->asked, 1);
    return !atomic_load(&f->stop);
}

// Waits until a run is under way, then stops it.
static void *stop_it(void *user) {
    flag *f = user;
    while (atomic_load(&f->asked) < LAYERS) sched_yield();
    atomic_store(&f->stop, true);
    return NULL;
}

static void another_thread_may_stop_it(void **state) {
    (void)state;
    static float right[COUNT], y[COUNT];
    lm_error e = {0};
    network n;
    open_network(&n, "cpu", 1);
    assert_int_equal(run_network(&e, &n, right), LM_OK);
    for (int i = 0; i < 20; i++) {
        flag f = {0};
        pthread_t thread;
        lm_status s = LM_OK;
        lm_plan_watch(n.plan, not_stopped, &f);
        assert_int_equal(pthread_create(&thread, NULL, stop_it, &f), 0);
        while (s == LM_OK) s = run_network(&e, &n, y); // the flag comes within some runs
        assert_int_equal(s, LM_CANCELLED);
        pthread_join(thread, NULL);
        atomic_store(&f.stop, false);
        assert_int_equal(run_network(&e, &n, y), LM_OK);
        assert_memory_equal(y, right, sizeof right);
    }
    close_network(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_stops_at_any_step_and_can_be_repeated),
        cmocka_unit_test(chained_steps_are_asked_once),
        cmocka_unit_test(another_thread_may_stop_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
