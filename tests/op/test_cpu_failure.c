// Kernels of the CPU device that fail: the run ends with the status and message of the first piece in order, whatever
// the number of threads, and leaves no value that would pass for a sign of it. The device can go on afterwards.
#include "base/random.h"
#include "device/cpu/cpu.h"
#include "devices/devices.h"
#include "refusing_dnnl.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { MOST_FLOATS = 1 << 15 };

static lm_device *open_device(int threads) {
    lm_error e = {0};
    lm_device *d = NULL;
    if (lm_device_open(&e, "cpu", threads, &d) != LM_OK) fail_msg("%s", e.text);
    return d;
}

// What oneDNN computes, in each way that leads to one of its primitives.
typedef struct layer {
    const char *name;
    lm_op_kind kind;
    int64_t x[5], out;
    lm_axis axis;
    int kernel;
    bool acc;
} layer;

static const layer layers[] = {
    {"frames", LM_OP_CONV, {1, 17, 6, 6, 8}, 8, LM_SPACE, 3, false},
    {"rows", LM_OP_CONV, {1, 1, 33, 8, 8}, 8, LM_SPACE, 3, true},
    {"time", LM_OP_CONV, {1, 40, 2, 3, 8}, 16, LM_TIME, 3, false},
    {"linear", LM_OP_LINEAR, {1, 1, 16, 16, 8}, 24, LM_SPACE, 0, true},
    {"by x", LM_OP_CONV_GRAD_X, {1, 17, 6, 6, 8}, 8, LM_SPACE, 3, true},
    {"linear by x", LM_OP_LINEAR_GRAD_X, {1, 1, 16, 16, 8}, 24, LM_SPACE, 0, false},
    {"by w", LM_OP_CONV_GRAD_W, {1, 16, 16, 8, 8}, 8, LM_SPACE, 3, false},
    {"time by w", LM_OP_CONV_GRAD_W, {1, 80, 8, 4, 8}, 8, LM_TIME, 3, false},
    {"linear by w", LM_OP_LINEAR_GRAD_W, {1, 1, 40, 32, 8}, 24, LM_SPACE, 0, false},
};
enum { LAYERS = sizeof layers / sizeof *layers };

static lm_op make_op(const layer *l, lm_dtype type, lm_io *io) {
    const bool by_x = l->kind == LM_OP_CONV_GRAD_X || l->kind == LM_OP_LINEAR_GRAD_X;
    const bool by_w = l->kind == LM_OP_CONV_GRAD_W || l->kind == LM_OP_LINEAR_GRAD_W;
    const lm_desc x = lm_desc_make(type, 5, l->x);
    const int64_t size[] = {l->out, l->x[4], l->kernel, l->kernel};
    const lm_desc w = lm_desc_make(LM_F32, !l->kernel ? 2 : l->axis == LM_TIME ? 3 : 4, size);
    lm_desc y = x;
    y.dim[4] = l->out;
    *io = (lm_io){0};
    io->in[0].desc = by_x ? y : x;
    io->in[1].desc = by_w ? y : w;
    io->out[0].desc = by_x ? x : by_w ? w : y;
    if (by_w) io->out[1].desc = lm_desc_make(LM_F32, 1, &l->out);
    if (l->acc) io->in[by_x ? 2 : 3].desc = io->out[0].desc;
    lm_op op = {.kind = l->kind};
    if (l->kernel) op.attr.conv = (lm_conv_attr){l->axis, l->kernel, 1, x};
    return op;
}

// Numbers around 1 in either type: half the bits of an fp32 number are a bf16 one.
static void fill(lm_operand *o, uint32_t item) {
    static float numbers[MOST_FLOATS];
    const int64_t n = lm_desc_count(&o->desc);
    assert_true(n <= MOST_FLOATS);
    lm_random_normal(numbers, n, 7, LM_FOR_TEST, item, 0, 0);
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &numbers[i], sizeof bits);
        if (o->desc.type == LM_F32)
            ((float *)o->data)[i] = numbers[i];
        else
            ((uint16_t *)o->data)[i] = (uint16_t)(bits >> 16);
    }
}

