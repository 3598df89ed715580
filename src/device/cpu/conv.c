// Convolutions, linear layers and their gradients by x: one kernel for all of them, made of oneDNN primitives.
#include "device/cpu/conv_kernel.h"
#include "base/memory.h"
#include "base/threads.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { ARG_IN, ARG_WEIGHTS, ARG_OUT, ARG_BIAS, ARG_COUNT };

// Weights in a layout that one or more of the primitives ask for.
typedef struct packed_weights {
    dn_layout md;
    conv_layout layout;
    void *data; // NULL until it is reserved
} packed_weights;

typedef struct conv_kernel {
    cpu_kernel base;
    struct lm_pool *pool;
    const cpu_dnnl *dnnl;
    const cpu_simd *simd;
    conv_form form;
    conv_cut cut;
    int bias, acc;         // which operands they are; -1: absent
    lm_dtype type, result; // what the primitive reads, and what it writes
    bool staged;           // the primitive writes to scratch, from where the output is made
    size_t at_in, at_out;  // places in the thread's scratch, after the primitive's own
    int packs;
    packed_weights pack[CONV_VARIANTS];
    dn_primitive primitive[CONV_VARIANTS];
    int pack_of[CONV_VARIANTS]; // primitive i reads pack[pack_of[i]]
    char name[96];
} conv_kernel;

static void free_conv(cpu_kernel *base) {
    conv_kernel *k = (conv_kernel *)base;
    for (int i = 0; i < k->cut.variants; i++) lm_dn_destroy(&k->primitive[i]);
    for (int i = 0; i < k->packs; i++) {
        lm_dn_layout_free(&k->pack[i].md);
        lm_conv_layout_free(&k->pack[i].layout);
        lm_free(k->pack[i].data);
    }
    lm_conv_cut_free(&k->cut);
}

// Output channels packed by one piece.
enum { PACK_CHANNELS = 64 };

typedef struct pack_job {
    const packed_weights *to;
    const cpu_simd *simd;
    bool flipped;
    const float *weights;
} pack_job;

static lm_status pack_piece(lm_error *e, void *context, int64_t piece, int thread) {
    (void)e, (void)thread;
    const pack_job *j = context;
    const conv_layout *l = &j->to->layout;
    const int64_t first = piece * PACK_CHANNELS, rest = l->size[0] - first;
    const int64_t last = first + (rest < PACK_CHANNELS ? rest : PACK_CHANNELS);
    lm_conv_layout_pack(l, j->simd, j->flipped, j->weights, first, last, j->to->data);
    return LM_OK;
}

static lm_status pack_conv(lm_error *e, cpu_kernel *base, const lm_io *io) {
    const conv_kernel *k = (const conv_kernel *)base;
    for (int i = 0; i < k->packs; i++) {
        assert(k->pack[i].data); // reserved
        pack_job job = {&k->pack[i], k->simd, k->form.flipped, io->in[1].data};
        const int64_t pieces = (k->pack[i].layout.size[0] + PACK_CHANNELS - 1) / PACK_CHANNELS;
        LM_TRY(lm_pool_run(e, k->pool, pieces, pack_piece, &job));
    }
    return LM_OK;
}

static lm_status run_conv(const cpu_piece *p) {
    const conv_kernel *k = (const conv_kernel *)p->kernel;
    const conv_piece *piece = &k->cut.piece[p->index];
    const conv_variant *v = &k->cut.variant[piece->variant];
    const lm_operand *in = &p->io->in[0], *out = &p->io->out[0], *acc = k->acc >= 0 ? &p->io->in[k->acc] : NULL;
    const int64_t in_count = v->n * v->in * lm_conv_in_row(&k->form), count = v->n * v->out * lm_conv_out_row(&k->form);
    char *scratch = p->scratch;
    void *from = element(in, piece->in), *to = element(out, piece->out), *result = to;
    const void *add = acc ? element(acc, piece->out) : NULL;
    if (k->type != in->desc.type) {
        k->simd->convert(k->type, scratch + k->at_in, in->desc.type, from, in_count);
        from = scratch + k->at_in;
    }
    if (k->staged) result = scratch + k->at_out;
    if (add && !k->form.back && add != result) // the primitive adds to what it finds
        k->simd->convert(k->result, result, acc->desc.type, add, count);
    void *bias = k->bias >= 0 ? p->io->in[k->bias].data : NULL;
    void *data[] = {from, NULL, result, bias};
    LM_TRY(lm_dn_run(p->error, k->dnnl, &k->primitive[piece->variant], p->thread, data, scratch));
    if (add && k->form.back)
        k->simd->add(out->desc.type, to, acc->desc.type, add, k->result, result, count);
    else if (k->staged)
        k->simd->convert(out->desc.type, to, k->result, result, count);
    return LM_OK;
}

