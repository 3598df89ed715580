// Element by element kernels, the loss, and the table of all simple kernels.
#include "device/cpu/simple.h"

enum {
    ELEMENTS = 1 << 14, // a piece of an operand without frames
    ROWS = 64,
};

// The elements of a piece: whole frames, or ELEMENTS of them.
static cpu_range elements_of(const cpu_piece *p) {
    cpu_range r = cpu_units_of(p);
    if (!p->kernel->base.frames) return r;
    int64_t each = lm_desc_count(&p->io->in[0].desc) / p->kernel->base.frames;
    return (cpu_range){r.first * each, r.end * each};
}

static lm_status run_cast(const cpu_piece *p) {
    const cpu_range r = elements_of(p);
    const lm_operand *x = &p->io->in[0], *y = &p->io->out[0];
    cpu_unit_kernel_of(p)->simd->convert(y->desc.type, cpu_at(y, r.first), x->desc.type, cpu_at(x, r.first),
                                         r.end - r.first);
    return LM_OK;
}

static lm_status run_map(const cpu_piece *p, cpu_map f) {
    const cpu_range r = elements_of(p);
    const lm_operand *x = &p->io->in[0], *y = &p->io->out[0];
    f(y->desc.type, cpu_at(y, r.first), x->desc.type, cpu_at(x, r.first), r.end - r.first);
    return LM_OK;
}

static lm_status run_map_grad(const cpu_piece *p, cpu_map_grad f) {
    const cpu_range r = elements_of(p);
    const lm_operand *x = &p->io->in[0], *dy = &p->io->in[1], *acc = &p->io->in[2], *dx = &p->io->out[0];
    f(dx->desc.type, cpu_at(dx, r.first), x->desc.type, cpu_at(x, r.first), dy->desc.type, cpu_at(dy, r.first),
      acc->desc.type, acc->desc.rank ? cpu_at(acc, r.first) : NULL, r.end - r.first);
    return LM_OK;
}

static lm_status run_silu(const cpu_piece *p) {
    return run_map(p, cpu_unit_kernel_of(p)->simd->silu);
}
static lm_status run_silu_grad(const cpu_piece *p) {
    return run_map_grad(p, cpu_unit_kernel_of(p)->simd->silu_grad);
}
static lm_status run_gelu(const cpu_piece *p) {
    return run_map(p, cpu_unit_kernel_of(p)->simd->gelu);
}
static lm_status run_gelu_grad(const cpu_piece *p) {
    return run_map_grad(p, cpu_unit_kernel_of(p)->simd->gelu_grad);
}

static lm_status run_add(const cpu_piece *p) {
    const cpu_range r = elements_of(p);
    const lm_operand *a = &p->io->in[0], *b = &p->io->in[1], *y = &p->io->out[0];
    cpu_unit_kernel_of(p)->simd->add(y->desc.type, cpu_at(y, r.first), a->desc.type, cpu_at(a, r.first), b->desc.type,
                                     cpu_at(b, r.first), r.end - r.first);
    return LM_OK;
}

static lm_status run_mse_parts(const cpu_piece *p) {
    const cpu_range r = cpu_units_of(p);
    const lm_operand *y = &p->io->in[0], *target = &p->io->in[1];
    ((double *)p->shared)[p->index] = cpu_unit_kernel_of(p)->simd->squares(
        y->desc.type, cpu_at(y, r.first), target->desc.type, cpu_at(target, r.first), r.end - r.first);
    return LM_OK;
}

static lm_status run_mse_total(const cpu_piece *p) {
    double sum = 0;
    for (int64_t i = 0; i < p->kernel->phase[0].pieces; i++) sum += ((const double *)p->shared)[i];
    *(float *)p->io->out[0].data = (float)(sum / (double)cpu_unit_kernel_of(p)->units);
    return LM_OK;
}

static lm_status run_mse_grad(const cpu_piece *p) {
    const cpu_range r = elements_of(p);
    const lm_operand *y = &p->io->in[0], *target = &p->io->in[1], *dy = &p->io->out[0];
    const float factor = (float)(2.0 / (double)lm_desc_count(&y->desc));
    cpu_unit_kernel_of(p)->simd->difference(dy->desc.type, cpu_at(dy, r.first), y->desc.type, cpu_at(y, r.first),
                                            target->desc.type, cpu_at(target, r.first), factor, r.end - r.first);
    return LM_OK;
}

// What a kind's units are.
typedef enum cut {
    NOT_HERE,
    BY_ELEMENT,       // frames of out[0] when it has any, else ELEMENTS a piece
    BY_ROW,           // likewise, else ROWS rows of channels
    BY_FRAME,         // (b, t) of out[0], each on its own
    BY_FIRST,         // index of out[0]'s first dimension
    BY_ROWS_OF_FIRST, // ROWS of them
    IN_PARTS,         // MSE
} cut;

