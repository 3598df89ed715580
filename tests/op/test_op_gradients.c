// The gradient of every op that has one against central differences, in double precision on the reference device:
// through the graph's backward pass, so that the rules that build it are tested too.
#include "base/memory.h"
#include "devices/devices.h"
#include "formula.h"
#include "graph/plan.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_LEAVES = 8, MAX_PROBES = 40 };

// A graph being built: the parameters are the graph's own, the other leaves are inputs whose gradient is wanted.
typedef struct builder {
    lm_graph *g;
    lm_tensor leaf[MAX_LEAVES], fixed[MAX_LEAVES];
    int leaves, fixeds;
} builder;

#define PARAM(name, ...) lm_param(b->g, name, ((lm_init){LM_INIT_ZERO, 0}), __VA_ARGS__)
#define LEAF(name, ...) keep_leaf(b, lm_input(b->g, name, LM_F64, __VA_ARGS__))
#define FIXED(name, type, ...) (b->fixed[b->fixeds++] = lm_input(b->g, name, type, __VA_ARGS__))

static lm_tensor keep_leaf(builder *b, lm_tensor t) {
    lm_graph_want_grad(b->g, t);
    return b->leaf[b->leaves++] = t;
}

static lm_tensor conv_space_3(builder *b) {
    return lm_conv(b->g, LEAF("x", 2, 1, 5, 4, 3), PARAM("w", 4, 3, 3, 3), PARAM("b", 4), LM_NONE, LM_SPACE, 1);
}
static lm_tensor conv_space_3_stride_2(builder *b) {
    return lm_conv(b->g, LEAF("x", 1, 2, 5, 6, 3), PARAM("w", 2, 3, 3, 3), PARAM("b", 2), LM_NONE, LM_SPACE, 2);
}
static lm_tensor conv_space_1_acc(builder *b) {
    lm_tensor acc = LEAF("acc", 1, 2, 3, 4, 5);
    return lm_conv(b->g, LEAF("x", 1, 2, 3, 4, 3), PARAM("w", 5, 3, 1, 1), LM_NONE, acc, LM_SPACE, 1);
}
static lm_tensor conv_time_3(builder *b) {
    return lm_conv(b->g, LEAF("x", 2, 5, 2, 2, 3), PARAM("w", 4, 3, 3), PARAM("b", 4), LM_NONE, LM_TIME, 1);
}
static lm_tensor conv_time_3_stride_2(builder *b) {
    return lm_conv(b->g, LEAF("x", 1, 7, 2, 1, 3), PARAM("w", 3, 3, 3), PARAM("b", 3), LM_NONE, LM_TIME, 2);
}
static lm_tensor conv_twice(builder *b) { // one w, and x's gradient chained through acc
    lm_tensor x = LEAF("x", 1, 1, 4, 4, 3), w = PARAM("w", 3, 3, 3, 3);
    lm_tensor y = lm_conv(b->g, x, w, LM_NONE, LM_NONE, LM_SPACE, 1);
    return lm_conv(b->g, x, w, LM_NONE, lm_conv(b->g, y, w, LM_NONE, LM_NONE, LM_SPACE, 1), LM_SPACE, 1);
}
static lm_tensor linear(builder *b) {
    return lm_linear(b->g, LEAF("x", 2, 3, 5), PARAM("w", 4, 5), PARAM("b", 4), LM_NONE);
}
static lm_tensor linear_acc(builder *b) {
    lm_tensor x = LEAF("x", 6, 4);
    return lm_linear(b->g, x, PARAM("w", 4, 4), LM_NONE, x);
}
static lm_tensor norm_with(builder *b, bool ss, bool silu) {
    lm_tensor x = LEAF("x", 2, 3, 2, 3, 8), s = ss ? LEAF("ss", 2, 16) : LM_NONE;
    return lm_norm(b->g, x, PARAM("gamma", 8), PARAM("beta", 8), s, (lm_norm_attr){2, 1e-5f, silu});
}
static lm_tensor norm_plain(builder *b) {
    return norm_with(b, false, false);
}
static lm_tensor norm_silu(builder *b) {
    return norm_with(b, false, true);
}
static lm_tensor norm_ss(builder *b) {
    return norm_with(b, true, false);
}
static lm_tensor norm_ss_silu(builder *b) {
    return norm_with(b, true, true);
}
static lm_tensor norm_frame_ss(builder *b) { // a scale and shift for each frame
    lm_tensor x = LEAF("x", 2, 3, 2, 3, 8);
    return lm_norm(b->g, x, PARAM("gamma", 8), PARAM("beta", 8), LEAF("ss", 6, 16), (lm_norm_attr){2, 1e-5f, true});
}
static lm_tensor norm_layer(builder *b) {
    lm_norm_attr attr = {1, 1e-5f, false};
    return lm_norm(b->g, LEAF("x", 2, 5, 7), PARAM("gamma", 7), PARAM("beta", 7), LM_NONE, attr);
}
static lm_tensor norm_residual(builder *b) { // x's gradient chained through acc
    lm_tensor x = LEAF("x", 1, 2, 2, 3, 8);
    lm_tensor y = lm_norm(b->g, x, PARAM("gamma", 8), PARAM("beta", 8), LM_NONE, (lm_norm_attr){2, 1e-5f, true});
    return lm_add(b->g, x, y);
}
static lm_tensor silu(builder *b) {
    return lm_silu(b->g, LEAF("x", 5, 9));
}
static lm_tensor gelu(builder *b) {
    return lm_gelu(b->g, LEAF("x", 5, 9));
}
static lm_tensor silu_residual(builder *b) {
    lm_tensor x = LEAF("x", 5, 9);
    return lm_add(b->g, lm_silu(b->g, x), lm_gelu(b->g, x));
}
static lm_tensor add(builder *b) {
    lm_tensor x = LEAF("x", 2, 3), y = LEAF("y", 2, 3);
    return lm_add(b->g, lm_add(b->g, x, y), x);
}
static lm_tensor add_position(builder *b) {
    return lm_add_position(b->g, LEAF("x", 2, 3, 2, 1, 4), PARAM("p", 5, 4));
}
static lm_tensor attention_space(builder *b) {
    return lm_attention(b->g, LEAF("qkv", 2, 2, 2, 3, 24), LM_NONE, LM_NONE, (lm_attention_attr){LM_SPACE, 2});
}
static lm_tensor attention_text(builder *b) {
    lm_tensor qkv = LEAF("qkv", 2, 2, 1, 3, 24), text = LEAF("text_kv", 2, 4, 16), mask = FIXED("mask", LM_F64, 2, 4);
    return lm_attention(b->g, qkv, text, mask, (lm_attention_attr){LM_SPACE, 2});
}
static lm_tensor attention_masked(builder *b) {
    lm_tensor qkv = LEAF("qkv", 2, 1, 1, 5, 12), mask = FIXED("mask", LM_F64, 2, 5);
    return lm_attention(b->g, qkv, LM_NONE, mask, (lm_attention_attr){LM_SPACE, 1});
}
static lm_tensor attention_time(builder *b) {
    return lm_attention(b->g, LEAF("qkv", 2, 5, 2, 1, 24), LM_NONE, LM_NONE, (lm_attention_attr){LM_TIME, 2});
}
static lm_tensor upsample(builder *b) {
    return lm_upsample(b->g, LEAF("x", 2, 2, 2, 3, 3), 2, 2);
}
static lm_tensor concat(builder *b) {
    return lm_concat(b->g, LEAF("x", 2, 3, 4), LEAF("y", 2, 3, 5));
}
static lm_tensor concat_twice(builder *b) { // slices chained through acc
    lm_tensor x = LEAF("x", 3, 4);
    return lm_concat(b->g, lm_concat(b->g, x, LEAF("y", 3, 2)), x);
}
static lm_tensor space_to_depth(builder *b) {
    return lm_space_to_depth(b->g, LEAF("x", 1, 2, 4, 6, 3), 2);
}
static lm_tensor depth_to_space(builder *b) {
    return lm_depth_to_space(b->g, LEAF("x", 1, 2, 2, 3, 8), 2);
}
static lm_tensor masked_mean(builder *b) {
    return lm_masked_mean(b->g, LEAF("x", 3, 5, 4), FIXED("mask", LM_F64, 3, 5));
}
static lm_tensor embedding(builder *b) {
    return lm_embedding(b->g, FIXED("ids", LM_I32, 2, 6), PARAM("table", 7, 3));
}
static lm_tensor cast(builder *b) { // of the same type, which lm_cast would leave out
    lm_tensor x = LEAF("x", 3, 4);
    return lm_op_(LM_HERE(b->g), (lm_op){.kind = LM_OP_CAST, .attr.cast.type = LM_F64}, &x, 1);
}
static lm_tensor view(builder *b) {
    return lm_silu(b->g, lm_view(b->g, LEAF("x", 3, 4), 2, 6));
}

