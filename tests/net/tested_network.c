#include "tested_network.h"
#include "../op/formula.h"
#include "devices/devices.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

void network_succeed(lm_status s, const lm_error *e) {
    if (s != LM_OK) print_error("%s\n", e->text);
    assert_int_equal(s, LM_OK);
}

static lm_dtype real_type(const network *n) {
    return lm_graph_compute(n->g) == LM_F64 ? LM_F64 : LM_F32;
}

static int64_t count_of(const network *n, lm_tensor t) {
    lm_desc d = lm_tensor_desc(n->g, t);
    return lm_desc_count(&d);
}

void network_open(network *n, const char *device, int threads, const lm_unet_config *c, network_shape s,
                  lm_dtype compute, network_loss loss) {
    lm_error e = {0};
    memset(n, 0, sizeof *n);
    network_succeed(lm_device_open(&e, device, threads, &n->d), &e);
    n->g = lm_graph_create(compute);
    assert_non_null(n->g);
    if (loss != NETWORK_FORWARD) lm_graph_train(n->g, loss == NETWORK_TRAIN_ALL ? NULL : lm_unet_is_inflation);
    n->u = lm_unet_build(n->g, c, s.clips, s.frames, s.height, s.width, s.tokens);
    n->target = n->loss = LM_NONE;
    if (loss != NETWORK_FORWARD) {
        lm_desc d = lm_tensor_desc(n->g, n->u.v);
        n->target = lm_input_(LM_HERE(n->g), "target", d.type, d.rank, d.dim);
        n->loss = lm_mse(n->g, n->u.v, n->target);
        lm_graph_backward(n->g, n->loss);
    }
    network_succeed(lm_plan_create(&e, n->g, n->d, &n->plan), &e);
    size_t size = lm_dtype_size(real_type(n));
    network_succeed(n->d->backend->alloc(&e, n->d, (size_t)lm_graph_param_count(n->g) * size, &n->params), &e);
    network_succeed(n->d->backend->alloc(&e, n->d, (size_t)lm_graph_grad_count(n->g) * size, &n->grads), &e);
    lm_plan_bind(n->plan, n->params, n->grads);
}

void network_close(network *n) {
    lm_plan_free(&n->plan);
    lm_graph_free(&n->g);
    n->d->backend->release_memory(n->d, n->params);
    n->d->backend->release_memory(n->d, n->grads);
    lm_device_close(&n->d);
}

// Packs doubles as the type that the device wants; rounding to fp32 first, as the oracle does, in either.
static void *pack(lm_dtype type, const double *values, int64_t count, size_t *bytes) {
    *bytes = (size_t)count * lm_dtype_size(type);
    void *out = malloc(*bytes ? *bytes : 1);
    assert_non_null(out);
    for (int64_t i = 0; i < count; i++) {
        if (type == LM_F64)
            ((double *)out)[i] = (double)(float)values[i];
        else
            ((float *)out)[i] = (float)values[i];
    }
    return out;
}

static double *unpack(lm_dtype type, const void *values, int64_t count) {
    double *out = malloc((size_t)count * sizeof *out);
    assert_non_null(out);
    for (int64_t i = 0; i < count; i++)
        out[i] = type == LM_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
    return out;
}

static double birth_weight(const lm_param_info *p, int64_t i) {
    if (p->init.kind == LM_INIT_ONE) return 1;
    if (p->init.kind != LM_INIT_DIRAC) return 0;
    int64_t kernel = p->desc.dim[2], in = p->desc.dim[1]; // [O,I,k]
    return i % kernel == kernel / 2 && i / kernel % in == i / kernel / in;
}

void network_fill(network *n, bool (*keep_birth)(const lm_param_info *p)) {
    lm_error e = {0};
    lm_dtype type = real_type(n);
    double *all = calloc((size_t)lm_graph_param_count(n->g) + 1, sizeof *all);
    assert_non_null(all);
    for (int i = 0; i < lm_graph_params(n->g); i++) {
        const lm_param_info *p = lm_graph_param(n->g, i);
        bool birth = keep_birth && keep_birth(p);
        uint64_t seed = formula_name_seed(p->name);
        int64_t count = lm_desc_count(&p->desc);
        for (int64_t k = 0; k < count; k++)
            all[p->offset + k] =
                birth ? birth_weight(p, k) : formula_weight(p->name, p->desc.rank, count, p->desc.dim[0], seed, k);
    }
    size_t bytes;
    void *packed = pack(type, all, lm_graph_param_count(n->g), &bytes);
    network_succeed(n->d->backend->upload(&e, n->d, n->params, packed, bytes), &e);
    lm_plan_weights_changed(n->plan);
    free(packed);
    free(all);
}

void network_write(network *n, lm_tensor t, const double *values) {
    lm_error e = {0};
    size_t bytes;
    void *packed = pack(real_type(n), values, count_of(n, t), &bytes);
    network_succeed(lm_plan_write(&e, n->plan, t, packed, bytes), &e);
    free(packed);
}

static void write_by_name(network *n, lm_tensor t, const char *name, bool unit) {
    if (t.id < 0) return;
    int64_t count = count_of(n, t);
    uint64_t seed = formula_name_seed(name);
    double *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++) {
        double v = formula_value(seed, i);
        values[i] = unit ? (v + 1) / 2 : v;
    }
    network_write(n, t, values);
    free(values);
}

void network_write_formula(network *n, network_shape s) {
    write_by_name(n, n->u.x, "x", false);
    write_by_name(n, n->u.cond, "cond", false);
    write_by_name(n, n->u.t, "t", true);
    write_by_name(n, n->u.text, "text", false);
    write_by_name(n, n->u.noise_level, "noise_level", true);
    write_by_name(n, n->u.moment, "moment", true);
    write_by_name(n, n->target, "target", false);
    double *mask = malloc((size_t)(s.clips * s.tokens) * sizeof *mask);
    assert_non_null(mask);
    for (int64_t i = 0; i < s.clips * s.tokens; i++) mask[i] = i % s.tokens < 3 + 2 * (i / s.tokens);
    network_write(n, n->u.mask, mask);
    free(mask);
}

void network_run(network *n) {
    lm_error e = {0};
    network_succeed(lm_plan_run(&e, n->plan), &e);
}

double *network_read(network *n, lm_tensor t, int64_t *count) {
    lm_error e = {0};
    lm_desc d = lm_tensor_desc(n->g, t);
    *count = lm_desc_count(&d);
    void *raw = malloc((size_t)lm_desc_bytes(&d));
    assert_non_null(raw);
    network_succeed(lm_plan_read(&e, n->plan, t, raw, (size_t)lm_desc_bytes(&d)), &e);
    double *out = unpack(d.type, raw, *count);
    free(raw);
    return out;
}

double *network_read_grad(network *n, const lm_param_info *p) {
    lm_error e = {0};
    lm_dtype type = real_type(n);
    int64_t count = lm_desc_count(&p->desc);
    size_t size = lm_dtype_size(type);
    void *raw = malloc((size_t)count * size);
    assert_non_null(raw);
    const unsigned char *from = (const unsigned char *)n->grads + (size_t)p->grad_offset * size;
    network_succeed(n->d->backend->download(&e, n->d, raw, from, (size_t)count * size), &e);
    double *out = unpack(type, raw, count);
    free(raw);
    return out;
}