// The primitive for pieces of shape v; weights of layout md, or of oneDNN's choice when md is NULL.
static dnnl_status_t describe(const conv_kernel *k, const conv_variant *v, dn_md md, dnnl_primitive_desc_t *out) {
    const conv_form *f = &k->form;
    dn_op op;
    dnnl_status_t status = lm_conv_op_of(f, v, f->back ? DN_CONV_TRAIN : DN_CONV,
                                         (conv_types){k->type, k->result, k->type}, md, k->bias >= 0, &op);
    if (status == dnnl_success) status = lm_dn_describe(k->dnnl, &op, k->acc >= 0 && !f->back, NULL, out);
    if (status == dnnl_success && f->back) {
        dnnl_primitive_desc_t hint = *out;
        *out = NULL;
        op.kind = DN_CONV_GRAD_X;
        status = lm_dn_describe(k->dnnl, &op, false, hint, out);
        dnnl_primitive_desc_destroy(hint);
    }
    lm_dn_op_free(&op);
    return status;
}

// Chooses what the primitives compute in: bf16 where the processor and oneDNN have it, else fp32 by way of scratch.
static lm_status choose_types(lm_error *e, conv_kernel *k, cpu_level level, const lm_io *io) {
    const lm_dtype in = io->in[0].desc.type, out = io->out[0].desc.type;
    const bool added_later = k->form.back && k->acc >= 0;
    if (in == LM_BF16 && level >= CPU_AVX512_BF16) {
        k->type = LM_BF16;
        k->result = added_later ? LM_F32 : out;
        dnnl_primitive_desc_t pd = NULL;
        dnnl_status_t status = describe(k, &k->cut.variant[0], NULL, &pd);
        const bool good = status == dnnl_success && !lm_dn_is_plain(pd);
        if (pd) dnnl_primitive_desc_destroy(pd);
        if (status != dnnl_success && status != dnnl_unimplemented) return lm_dn_fail(e, status, "a convolution");
        k->staged = added_later;
        if (good) return LM_OK;
    }
    k->type = k->result = LM_F32;
    k->staged = added_later || out != LM_F32;
    return LM_OK;
}

static lm_status add_pack(lm_error *e, conv_kernel *k, dn_md md, int *index) {
    for (*index = 0; *index < k->packs; ++*index)
        if (dnnl_memory_desc_equal(dn_md_of(&k->pack[*index].md), md)) return LM_OK;
    assert(k->packs < CONV_VARIANTS);
    packed_weights *w = &k->pack[k->packs++];
    const dnnl_status_t status = lm_dn_layout_copy(&w->md, md);
    if (status != dnnl_success) return lm_dn_fail(e, status, "a weight layout");
    LM_TRY(lm_conv_layout_of(e, md, &w->layout));
    k->base.base.held += w->layout.bytes;
    return LM_OK;
}

static lm_status reserve_packs(lm_error *e, cpu_kernel *base) {
    conv_kernel *k = (conv_kernel *)base;
    for (int i = 0; i < k->packs; i++) {
        packed_weights *w = &k->pack[i];
        w->data = lm_alloc_aligned(w->layout.bytes);
        if (!w->data) return lm_fail_memory(e, (double)w->layout.bytes, "packed weights");
        memset(w->data, 0, w->layout.bytes); // padding is never written again
    }
    for (int i = 0; i < k->cut.variants; i++)
        LM_TRY(lm_dn_bind(e, &k->primitive[i], ARG_WEIGHTS, k->pack[k->pack_of[i]].data));
    return LM_OK;
}

// The weights of one packed copy, without what oneDNN pads them with, in the type that most layers pack them in.
uint64_t lm_cpu_conv_least_held(const lm_device *d, const lm_op *op, const lm_io *io) {
    switch (op->kind) {
    case LM_OP_CONV:
    case LM_OP_CONV_GRAD_X:
    case LM_OP_LINEAR:
    case LM_OP_LINEAR_GRAD_X: {
        const bool bf16 = d->fast_bf16 && io->in[0].desc.type == LM_BF16;
        return (uint64_t)lm_desc_count(&io->in[1].desc) * lm_dtype_size(bf16 ? LM_BF16 : LM_F32);
    }
    default:
        return 0;
    }
}

static lm_status prepare_variant(lm_error *e, conv_kernel *k, int i) {
    static const int forward[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST, DNNL_ARG_BIAS};
    static const int back[] = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC};
    const conv_variant *v = &k->cut.variant[i];
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = dnnl_unimplemented;
    if (i > 0) status = describe(k, v, dn_md_of(&k->pack[0].md), &pd); // rather the layout that is there than another
    if (status == dnnl_success && lm_dn_is_plain(pd)) {
        dnnl_primitive_desc_destroy(pd);
        status = dnnl_unimplemented;
    }
    if (status == dnnl_unimplemented) status = describe(k, v, NULL, &pd);
    if (status != dnnl_success) return lm_dn_fail(e, status, "a convolution");
    lm_status result = add_pack(e, k, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0), &k->pack_of[i]);
    if (result == LM_OK)
        result = lm_dn_create(e, k->dnnl, pd, k->form.back ? back : forward, k->bias >= 0 ? 4 : 3, &k->primitive[i]);
    dnnl_primitive_desc_destroy(pd);
    return result;
}

