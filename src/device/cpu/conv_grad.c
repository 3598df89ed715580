// Gradients of convolutions and linear layers by their weights and biases.
//
// 1. Parts of the positions, their number depending on shapes alone, each sum up a gradient of their own.
// 2. The parts' gradients are added in order. 3. The sum goes from oneDNN's layout to [O,I,k,k].
#include "device/cpu/conv_grad.h"
#include "base/memory.h"
#include <stdio.h>
#include <string.h>

enum { SUM_BLOCK = 16384, UNPACK_CHANNELS = 16 }; // floats, and output channels, in a piece of phases 2 and 3
// Most parts, most bytes of all of them, fewest positions in each; below FEW_POSITIONS there is one part.
enum { PARTS = 16, PART_BYTES = 32 << 20, PART_POSITIONS = 512, FEW_POSITIONS = 128 };

static void free_grad(cpu_kernel *base) {
    grad_kernel *k = (grad_kernel *)base;
    for (int i = 0; i < k->primitives; i++) lm_dn_destroy(&k->primitive[i]);
    lm_free(k->stretch);
    lm_conv_layout_free(&k->layout);
    lm_conv_cut_free(&k->cut);
}

static lm_status run_part(const cpu_piece *p) {
    const grad_kernel *k = (const grad_kernel *)p->kernel;
    const conv_piece *piece = &k->cut.piece[p->index];
    const conv_variant *v = &k->cut.variant[piece->variant];
    const lm_operand *x = &p->io->in[0], *dy = &p->io->in[1];
    char *scratch = p->scratch;
    void *from_x = element(x, piece->in), *from_dy = element(dy, piece->out);
    if (k->type != x->desc.type) {
        k->simd->convert(k->type, scratch + k->at_x, x->desc.type, from_x, v->n * v->in * lm_conv_in_row(&k->form));
        from_x = scratch + k->at_x;
    }
    if (k->type != dy->desc.type) {
        k->simd->convert(k->type, scratch + k->at_dy, dy->desc.type, from_dy,
                         v->n * v->out * lm_conv_out_row(&k->form));
        from_dy = scratch + k->at_dy;
    }
    float *dw = (float *)p->shared + p->index * k->stride, *db = dw + k->weights;
    return k->compute(k, p, from_x, from_dy, dw, db);
}

static lm_status run_sum(const cpu_piece *p) {
    const grad_kernel *k = (const grad_kernel *)p->kernel;
    const int64_t first = p->index * SUM_BLOCK, rest = k->stride - first;
    float *sum = (float *)p->shared + first;
    for (int64_t i = 1; i < k->cut.pieces; i++)
        k->simd->accumulate(sum, LM_F32, sum + i * k->stride, rest < SUM_BLOCK ? rest : SUM_BLOCK);
    return LM_OK;
}

static lm_status run_unpack(const cpu_piece *p) {
    const grad_kernel *k = (const grad_kernel *)p->kernel;
    const int64_t first = p->index * UNPACK_CHANNELS, last = first + UNPACK_CHANNELS;
    const int64_t end = last < k->form.co ? last : k->form.co;
    lm_conv_layout_unpack(&k->layout, k->simd, p->shared, first, end, p->io->out[0].data);
    if (k->bias)
        memcpy((float *)p->io->out[1].data + first, (const float *)p->shared + k->weights + first,
               (size_t)(end - first) * sizeof(float));
    return LM_OK;
}

// How many parts: enough for the threads there may be, but each with work enough to be worth its addition.
static int64_t count_parts(const conv_form *f) {
    const int64_t bytes = f->ci * f->co * f->h.kernel * f->w.kernel * (int64_t)sizeof(float);
    const int64_t positions = f->n * f->h.out * f->w.out;
    int64_t parts = PART_BYTES / bytes;
    if (parts > positions / PART_POSITIONS) parts = positions / PART_POSITIONS;
    const int64_t least = positions < FEW_POSITIONS ? 1 : 2;
    return parts < least ? least : parts > PARTS ? PARTS : parts;
}