static double start_value(const char *name, lm_dtype type, int64_t i) {
    double v = formula_value(formula_name_seed(name), i);
    if (type == LM_I32) return (double)(i % 5); // ids: some rows several times, some never
    return strcmp(name, "mask") == 0 ? v > -0.4 || i == 0 : v;
}

typedef struct test_run {
    lm_device *d;
    lm_plan *plan;
    builder b;
    lm_tensor loss;
    double *params, *grads; // the device's flat blocks; the reference device's memory is the host's
    double *values[MAX_LEAVES];
} test_run;

static void succeed(lm_status s, const lm_error *e) {
    if (s != LM_OK) print_error("%s\n", e->text);
    assert_int_equal(s, LM_OK);
}

static int64_t count_of(const test_run *t, lm_tensor x) {
    lm_desc d = lm_tensor_desc(t->b.g, x);
    return lm_desc_count(&d);
}

static double loss_of(test_run *t) {
    lm_error e = {0};
    double loss = 0;
    lm_plan_weights_changed(t->plan);
    for (int i = 0; i < t->b.leaves; i++)
        succeed(lm_plan_write(&e, t->plan, t->b.leaf[i], t->values[i], (size_t)count_of(t, t->b.leaf[i]) * 8), &e);
    succeed(lm_plan_run(&e, t->plan), &e);
    succeed(lm_plan_read(&e, t->plan, t->loss, &loss, sizeof loss), &e);
    return loss;
}