// Frames where there are enough of them; else rows, which are frames of a clip when the kernel runs along time.
static lm_status cut_conv(lm_error *e, conv_kernel *k) {
    const conv_form *f = &k->form;
    if (f->frames && (f->n >= CONV_FEW_FRAMES || f->h.out < 2 * CONV_FEW_ROWS)) {
        k->base.base.frames = f->n;
        return lm_conv_cut_whole(e, f, cpu_frames_per_piece(f->n), &k->cut);
    }
    const int64_t share = (f->n * f->h.out + CONV_PIECES - 1) / CONV_PIECES;
    if (f->frames) return lm_conv_cut_rows(e, f, share > CONV_FEW_ROWS ? share : CONV_FEW_ROWS, &k->cut);
    if (f->w.out > 1 || f->h.kernel > 1) return lm_conv_cut_rows(e, f, share, &k->cut);
    return lm_conv_cut_rows(e, f, (share + CONV_LINEAR_ROWS - 1) / CONV_LINEAR_ROWS * CONV_LINEAR_ROWS, &k->cut);
}

static lm_status prepare_primitives(lm_error *e, conv_kernel *k, cpu_level level, const lm_io *io) {
    LM_TRY(cut_conv(e, k));
    LM_TRY(choose_types(e, k, level, io));
    size_t own = 0, in = 0, out = 0;
    for (int i = 0; i < k->cut.variants; i++) {
        const conv_variant *v = &k->cut.variant[i];
        LM_TRY(prepare_variant(e, k, i));
        own = lm_greater_size(own, k->primitive[i].scratch);
        in = lm_greater_size(in, (size_t)(v->n * v->in * lm_conv_in_row(&k->form)) * sizeof(float));
        out = lm_greater_size(out, (size_t)(v->n * v->out * lm_conv_out_row(&k->form)) * sizeof(float));
    }
    const bool converts = k->type != io->in[0].desc.type;
    k->at_in = lm_align_size(own);
    k->at_out = k->at_in + (converts ? lm_align_size(in) : 0);
    k->base.thread_scratch = k->at_out + (k->staged ? lm_align_size(out) : 0);
    k->base.phases = 1;
    k->base.phase[0] = (cpu_phase){k->cut.pieces, run_conv};
    snprintf(k->name, sizeof k->name, "dnnl %s%s", k->primitive[0].impl, converts ? ", bf16 as fp32" : "");
    k->base.base.name = k->name;
    return LM_OK;
}

static lm_status prepare_conv(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io, cpu_kernel **out) {
    const bool back = op->kind == LM_OP_CONV_GRAD_X || op->kind == LM_OP_LINEAR_GRAD_X;
    conv_kernel *k = lm_alloc_zero(1, sizeof *k);
    if (!k) return lm_fail_memory(e, sizeof *k, "a convolution");
    k->pool = s->pool;
    k->dnnl = s->dnnl;
    k->simd = lm_cpu_simd_of(s->level);
    k->base.op = *op;
    k->base.reserve = reserve_packs;
    k->base.pack = pack_conv;
    k->base.free_extra = free_conv;
    k->acc = back ? 2 : 3;
    if (io->in[k->acc].desc.rank == 0) k->acc = -1;
    k->bias = !back && io->in[2].desc.rank > 0 ? 2 : -1;
    k->form = lm_conv_form_of(op, io);
    if (back) k->form = lm_conv_form_back(&k->form);
    lm_status status = prepare_primitives(e, k, s->level, io);
    if (status == LM_OK) {
        *out = &k->base;
        return LM_OK;
    }
    free_conv(&k->base);
    lm_free(k);
    return status;
}

lm_status lm_cpu_prepare_conv(lm_error *e, cpu_state *s, const lm_op *op, const lm_io *io, cpu_kernel **out) {
    *out = NULL;
    if (!lm_conv_takes(op, io)) return LM_OK;
    switch (op->kind) {
    case LM_OP_CONV:
    case LM_OP_CONV_GRAD_X:
    case LM_OP_LINEAR:
    case LM_OP_LINEAR_GRAD_X:
        return prepare_conv(e, s, op, io, out);
    case LM_OP_CONV_GRAD_W:
    case LM_OP_LINEAR_GRAD_W:
        return lm_cpu_prepare_conv_grad(e, s, op, io, out);
    default:
        return LM_OK;
    }
}