static lm_status cut_parts(lm_error *e, grad_kernel *k) {
    const conv_form *f = &k->form;
    const int64_t parts = count_parts(f);
    if (f->n >= parts) return lm_conv_cut_whole(e, f, (f->n + parts - 1) / parts, &k->cut);
    const int64_t ranges = parts / f->n;
    return lm_conv_cut_rows(e, f, (f->h.out + ranges - 1) / ranges, &k->cut);
}

// Positions of a kernel of size 1 need not be told apart.
static void flatten(conv_form *f) {
    if (f->h.kernel > 1 || f->h.stride > 1 || f->w.kernel > 1 || f->w.stride > 1) return;
    f->h.in = f->h.out = f->n * f->h.out * f->w.out;
    f->n = f->w.in = f->w.out = 1;
}

static lm_status prepare_parts(lm_error *e, grad_kernel *k, cpu_level level, const lm_io *io) {
    const lm_dtype x_type = io->in[0].desc.type, dy_type = io->in[1].desc.type;
    const bool bf16 = x_type == LM_BF16 && dy_type == LM_BF16;
    flatten(&k->form);
    LM_TRY(cut_parts(e, k));
    LM_TRY((lm_grad_matmul_suits(&k->form) ? lm_grad_matmul_prepare : lm_grad_conv_prepare)(e, k, level, bf16));
    size_t x = 0, dy = 0;
    for (int i = 0; i < k->cut.variants; i++) {
        const conv_variant *v = &k->cut.variant[i];
        x = lm_greater_size(x, (size_t)(v->n * v->in * lm_conv_in_row(&k->form)) * sizeof(float));
        dy = lm_greater_size(dy, (size_t)(v->n * v->out * lm_conv_out_row(&k->form)) * sizeof(float));
    }
    k->at_x = lm_align_size(k->base.thread_scratch);
    k->at_dy = k->at_x + (k->type != x_type ? lm_align_size(x) : 0);
    k->base.thread_scratch = k->at_dy + (k->type != dy_type ? lm_align_size(dy) : 0);
    k->weights = (int64_t)(lm_align_size(k->layout.bytes) / sizeof(float));
    k->stride = k->weights + (int64_t)(lm_align_size(k->bias ? (size_t)k->form.co * sizeof(float) : 0) / sizeof(float));
    k->base.shared_scratch = (size_t)(k->cut.pieces * k->stride) * sizeof(float);
    k->base.phases = 3;
    k->base.phase[0] = (cpu_phase){k->cut.pieces, run_part};
    k->base.phase[1] = (cpu_phase){(k->stride + SUM_BLOCK - 1) / SUM_BLOCK, run_sum};
    k->base.phase[2] = (cpu_phase){(k->form.co + UNPACK_CHANNELS - 1) / UNPACK_CHANNELS, run_unpack};
    snprintf(k->name, sizeof k->name, "dnnl %s%s", k->primitive[0].impl, k->type != x_type ? ", bf16 as fp32" : "");
    k->base.base.name = k->name;
    return LM_OK;
}

lm_status lm_cpu_prepare_conv_grad(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io, cpu_kernel **out) {
    grad_kernel *k = lm_alloc_zero(1, sizeof *k);
    if (!k) return lm_fail_memory(e, sizeof *k, "a weight gradient");
    k->dnnl = s->dnnl;
    k->simd = lm_cpu_simd_of(s->level);
    k->base.op = *op;
    k->base.free_extra = free_grad;
    k->form = lm_conv_form_of(op, io);
    k->bias = io->out[1].desc.rank > 0;
    lm_status status = prepare_parts(e, k, s->level, io);
    if (status == LM_OK) {
        *out = &k->base;
        return LM_OK;
    }
    free_grad(&k->base);
    lm_free(k);
    return status;
}