// Compares grad with central differences over up to MAX_PROBES elements of value.
static void check(test_run *t, const char *what, double *value, const double *grad, int64_t n) {
    const double step = 1e-4;
    double wrong = 0, size = 0;
    int64_t probes = n < MAX_PROBES ? n : MAX_PROBES;
    for (int64_t k = 0; k < probes; k++) {
        int64_t i = k * n / probes;
        double kept = value[i], at[4];
        for (int s = 0; s < 4; s++) { // -2 -1 1 2 steps: error of fourth order
            value[i] = kept + step * (s < 2 ? s - 2 : s - 1);
            at[s] = loss_of(t);
        }
        value[i] = kept;
        double difference = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step);
        wrong += (difference - grad[i]) * (difference - grad[i]);
        size += difference * difference;
    }
    if (!(wrong <= 1e-12 * size)) print_error("%s: relative error %.2e\n", what, sqrt(wrong / size));
    assert_true(size > 0);
    assert_true(wrong <= 1e-12 * size);
}

static void write_fixed(test_run *t, lm_tensor x, const char *name) {
    lm_error e = {0};
    lm_desc d = lm_tensor_desc(t->b.g, x);
    double values[1024];
    int32_t ids[1024];
    int64_t n = lm_desc_count(&d);
    assert_true(n <= 1024);
    for (int64_t i = 0; i < n; i++) {
        values[i] = start_value(name, d.type, i);
        ids[i] = (int32_t)values[i];
    }
    const void *from = d.type == LM_I32 ? (const void *)ids : values;
    succeed(lm_plan_write(&e, t->plan, x, from, (size_t)lm_desc_bytes(&d)), &e);
}

