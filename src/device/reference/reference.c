// The reference device: plain C in double precision, one thread. Slow and simple; the others are tested against it.
#include "device/reference/reference.h"
#include "base/bf16.h"
#include "base/clock.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

typedef struct kernel {
    lm_kernel base;
    lm_op op;
    lm_io io;           // shapes of prepare
    int64_t scratch;    // doubles
    bool round_weights; // w is read as bf16
} kernel;

typedef int64_t (*scratch_fn)(const lm_op *op, const lm_io *io);
static const struct entry {
    const char *name;
    lm_reference_fn run;
    scratch_fn scratch;
} table[LM_OP_COUNT] = {
    [LM_OP_CAST] = {"reference cast", lm_reference_cast, NULL},
    [LM_OP_CONV] = {"reference conv", lm_reference_conv, lm_reference_conv_scratch},
    [LM_OP_CONV_GRAD_X] = {"reference conv_grad_x", lm_reference_conv_grad_x, lm_reference_conv_scratch},
    [LM_OP_CONV_GRAD_W] = {"reference conv_grad_w", lm_reference_conv_grad_w, lm_reference_conv_scratch},
    [LM_OP_LINEAR] = {"reference linear", lm_reference_conv, lm_reference_conv_scratch},
    [LM_OP_LINEAR_GRAD_X] = {"reference linear_grad_x", lm_reference_conv_grad_x, lm_reference_conv_scratch},
    [LM_OP_LINEAR_GRAD_W] = {"reference linear_grad_w", lm_reference_conv_grad_w, lm_reference_conv_scratch},
    [LM_OP_NORM] = {"reference norm", lm_reference_norm, lm_reference_norm_scratch},
    [LM_OP_NORM_GRAD] = {"reference norm_grad", lm_reference_norm_grad, lm_reference_norm_scratch},
    [LM_OP_NORM_GRAD_AFFINE] = {"reference norm_grad_affine", lm_reference_norm_grad_affine, NULL},
    [LM_OP_NORM_GRAD_SS] = {"reference norm_grad_ss", lm_reference_norm_grad_ss, NULL},
    [LM_OP_SILU] = {"reference silu", lm_reference_silu, NULL},
    [LM_OP_SILU_GRAD] = {"reference silu_grad", lm_reference_silu_grad, NULL},
    [LM_OP_GELU] = {"reference gelu", lm_reference_gelu, NULL},
    [LM_OP_GELU_GRAD] = {"reference gelu_grad", lm_reference_gelu_grad, NULL},
    [LM_OP_ADD] = {"reference add", lm_reference_add, NULL},
    [LM_OP_ADD_POSITION] = {"reference add_position", lm_reference_add_position, NULL},
    [LM_OP_ADD_POSITION_GRAD_P] = {"reference add_position_grad_p", lm_reference_add_position_grad_p, NULL},
    [LM_OP_ATTENTION] = {"reference attention", lm_reference_attention, lm_reference_attention_scratch},
    [LM_OP_ATTENTION_GRAD] = {"reference attention_grad", lm_reference_attention_grad, lm_reference_attention_scratch},
    [LM_OP_UPSAMPLE] = {"reference upsample", lm_reference_upsample, NULL},
    [LM_OP_UPSAMPLE_GRAD] = {"reference upsample_grad", lm_reference_upsample_grad, NULL},
    [LM_OP_CONCAT] = {"reference concat", lm_reference_concat, NULL},
    [LM_OP_SLICE] = {"reference slice", lm_reference_slice, NULL},
    [LM_OP_SPACE_TO_DEPTH] = {"reference space_to_depth", lm_reference_space_to_depth, NULL},
    [LM_OP_DEPTH_TO_SPACE] = {"reference depth_to_space", lm_reference_depth_to_space, NULL},
    [LM_OP_FOURIER] = {"reference fourier", lm_reference_fourier, NULL},
    [LM_OP_MASKED_MEAN] = {"reference masked_mean", lm_reference_masked_mean, NULL},
    [LM_OP_MASKED_MEAN_GRAD] = {"reference masked_mean_grad", lm_reference_masked_mean_grad, NULL},
    [LM_OP_EMBEDDING] = {"reference embedding", lm_reference_embedding, NULL},
    [LM_OP_EMBEDDING_GRAD] = {"reference embedding_grad", lm_reference_embedding_grad, NULL},
    [LM_OP_MSE] = {"reference mse", lm_reference_mse, NULL},
    [LM_OP_MSE_GRAD] = {"reference mse_grad", lm_reference_mse_grad, NULL},
};