static const struct {
    cut cut;
    cpu_piece_fn run;
} kinds[LM_OP_COUNT] = {
    [LM_OP_CAST] = {BY_ELEMENT, run_cast},
    [LM_OP_SILU] = {BY_ELEMENT, run_silu},
    [LM_OP_SILU_GRAD] = {BY_ELEMENT, run_silu_grad},
    [LM_OP_GELU] = {BY_ELEMENT, run_gelu},
    [LM_OP_GELU_GRAD] = {BY_ELEMENT, run_gelu_grad},
    [LM_OP_ADD] = {BY_ELEMENT, run_add},
    [LM_OP_ADD_POSITION] = {BY_FRAME, lm_cpu_run_add_position},
    [LM_OP_ADD_POSITION_GRAD_P] = {BY_FIRST, lm_cpu_run_add_position_grad_p},
    [LM_OP_UPSAMPLE] = {BY_FRAME, lm_cpu_run_upsample},
    [LM_OP_UPSAMPLE_GRAD] = {BY_FRAME, lm_cpu_run_upsample_grad},
    [LM_OP_CONCAT] = {BY_ROW, lm_cpu_run_concat},
    [LM_OP_SLICE] = {BY_ROW, lm_cpu_run_slice},
    [LM_OP_SPACE_TO_DEPTH] = {BY_FRAME, lm_cpu_run_space_to_depth},
    [LM_OP_DEPTH_TO_SPACE] = {BY_FRAME, lm_cpu_run_depth_to_space},
    [LM_OP_FOURIER] = {BY_FIRST, lm_cpu_run_fourier},
    [LM_OP_MASKED_MEAN] = {BY_FIRST, lm_cpu_run_masked_mean},
    [LM_OP_MASKED_MEAN_GRAD] = {BY_FIRST, lm_cpu_run_masked_mean_grad},
    [LM_OP_EMBEDDING] = {BY_ROW, lm_cpu_run_embedding},
    [LM_OP_EMBEDDING_GRAD] = {BY_ROWS_OF_FIRST, lm_cpu_run_embedding_grad},
    [LM_OP_MSE] = {IN_PARTS, run_mse_parts},
    [LM_OP_MSE_GRAD] = {BY_ELEMENT, run_mse_grad},
};

static bool takes_types(const lm_op *op, const lm_io *io) {
    const bool embedding = op->kind == LM_OP_EMBEDDING || op->kind == LM_OP_EMBEDDING_GRAD;
    for (int i = 0; i < LM_MAX_INPUTS; i++) {
        const lm_desc *d = &io->in[i].desc;
        if (d->rank && (embedding && i == 0 ? d->type != LM_I32 : !cpu_is_real(d->type))) return false;
    }
    if (!io->out[0].desc.rank || !cpu_is_real(io->out[0].desc.type)) return false;
    switch (op->kind) { // these move elements as they are
    case LM_OP_CONCAT:
    case LM_OP_UPSAMPLE:
    case LM_OP_SPACE_TO_DEPTH:
    case LM_OP_DEPTH_TO_SPACE:
        return io->in[0].desc.type == io->out[0].desc.type &&
               (!io->in[1].desc.rank || io->in[1].desc.type == io->out[0].desc.type);
    default:
        return true;
    }
}

// Frames in which the kernel may run with others: (b, t) of a clip, unless it mixes frames.
static bool keeps_frames(const lm_op *op, const lm_desc *y) {
    const bool resizes = op->kind == LM_OP_UPSAMPLE || op->kind == LM_OP_UPSAMPLE_GRAD;
    return y->rank == 5 && !(resizes && op->attr.upsample.time != 1);
}

lm_status lm_cpu_prepare_simple(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io, cpu_kernel **out) {
    if (kinds[op->kind].cut == NOT_HERE || !takes_types(op, io)) return LM_OK;
    const lm_desc *y = &io->out[0].desc;
    const int64_t count = lm_desc_count(y), frames = y->rank > 1 ? y->dim[0] * y->dim[1] : 0;
    int64_t units = frames, grain = 0;
    switch (kinds[op->kind].cut) {
    case BY_ELEMENT:
        if (!keeps_frames(op, y)) units = count, grain = ELEMENTS;
        break;
    case BY_ROW:
        if (!keeps_frames(op, y)) units = count / cpu_channels(y), grain = ROWS;
        break;
    case BY_FRAME:
        if (!keeps_frames(op, y)) grain = 1;
        break;
    case BY_FIRST:
        units = y->dim[0], grain = 1;
        break;
    case BY_ROWS_OF_FIRST:
        units = y->dim[0], grain = ROWS;
        break;
    case IN_PARTS:
        units = lm_desc_count(&io->in[0].desc), grain = ELEMENTS;
        break;
    case NOT_HERE:
        break;
    }
    cpu_unit_kernel *k;
    LM_TRY(lm_cpu_unit_kernel_create(e, s, op, units, grain, kinds[op->kind].run, &k));
    if (op->kind == LM_OP_MSE) {
        k->kernel.phases = 2;
        k->kernel.phase[1] = (cpu_phase){1, run_mse_total};
        k->kernel.shared_scratch = (size_t)k->kernel.phase[0].pieces * sizeof(double);
    }
    // Rows of floats for what is summed or converted.
    const int64_t rows = op->kind == LM_OP_EMBEDDING_GRAD ? ROWS + 1 : 2;
    k->kernel.thread_scratch = (size_t)(rows * cpu_padded(cpu_channels(y))) * sizeof(float);
    *out = &k->kernel;
    return LM_OK;
}
