// Convolutions and linear layers on the CPU device, in shapes that reach each way of cutting them into pieces: frames
// and a rest, rows of few frames, ranges of a clip's frames, rows of a linear layer, one and several parts of a weight
// gradient. Against the reference device; the parity test covers many small shapes against PyTorch.
#include "base/memory.h"
#include "base/random.h"
#include "devices/devices.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { ACC_NONE, ACC_APART, ACC_SHARED, ACC_WAYS };

typedef struct shape {
    int rank;
    int64_t x[LM_MAX_RANK]; // of the layer's input
    int64_t out;            // channels of its output
    lm_axis axis;
    int kernel, stride; // 0: linear
} shape;

static const shape shapes[] = {
    {5, {1, 1, 1, 1, 3}, 5, LM_SPACE, 3, 1},     // one pixel
    {5, {1, 1, 9, 7, 4}, 32, LM_SPACE, 3, 1},    // one frame, too few rows to cut
    {5, {1, 1, 37, 21, 7}, 19, LM_SPACE, 3, 1},  // rows of one frame, channels not divisible by 8
    {5, {1, 1, 33, 16, 32}, 48, LM_SPACE, 3, 2}, // the same with a stride
    {5, {1, 2, 20, 20, 16}, 24, LM_SPACE, 1, 1}, // 1x1
    {5, {1, 2, 17, 19, 12}, 8, LM_SPACE, 1, 2},  // 1x1 with a stride
    {5, {2, 17, 6, 6, 32}, 3, LM_SPACE, 3, 1},   // 34 frames in pieces of 2
    {5, {3, 23, 5, 7, 33}, 20, LM_SPACE, 3, 2},  // 69 frames in pieces of 3, odd sizes
    {5, {5, 7, 4, 4, 96}, 64, LM_SPACE, 3, 1},   // 35 frames: a rest of 1
    {5, {1, 1, 3, 5, 16}, 16, LM_TIME, 3, 1},    // one frame
    {5, {1, 2, 3, 3, 40}, 16, LM_TIME, 3, 2},    // two
    {5, {1, 80, 2, 3, 16}, 32, LM_TIME, 3, 1},   // ranges of 3 and a rest of 2
    {5, {1, 41, 2, 3, 17}, 9, LM_TIME, 3, 1},    // ranges of 2 and a rest of 1
    {5, {1, 81, 3, 2, 16}, 16, LM_TIME, 3, 2},   // odd number of frames, with a stride
    {5, {2, 80, 2, 2, 32}, 32, LM_TIME, 3, 2},   // even
    {5, {37, 3, 2, 2, 16}, 16, LM_TIME, 3, 1},   // more clips than pieces
    {5, {2, 40, 7, 5, 24}, 24, LM_TIME, 1, 1},   // kernel 1
    {5, {2, 9, 7, 5, 24}, 24, LM_TIME, 1, 2},    // and a stride
    {5, {1, 80, 3, 3, 40}, 120, LM_SPACE, 0, 0}, // linear over frames
    {5, {1, 1, 16, 16, 32}, 96, LM_SPACE, 0, 0}, // linear over one frame
    {3, {5, 77, 50}, 34, LM_SPACE, 0, 0},        // rows
    {3, {8, 129, 64}, 128, LM_SPACE, 0, 0},      // more rows than fit in 32 pieces of 32
    {2, {1, 13}, 29, LM_SPACE, 0, 0},            // one row
    {2, {6, 512}, 256, LM_SPACE, 0, 0},          // few rows
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static lm_device *open_device(const char *name, int threads) {
    lm_device *d = NULL;
    lm_error e = {0};
    if (lm_device_open(&e, name, threads, &d) != LM_OK) print_error("%s\n", e.text);
    assert_non_null(d);
    return d;
}

static uint16_t to_bf16(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static float value_at(const lm_operand *o, int64_t i) {
    if (o->desc.type == LM_F32) return ((const float *)o->data)[i];
    uint32_t u = (uint32_t)((const uint16_t *)o->data)[i] << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static void fill(lm_operand *o, uint32_t item) {
    if (o->desc.rank == 0) return;
    const int64_t n = lm_desc_count(&o->desc);
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    lm_random_normal(x, n, 7, LM_FOR_TEST, item, 0, 0);
    for (int64_t i = 0; i < n; i++) {
        if (o->desc.type == LM_F32)
            ((float *)o->data)[i] = x[i];
        else
            ((uint16_t *)o->data)[i] = to_bf16(x[i]);
    }
    free(x);
}

// The op's descriptors. direction: 0 forward, 1 gradient by x, 2 by weights.
static lm_op make_op(const shape *s, int direction, lm_dtype type, bool bias, bool acc, lm_io *io) {
    static const lm_op_kind conv[] = {LM_OP_CONV, LM_OP_CONV_GRAD_X, LM_OP_CONV_GRAD_W};
    static const lm_op_kind linear[] = {LM_OP_LINEAR, LM_OP_LINEAR_GRAD_X, LM_OP_LINEAR_GRAD_W};
    lm_desc x = lm_desc_make(type, s->rank, s->x), y = x;
    const int64_t k = s->kernel, in = x.dim[x.rank - 1];
    y.dim[y.rank - 1] = s->out;
    for (int i = 1; k && i < 4; i++)
        if ((s->axis == LM_TIME) == (i == 1)) y.dim[i] = (x.dim[i] + s->stride - 1) / s->stride;
    lm_desc w = lm_desc_make(LM_F32, !k ? 2 : s->axis == LM_TIME ? 3 : 4, (int64_t[]){s->out, in, k, k});
    lm_desc b = lm_desc_make(LM_F32, 1, &s->out);
    *io = (lm_io){0};
    io->in[0].desc = direction == 1 ? y : x;
    io->in[1].desc = direction == 2 ? y : w;
    io->out[0].desc = direction == 0 ? y : direction == 1 ? x : w;
    if (bias && direction == 0) io->in[2].desc = b;
    if (bias && direction == 2) io->out[1].desc = b;
    if (acc && direction < 2) io->in[direction == 0 ? 3 : 2].desc = io->out[0].desc;
    lm_op op = {.kind = k ? conv[direction] : linear[direction]};
    if (k) op.attr.conv = (lm_conv_attr){s->axis, s->kernel, s->stride, x};
    return op;
}

static void allocate(lm_device *d, lm_operand *o) {
    if (o->desc.rank) assert_int_equal(d->backend->alloc(NULL, d, (size_t)lm_desc_bytes(&o->desc), &o->data), LM_OK);
}

// Runs one case; the outputs stay in io, whose memory release gives back.
static void run(lm_device *d, const lm_op *op, lm_io *io, bool shared_acc) {
    lm_error e = {0};
    lm_kernel *k = NULL;
    if (lm_kernel_create(&e, d, op, io, &k) != LM_OK) fail_msg("%s", e.text);
    const int acc = lm_op_acc(op->kind);
    for (int i = 0; i < LM_MAX_OUTPUTS; i++) {
        allocate(d, &io->out[i]);
        if (io->out[i].desc.rank) memset(io->out[i].data, 0xff, (size_t)lm_desc_bytes(&io->out[i].desc));
    }
    for (int i = 0; i < LM_MAX_INPUTS; i++) {
        if (shared_acc && i == acc)
            io->in[i].data = io->out[0].data;
        else
            allocate(d, &io->in[i]);
        fill(&io->in[i], (uint32_t)i);
    }
    void *workspace = NULL;
    assert_int_equal(d->backend->alloc(&e, d, k->workspace + 64, &workspace), LM_OK);
    memset(workspace, 0xff, k->workspace);
    lm_call call = {k, io};
    if (d->backend->run(&e, d, &call, 1, workspace, 1) != LM_OK) fail_msg("%s", e.text);
    d->backend->release_memory(d, workspace);
    d->backend->release(d, k);
}

static void release(lm_device *d, lm_io *io) {
    for (int i = 0; i < LM_MAX_INPUTS; i++)
        if (io->in[i].data != io->out[0].data) d->backend->release_memory(d, io->in[i].data);
    for (int i = 0; i < LM_MAX_OUTPUTS; i++) d->backend->release_memory(d, io->out[i].data);
}

static double error_of(const lm_operand *y, const lm_operand *right) {
    double wrong = 0, squares = 1e-30;
    for (int64_t i = 0, n = lm_desc_count(&y->desc); i < n; i++) {
        const double a = value_at(y, i), b = value_at(right, i);
        wrong += (a - b) * (a - b);
        squares += b * b;
    }
    return wrong / squares;
}

static void against_reference(lm_dtype type, double tolerance) {
    lm_device *cpu = open_device("cpu", 2), *reference = open_device("reference", 1);
    for (int i = 0; i < SHAPES * 3 * ACC_WAYS; i++) {
        const shape *s = &shapes[i / 3 / ACC_WAYS];
        const int direction = i / ACC_WAYS % 3, way = i % ACC_WAYS;
        if (direction == 2 && way == ACC_SHARED) continue; // no acc: only with and without a bias
        lm_io a, b;
        lm_op op = make_op(s, direction, type, way != ACC_APART, way != ACC_NONE, &a);
        b = a;
        run(cpu, &op, &a, way == ACC_SHARED);
        run(reference, &op, &b, false);
        for (int o = 0; o < LM_MAX_OUTPUTS; o++) {
            const double error = error_of(&a.out[o], &b.out[o]);
            if (!(error <= tolerance))
                fail_msg("shape %d, direction %d, acc %d: error %.2e", i / 3 / ACC_WAYS, direction, way, error);
        }
        release(cpu, &a);
        release(reference, &b);
    }
    lm_device_close(&cpu);
    lm_device_close(&reference);
}

static void same_bits(lm_dtype type) {
    lm_device *device[] = {open_device("cpu", 1), open_device("cpu", 2), open_device("cpu", 3)};
    for (int i = 0; i < SHAPES * 3; i++) {
        lm_io io[3];
        for (int d = 0; d < 3; d++) {
            lm_op op = make_op(&shapes[i / 3], i % 3, type, true, true, &io[d]);
            run(device[d], &op, &io[d], false);
            for (int o = 0; o < LM_MAX_OUTPUTS && io[d].out[o].desc.rank; o++)
                assert_memory_equal(io[0].out[o].data, io[d].out[o].data, (size_t)lm_desc_bytes(&io[d].out[o].desc));
        }
        for (int d = 0; d < 3; d++) release(device[d], &io[d]);
    }
    for (int d = 0; d < 3; d++) lm_device_close(&device[d]);
}

static void test_f32(void **state) {
    (void)state;
    against_reference(LM_F32, 1e-10);
}

static void test_bf16(void **state) {
    (void)state;
    against_reference(LM_BF16, 5e-5);
}

// As on a processor without bf16 arithmetic: fp32 by way of scratch.
static void test_bf16_converted(void **state) {
    (void)state;
    assert_int_equal(setenv("LUMIERE_CPU", "avx2", 1), 0);
    against_reference(LM_BF16, 5e-5);
    same_bits(LM_BF16);
    unsetenv("LUMIERE_CPU");
}

static void test_thread_count_changes_no_bit(void **state) {
    (void)state;
    same_bits(LM_F32);
    same_bits(LM_BF16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_bf16_converted),
        cmocka_unit_test(test_thread_count_changes_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