static void load(double *to, const lm_operand *from, int64_t n, bool round) {
    switch (from->desc.type) {
    case LM_F32:
        for (int64_t i = 0; i < n; i++) to[i] = (double)((const float *)from->data)[i];
        break;
    case LM_BF16:
        for (int64_t i = 0; i < n; i++) to[i] = (double)lm_float_from_bf16(((const uint16_t *)from->data)[i]);
        break;
    case LM_F64:
        memcpy(to, from->data, (size_t)n * sizeof *to);
        break;
    case LM_I32:
        for (int64_t i = 0; i < n; i++) to[i] = (double)((const int32_t *)from->data)[i];
        break;
    }
    if (!round) return;
    for (int64_t i = 0; i < n; i++) to[i] = (double)lm_float_from_bf16(lm_bf16_from_float((float)to[i]));
}

static void store(const lm_operand *to, const double *from, int64_t n) {
    switch (to->desc.type) {
    case LM_F32:
        for (int64_t i = 0; i < n; i++) ((float *)to->data)[i] = (float)from[i];
        break;
    case LM_BF16:
        for (int64_t i = 0; i < n; i++) ((uint16_t *)to->data)[i] = lm_bf16_from_float((float)from[i]);
        break;
    case LM_F64:
        memcpy(to->data, from, (size_t)n * sizeof *from);
        break;
    case LM_I32:
        for (int64_t i = 0; i < n; i++) ((int32_t *)to->data)[i] = (int32_t)lrint(from[i]);
        break;
    }
}

static lm_status reference_open(lm_error *e, int threads, lm_device *d) {
    (void)e, (void)threads; // one thread whatever is asked for
    static const char summary[] = "reference: plain C in double precision, 1 thread";
    d->state = NULL;
    d->fast_bf16 = false;
    memcpy(d->summary, summary, sizeof summary);
    return LM_OK;
}

static void reference_close(lm_device *d) {
    d->state = NULL;
}

static lm_status reference_alloc(lm_error *e, lm_device *d, size_t bytes, void **out) {
    (void)d;
    *out = lm_alloc_aligned(bytes ? bytes : 64);
    return *out ? LM_OK : lm_fail_memory(e, (double)bytes, "tensors");
}

static void reference_release_memory(lm_device *d, void *p) {
    (void)d;
    lm_free(p);
}

static lm_status reference_copy(lm_error *e, lm_device *d, void *to, const void *from, size_t bytes) {
    (void)e, (void)d;
    if (bytes) memcpy(to, from, bytes);
    return LM_OK;
}

static bool reads_weight(lm_op_kind kind) { // operand 1 is the w of a matrix product
    return kind == LM_OP_CONV || kind == LM_OP_CONV_GRAD_X || kind == LM_OP_LINEAR || kind == LM_OP_LINEAR_GRAD_X;
}

static lm_status reference_prepare(lm_error *e, lm_device *d, const lm_op *op, const lm_io *io, lm_kernel **out) {
    (void)d;
    if ((unsigned)op->kind >= LM_OP_COUNT || !table[op->kind].run)
        return lm_fail(e, LM_FAILED, "the reference device has no kernel for %s; only nodes that compute have one",
                       lm_op_name(op->kind));
    kernel *k = lm_alloc_zero(1, sizeof *k);
    if (!k) return lm_fail_memory(e, sizeof *k, "a kernel");
    k->op = *op;
    k->io = *io;
    k->base.name = table[op->kind].name;
    k->round_weights = reads_weight(op->kind) && io->in[0].desc.type == LM_BF16;
    k->scratch = table[op->kind].scratch ? table[op->kind].scratch(op, io) : 0;
    int64_t doubles = k->scratch;
    for (int i = 0; i < LM_MAX_INPUTS; i++) doubles += lm_reference_size(&io->in[i].desc);
    for (int i = 0; i < LM_MAX_OUTPUTS; i++) doubles += lm_reference_size(&io->out[i].desc);
    k->base.workspace = (size_t)doubles * sizeof(double);
    *out = &k->base;
    return LM_OK;
}

static lm_status reference_reserve(lm_error *e, lm_device *d, lm_kernel *k) {
    (void)e, (void)d, (void)k;
    return LM_OK; // reads the weights where they are
}