static bool holds_nan(const lm_operand *o) {
    for (int64_t i = 0; i < lm_desc_count(&o->desc); i++) {
        uint32_t bits = 0;
        if (o->desc.type == LM_F32)
            memcpy(&bits, (const float *)o->data + i, sizeof bits);
        else
            bits = (uint32_t)((const uint16_t *)o->data)[i] << 16;
        if ((bits & 0x7fffffffu) > 0x7f800000u) return true;
    }
    return false;
}

static int count_operands(void) {
    return LM_MAX_INPUTS + LM_MAX_OUTPUTS;
}
static lm_operand *operand(lm_io *io, int i) {
    return i < LM_MAX_INPUTS ? &io->in[i] : &io->out[i - LM_MAX_INPUTS];
}

typedef struct prepared {
    lm_device *d;
    lm_kernel *kernel;
    lm_io io;
    void *workspace;
} prepared;

static void prepare(prepared *p, int threads, const layer *l, lm_dtype type) {
    lm_error e = {0};
    p->d = open_device(threads);
    const lm_op op = make_op(l, type, &p->io);
    if (lm_kernel_create(&e, p->d, &op, &p->io, &p->kernel) != LM_OK) fail_msg("%s", e.text);
    for (int i = 0; i < count_operands(); i++) {
        lm_operand *o = operand(&p->io, i);
        const size_t bytes = (size_t)lm_desc_bytes(&o->desc);
        if (o->desc.rank) assert_int_equal(p->d->backend->alloc(&e, p->d, bytes, &o->data), LM_OK);
        if (o->desc.rank) fill(o, (uint32_t)i);
    }
    assert_int_equal(p->d->backend->alloc(&e, p->d, p->kernel->workspace + 64, &p->workspace), LM_OK);
    memset(p->workspace, 0, p->kernel->workspace + 64);
}

static void finish(prepared *p) {
    for (int i = 0; i < count_operands(); i++) p->d->backend->release_memory(p->d, operand(&p->io, i)->data);
    p->d->backend->release_memory(p->d, p->workspace);
    p->d->backend->release(p->d, p->kernel);
    lm_device_close(&p->d);
}

static lm_status run(lm_error *e, prepared *p) {
    const lm_call call = {p->kernel, &p->io};
    lm_error_clear(e);
    return p->d->backend->run(e, p->d, &call, 1, p->workspace, 1);
}

// The number of primitives that a run takes, and its output.
static long run_well(prepared *p, void *out, size_t bytes) {
    lm_error e;
    dnnl_refuse(0, 0);
    if (run(&e, p) != LM_OK) fail_msg("%s", e.text);
    memcpy(out, p->io.out[0].data, bytes);
    return atomic_load(&dnnl_runs);
}

static void refuse_layer(const layer *l, lm_dtype type, int threads) {
    static char right[MOST_FLOATS * sizeof(float)], again[MOST_FLOATS * sizeof(float)];
    prepared p;
    lm_error e;
    prepare(&p, threads, l, type);
    const size_t bytes = (size_t)lm_desc_bytes(&p.io.out[0].desc);
    const long runs = run_well(&p, right, bytes);
    assert_true(runs > 0);
    for (int i = 0; i < 3; i++) { // all of them, the first, the last
        dnnl_refuse(i == 2 ? runs : 1, i == 0 ? LONG_MAX : 1);
        if (run(&e, &p) != LM_MEMORY || e.status != LM_MEMORY)
            fail_msg("%s, %d threads: run %d ended with %d, \"%s\"", l->name, threads, i, (int)e.status, e.text);
        assert_non_null(strstr(e.text, "no memory"));
        for (int o = 0; o < LM_MAX_OUTPUTS; o++)
            if (p.io.out[o].desc.rank && holds_nan(&p.io.out[o])) fail_msg("%s: a NaN in output %d", l->name, o);
    }
    assert_int_equal(run_well(&p, again, bytes), runs);
    assert_memory_equal(right, again, bytes);
    finish(&p);
}