static void start(test_run *t, lm_tensor (*build)(builder *)) {
    lm_error e = {0};
    succeed(lm_device_open(&e, "reference", 1, &t->d), &e);
    t->b.g = lm_graph_create(LM_F64);
    assert_non_null(t->b.g);
    lm_graph_train(t->b.g, NULL);
    lm_tensor y = build(&t->b);
    lm_desc d = lm_tensor_desc(t->b.g, y);
    lm_tensor target = lm_input_(t->b.g, "target", LM_F64, d.rank, d.dim);
    t->loss = lm_mse(t->b.g, y, target);
    lm_graph_backward(t->b.g, t->loss);
    for (int i = 0; i < t->b.fixeds; i++) lm_output(t->b.g, t->b.fixed[i]);
    succeed(lm_plan_create(&e, t->b.g, t->d, &t->plan), &e);

    int64_t params = lm_graph_param_count(t->b.g), grads = lm_graph_grad_count(t->b.g);
    assert_non_null(t->params = lm_alloc((size_t)params + 1, sizeof(double)));
    assert_non_null(t->grads = lm_alloc((size_t)grads + 1, sizeof(double)));
    lm_plan_bind(t->plan, t->params, t->grads);
    for (int i = 0; i < lm_graph_params(t->b.g); i++) {
        const lm_param_info *p = lm_graph_param(t->b.g, i);
        for (int64_t k = 0; k < lm_desc_count(&p->desc); k++)
            t->params[p->offset + k] = start_value(p->name, LM_F64, k);
    }
    for (int i = 0; i < t->b.leaves; i++) {
        int64_t n = count_of(t, t->b.leaf[i]);
        assert_non_null(t->values[i] = lm_alloc((size_t)n, sizeof(double)));
        for (int64_t k = 0; k < n; k++) t->values[i][k] = formula_value(1000 + (uint64_t)i, k);
    }
    for (int i = 0; i < t->b.fixeds; i++)
        write_fixed(t, t->b.fixed[i], lm_tensor_desc(t->b.g, t->b.fixed[i]).type == LM_I32 ? "ids" : "mask");
    write_fixed(t, target, "target");
}

static void finish(test_run *t) {
    lm_plan_free(&t->plan);
    lm_graph_free(&t->b.g);
    lm_device_close(&t->d);
    for (int i = 0; i < t->b.leaves; i++) lm_free(t->values[i]);
    lm_free(t->params);
    lm_free(t->grads);
}

static void check_gradients(void **state) {
    test_run t = {0};
    lm_error e = {0};
    start(&t, *(lm_tensor(**)(builder *)) * state);
    loss_of(&t);
    int64_t grads = lm_graph_grad_count(t.b.g);
    double *kept = lm_alloc((size_t)grads + 1, sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, t.grads, (size_t)grads * sizeof *kept);
    double *leaf_grad[MAX_LEAVES];
    for (int i = 0; i < t.b.leaves; i++) {
        size_t bytes = (size_t)count_of(&t, t.b.leaf[i]) * sizeof(double);
        assert_non_null(leaf_grad[i] = lm_alloc(bytes, 1));
        succeed(lm_plan_read(&e, t.plan, lm_grad(t.b.g, t.b.leaf[i]), leaf_grad[i], bytes), &e);
    }
    for (int i = 0; i < lm_graph_params(t.b.g); i++) {
        const lm_param_info *p = lm_graph_param(t.b.g, i);
        check(&t, p->name, t.params + p->offset, kept + p->grad_offset, lm_desc_count(&p->desc));
    }
    for (int i = 0; i < t.b.leaves; i++) {
        check(&t, "an input", t.values[i], leaf_grad[i], count_of(&t, t.b.leaf[i]));
        lm_free(leaf_grad[i]);
    }
    lm_free(kept);
    finish(&t);
}

#define CASE(f)                                                                                                        \
    {                                                                                                                  \
#f, check_gradients, NULL, NULL, &(lm_tensor(*[1])(builder *)) {                                               \
            f                                                                                                          \
        }                                                                                                              \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(conv_space_3),
        CASE(conv_space_3_stride_2),
        CASE(conv_space_1_acc),
        CASE(conv_time_3),
        CASE(conv_time_3_stride_2),
        CASE(conv_twice),
        CASE(linear),
        CASE(linear_acc),
        CASE(norm_plain),
        CASE(norm_silu),
        CASE(norm_ss),
        CASE(norm_ss_silu),
        CASE(norm_frame_ss),
        CASE(norm_layer),
        CASE(norm_residual),
        CASE(silu),
        CASE(gelu),
        CASE(silu_residual),
        CASE(add),
        CASE(add_position),
        CASE(attention_space),
        CASE(attention_text),
        CASE(attention_masked),
        CASE(attention_time),
        CASE(upsample),
        CASE(concat),
        CASE(concat_twice),
        CASE(space_to_depth),
        CASE(depth_to_space),
        CASE(masked_mean),
        CASE(embedding),
        CASE(cast),
        CASE(view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