static uint64_t reference_least_held(const lm_device *d, const lm_op *op, const lm_io *io) {
    (void)d, (void)op, (void)io;
    return 0;
}

static lm_status run_one(lm_error *e, const kernel *k, const lm_io *io, double *workspace) {
    lm_reference_call c = {.op = &k->op, .io = io, .error = e};
    for (int i = 0; i < LM_MAX_INPUTS; i++) {
        int64_t n = lm_reference_size(&io->in[i].desc);
        if (!n) continue;
        load(workspace, &io->in[i], n, i == 1 && k->round_weights);
        c.in[i] = workspace;
        workspace += n;
    }
    for (int i = 0; i < LM_MAX_OUTPUTS; i++) {
        int64_t n = lm_reference_size(&io->out[i].desc);
        if (!n) continue;
        memset(workspace, 0, (size_t)n * sizeof *workspace);
        c.out[i] = workspace;
        workspace += n;
    }
    c.scratch = workspace;
    table[k->op.kind].run(&c);
    for (int i = 0; i < LM_MAX_OUTPUTS && c.status == LM_OK; i++)
        if (c.out[i]) store(&io->out[i], c.out[i], lm_reference_size(&io->out[i].desc));
    return c.status;
}

static lm_status reference_run(lm_error *e, lm_device *d, const lm_call *calls, int count, void *workspace,
                               uint64_t weights_version) {
    (void)d, (void)weights_version; // nothing is packed
    for (int i = 0; i < count; i++) LM_TRY(run_one(e, (const kernel *)calls[i].kernel, calls[i].io, workspace));
    return LM_OK;
}

static void reference_release(lm_device *d, lm_kernel *k) {
    (void)d;
    lm_free(k);
}

static lm_status reference_squares(lm_error *e, lm_device *d, const float *x, int64_t n, double *out) {
    (void)e, (void)d;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    *out = sum;
    return LM_OK;
}

// In floats and in PyTorch's order of operations: decay, m by linear interpolation, v, then w.
static lm_status reference_adamw(lm_error *e, lm_device *d, const lm_adamw *p, float *w, const float *g, float *m,
                                 float *v, float *average, int64_t n) {
    (void)e, (void)d;
    double correction1 = 1 - pow((double)p->beta1, (double)p->step);
    double correction2 = 1 - pow((double)p->beta2, (double)p->step);
    float keep = (float)(1 - (double)p->rate * (double)p->decay);
    float step = (float)((double)p->rate / correction1), root = (float)sqrt(correction2);
    for (int64_t i = 0; i < n; i++) {
        float gi = g[i] * p->clip, wi = w[i] * keep;
        m[i] += (1 - p->beta1) * (gi - m[i]);
        v[i] = v[i] * p->beta2 + (1 - p->beta2) * gi * gi;
        w[i] = wi - step * (m[i] / (sqrtf(v[i]) / root + p->eps));
        if (average) average[i] += (1 - p->average) * (w[i] - average[i]);
    }
    return LM_OK;
}

// Doubles, as in every kernel here.
static lm_status reference_peak(lm_error *e, lm_device *d, lm_dtype type, double *out, lm_dtype *of) {
    (void)e, (void)d, (void)type;
    enum { ROUNDS = 1 << 15, LANES = 64 };
    volatile double sink;
    double a[LANES] = {0};
    *out = 0;
    *of = LM_F64;
    for (int repeat = 0; repeat < 20; repeat++) {
        const double start = lm_seconds();
        for (int round = 0; round < ROUNDS; round++)
            for (int i = 0; i < LANES; i++) a[i] = a[i] * 0.999 + 0.001;
        *out = fmax(*out, 2.0 * LANES * ROUNDS / (lm_seconds() - start));
    }
    for (int i = 0; i < LANES; i++) sink = a[i];
    (void)sink;
    return LM_OK;
}

const lm_backend lm_reference_backend = {
    .name = "reference",
    .open = reference_open,
    .close = reference_close,
    .alloc = reference_alloc,
    .release_memory = reference_release_memory,
    .upload = reference_copy,
    .download = reference_copy,
    .prepare = reference_prepare,
    .reserve = reference_reserve,
    .least_held = reference_least_held,
    .run = reference_run,
    .release = reference_release,
    .squares = reference_squares,
    .adamw = reference_adamw,
    .muon_prepare = lm_reference_muon_prepare,
    .muon = lm_reference_muon,
    .muon_release = lm_reference_muon_release,
    .peak = reference_peak,
};