static void a_refusal_of_onednn_ends_the_run(void **state) {
    (void)state;
    for (int i = 0; i < LAYERS; i++)
        for (int threads = 1; threads <= 3; threads++) {
            refuse_layer(&layers[i], LM_F32, threads);
            refuse_layer(&layers[i], LM_BF16, threads);
        }
    setenv("LUMIERE_CPU", "avx2", 1); // bf16 by way of scratch in fp32
    for (int i = 0; i < LAYERS; i++) refuse_layer(&layers[i], LM_BF16, 2);
    unsetenv("LUMIERE_CPU");
}

static void what_is_not_a_shortage_is_a_failure(void **state) {
    (void)state;
    prepared p;
    lm_error e;
    prepare(&p, 2, &layers[0], LM_F32);
    dnnl_refuse(1, LONG_MAX);
    dnnl_refusal = dnnl_runtime_error;
    assert_int_equal(run(&e, &p), LM_FAILED);
    assert_non_null(strstr(e.text, "oneDNN refused"));
    dnnl_refusal = dnnl_out_of_memory;
    dnnl_refuse(0, 0);
    finish(&p);
}

// A kernel of three phases: the second fails in some pieces, the third must not be reached.
enum { PIECES = 24 };
static const bool *fails_at;
static atomic_int later;

static lm_status succeed(const cpu_piece *p) {
    (void)p;
    return LM_OK;
}
static lm_status fail_some(const cpu_piece *p) {
    if (!fails_at[p->index]) return LM_OK;
    if (p->index % 2 == 0) usleep(200); // so that a later one may fail before it
    return lm_fail(p->error, p->index % 3 ? LM_FAILED : LM_MEMORY, "piece %d", (int)p->index);
}
static lm_status count_later(const cpu_piece *p) {
    (void)p;
    atomic_fetch_add(&later, 1);
    return LM_OK;
}

static void expect_first(lm_device *d, const lm_call *calls, int count, int first) {
    lm_error e = {0};
    char text[20];
    snprintf(text, sizeof text, "piece %d", first);
    atomic_store(&later, 0);
    assert_int_equal(d->backend->run(&e, d, calls, count, NULL, 1), first % 3 ? LM_FAILED : LM_MEMORY);
    assert_string_equal(e.text, text);
}

static void the_first_piece_in_order_is_reported(void **state) {
    (void)state;
    static const int first[] = {0, 5, 6, 21, 23};
    lm_io io = {0};
    for (int threads = 1; threads <= 3; threads++) {
        lm_device *d = open_device(threads);
        for (int i = 0; i < 100; i++) {
            bool fails[PIECES] = {0};
            for (int k = first[i % 5]; k < PIECES; k += 1 + i % 3) fails[k] = true;
            fails_at = fails;
            cpu_kernel k = {.phases = 3, .phase = {{PIECES, succeed}, {PIECES, fail_some}, {PIECES, count_later}}};
            expect_first(d, &(lm_call){&k.base, &io}, 1, first[i % 5]);
            assert_int_equal(atomic_load(&later), 0); // the phase that follows
            cpu_kernel a = {.base.frames = PIECES, .phases = 1, .phase = {{PIECES, fail_some}}};
            cpu_kernel b = {.base.frames = PIECES, .phases = 1, .phase = {{PIECES, count_later}}};
            expect_first(d, (lm_call[]){{&a.base, &io}, {&b.base, &io}}, 2, first[i % 5]);
            assert_true(atomic_load(&later) >= first[i % 5]); // of a chain the pieces before it are whole
        }
        lm_device_close(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_of_onednn_ends_the_run),
        cmocka_unit_test(what_is_not_a_shortage_is_a_failure),
        cmocka_unit_test(the_first_piece_in_order_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
