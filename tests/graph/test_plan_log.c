// A device's log: told what is planned, packed and stopped, in lines of its level; two devices don't share theirs.
#include "base/memory.h"
#include "base/random.h"
#include "devices/devices.h"
#include "graph/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { SIDE = 4, CHANNELS = 16, LAYERS = 3, ROOM = 1 << 14 };

typedef struct told {
    char text[ROOM]; // lines, each with its level before and an end behind
    int lines;
} told;

static void tell(void *user, lm_log_level level, const char *line) {
    told *t = user;
    const size_t n = strlen(t->text);
    assert_null(strpbrk(line, "\n\r\033"));
    assert_true(snprintf(t->text + n, ROOM - n, "%d %s\n", (int)level, line) < (int)(ROOM - n));
    t->lines++;
}

static int count(const told *t, const char *piece) {
    int n = 0;
    for (const char *s = t->text; (s = strstr(s, piece)); s += strlen(piece)) n++;
    return n;
}

static bool never(void *user) {
    (void)user;
    return false;
}

// Plans a few layers, runs them twice, once more with other weights, and stops a run.
static void work_on(lm_device *d) {
    lm_error e = {0};
    lm_plan *p = NULL;
    lm_graph *g = lm_graph_create(LM_F32);
    assert_non_null(g);
    lm_tensor h = lm_input(g, "x", LM_F32, 1, 1, SIDE, SIDE, CHANNELS);
    for (int i = 0; i < LAYERS; i++) {
        lm_scope_push(g, "layer\033%d", i); // a name that a terminal would obey
        h = lm_linear(g, h, lm_param(g, "w", ((lm_init){LM_INIT_ONE, 0}), CHANNELS, CHANNELS), LM_NONE, LM_NONE);
        lm_scope_pop(g);
    }
    lm_output(g, h);
    assert_int_equal(lm_plan_create(&e, g, d, &p), LM_OK);
    float *w = lm_alloc_aligned((size_t)lm_graph_param_count(g) * sizeof *w);
    assert_non_null(w);
    lm_random_normal(w, lm_graph_param_count(g), 7, LM_FOR_TEST, 1, 0, 0);
    lm_plan_bind(p, w, NULL);
    for (int i = 0; i < 2; i++) assert_int_equal(lm_plan_run(&e, p), LM_OK);
    lm_plan_weights_changed(p);
    assert_int_equal(lm_plan_run(&e, p), LM_OK);
    lm_plan_watch(p, never, NULL);
    assert_int_equal(lm_plan_run(&e, p), LM_CANCELLED);
    lm_plan_free(&p);
    lm_graph_free(&g);
    lm_free(w);
}

static void levels_tell_more_or_less(void **state) {
    (void)state;
    static told t[3];
    lm_error e = {0};
    lm_device *d = NULL;
    assert_int_equal(lm_device_open(&e, "cpu", 2, &d), LM_OK);
    for (int level = LM_LOG_NONE; level <= LM_LOG_DETAILS; level++) {
        lm_device_log(d, (lm_log_level)level, tell, &t[level]);
        work_on(d);
    }
    lm_device_log(d, LM_LOG_DETAILS, NULL, NULL);
    const int before = t[2].lines;
    work_on(d);
    assert_int_equal(t[2].lines, before);
    assert_int_equal(t[0].lines, 0);
    assert_int_equal(t[1].lines, 3);
    assert_int_equal(count(&t[1], "1 device cpu: "), 1);
    assert_int_equal(count(&t[1], "1 plan: 3 nodes, "), 1);
    assert_int_equal(count(&t[1], "1 run: stopped before node 0 of 3\n"), 1);
    assert_int_equal(t[2].lines, 3 + LAYERS + 2 * LAYERS);
    assert_int_equal(count(&t[2], "2 plan: node "), LAYERS);
    assert_int_equal(count(&t[2], "layer\\u001b"), LAYERS);
    assert_int_equal(count(&t[2], "are packed for dnnl"), 2 * LAYERS);
    lm_device_close(&d);
}

static void each_device_tells_its_own(void **state) {
    (void)state;
    static told t[2];
    static const char *const names[] = {"cpu", "reference"};
    lm_device *d[2];
    lm_error e = {0};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lm_device_open(&e, names[i], 1, &d[i]), LM_OK);
        lm_device_log(d[i], LM_LOG_STEPS, tell, &t[i]);
    }
    work_on(d[1]);
    assert_int_equal(t[0].lines, 1);
    assert_int_equal(t[1].lines, 3);
    work_on(d[0]);
    assert_int_equal(t[0].lines, 3);
    assert_int_equal(t[1].lines, 3);
    for (int i = 0; i < 2; i++) lm_device_close(&d[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_tell_more_or_less),
        cmocka_unit_test(each_device_tells_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
