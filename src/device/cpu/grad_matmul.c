// Weight gradients as matrix products: for a tap of a kernel that is one column wide, dw = dy^T x with x some rows
// further on. Faster than oneDNN's convolutions of this kind, several times so with AVX2.
#include "device/cpu/conv_grad.h"
#include "base/arithmetic.h"
#include "base/memory.h"
#include <string.h>

enum {
    POSITIONS = 1024,
    SUM_FLOATS = 1024
}; // most positions of a product; about so many floats of dy are added at once

bool lm_grad_matmul_suits(const conv_form *f) {
    return f->w.kernel == 1 && f->w.stride == 1;
}

// dy's column sums. Several rows are added as if they were one, so that short rows cost no more.
static void sum_columns(const grad_kernel *k, const void *dy, int64_t rows, float *wide, float *db) {
    const int64_t c = k->form.co, group = lm_lesser(lm_greater(SUM_FLOATS / c, 1), rows);
    const size_t size = lm_dtype_size(k->type);
    memset(wide, 0, (size_t)(group * c) * sizeof *wide);
    for (int64_t r = 0; r < rows; r += group)
        k->simd->accumulate(wide, k->type, (const char *)dy + (size_t)(r * c) * size, lm_lesser(group, rows - r) * c);
    memcpy(db, wide, (size_t)c * sizeof *db);
    for (int64_t g = 1; g < group; g++) k->simd->accumulate(db, LM_F32, wide + g * c, c);
}

static lm_status compute(const grad_kernel *k, const cpu_piece *p, void *x, void *dy, float *dw, float *db) {
    const int variant = k->cut.piece[p->index].variant;
    const size_t size = lm_dtype_size(k->type);
    const int64_t tap = k->form.co * k->form.ci;
    memset(dw, 0, (size_t)k->weights * sizeof *dw);
    for (int64_t i = k->first[variant]; i < k->first[variant + 1]; i++) {
        const grad_stretch *s = &k->stretch[i];
        void *data[] = {(char *)dy + (size_t)s->dy * size, (char *)x + (size_t)s->x * size, dw + s->tap * tap};
        LM_TRY(lm_dn_run(p->error, k->dnnl, &k->primitive[s->length], p->thread, data, p->scratch));
    }
    const conv_variant *v = &k->cut.variant[variant];
    if (k->bias) sum_columns(k, dy, v->n * v->out * k->form.w.out, (float *)((char *)p->scratch + k->at_sums), db);
    return LM_OK;
}

static dnnl_status_t describe(const grad_kernel *k, int64_t positions, dnnl_primitive_desc_t *out) {
    const int64_t o = k->form.co, i = k->form.ci;
    const dnnl_dims_t dy_size = {o, positions}, dy_stride = {1, o}, x_size = {positions, i}, x_stride = {i, 1};
    const dnnl_dims_t dw_size = {o, i}, dw_stride = {i, 1};
    dn_op op = {.kind = DN_MATMUL};
    dnnl_status_t status = lm_dn_layout_strided(&op.x, 2, dy_size, k->type, dy_stride);
    if (status == dnnl_success) status = lm_dn_layout_strided(&op.weights, 2, x_size, k->type, x_stride);
    if (status == dnnl_success) status = lm_dn_layout_strided(&op.y, 2, dw_size, LM_F32, dw_stride);
    if (status == dnnl_success) status = lm_dn_describe(k->dnnl, &op, true, NULL, out);
    lm_dn_op_free(&op);
    return status;
}

// The index of a length among the primitives', added if new; -1 when there are too many.
static int find_length(grad_kernel *k, int64_t positions) {
    for (int i = 0; i < k->primitives; i++)
        if (k->lengths[i] == positions) return i;
    if (k->primitives == GRAD_LENGTHS) return -1;
    k->lengths[k->primitives] = positions;
    return k->primitives++;
}

// Stretches of one tap within positions [a,b) of dy's row o (of several rows when the stride is 1), of clip n.
// Returns the number of stretches written to s: 0 where the tap meets padding only, -1 when there are too many lengths.
static int clip_stretch(grad_kernel *k, const conv_variant *v, int64_t n, int64_t a, int64_t b, int tap,
                        grad_stretch *s) {
    const int64_t w = k->form.w.out, stride = k->form.h.stride;
    int64_t x = a;
    if (stride == 1) {
        const int64_t shift = (tap - v->pad_low) * w;
        a = lm_greater(a, -shift);
        b = lm_lesser(b, v->in * w - shift);
        x = a + shift;
    } else {
        const int64_t row = a / w * stride + tap - v->pad_low;
        if (row < 0 || row >= v->in) return 0;
        x = row * w + a % w;
    }
    if (a >= b) return 0;
    const int length = find_length(k, b - a);
    if (length < 0) return -1;
    *s = (grad_stretch){
        .x = (n * v->in * w + x) * k->form.ci, .dy = (n * v->out * w + a) * k->form.co, .tap = tap, .length = length};
    return 1;
}

// The stretches of a variant, dy's positions being the outer loop: they stay in cache for all taps. Counts them when
// to is NULL; -1 when there are too many lengths.
static int64_t plan_variant(grad_kernel *k, const conv_variant *v, grad_stretch *to) {
    const int64_t w = k->form.w.out, run = k->form.h.stride == 1 ? v->out * w : w;
    int64_t count = 0;
    for (int64_t n = 0; n < v->n; n++)
        for (int64_t start = 0; start < v->out * w; start += run)
            for (int64_t a = 0; a < run; a += POSITIONS)
                for (int tap = 0; tap < k->form.h.kernel; tap++) {
                    grad_stretch s;
                    const int found = clip_stretch(k, v, n, start + a, start + lm_lesser(a + POSITIONS, run), tap, &s);
                    if (found < 0) return -1;
                    if (found && to) to[count] = s;
                    count += found;
                }
    return count;
}

static lm_status plan(lm_error *e, grad_kernel *k) {
    for (int i = 0; i < k->cut.variants; i++) {
        const int64_t count = plan_variant(k, &k->cut.variant[i], NULL);
        if (count < 0) return lm_fail(e, LM_FAILED, "a weight gradient fell into too many lengths");
        k->first[i + 1] = k->first[i] + count;
    }
    const int64_t total = k->first[k->cut.variants];
    k->stretch = lm_alloc((size_t)lm_greater(total, 1), sizeof *k->stretch);
    if (!k->stretch) return lm_fail_memory(e, (double)total * sizeof *k->stretch, "a weight gradient's plan");
    for (int i = 0; i < k->cut.variants; i++) plan_variant(k, &k->cut.variant[i], k->stretch + k->first[i]);
    return LM_OK;
}

// A part's dw is [k,O,I].
static lm_status tap_layout(lm_error *e, grad_kernel *k) {
    const int64_t o = k->form.co, i = k->form.ci, taps = k->form.h.kernel;
    const dnnl_dims_t size = {o, i, taps, 1}, stride = {i, 1, o * i, 1};
    dn_layout dw = {0};
    dnnl_status_t status = lm_dn_layout_strided(&dw, 4, size, LM_F32, stride);
    lm_status result =
        status == dnnl_success ? lm_conv_layout_of(e, dn_md_of(&dw), &k->layout) : lm_dn_fail(e, status, "a layout");
    lm_dn_layout_free(&dw);
    return result;
}

lm_status lm_grad_matmul_prepare(lm_error *e, grad_kernel *k, cpu_level level, bool bf16) {
    static const int args[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    LM_TRY(plan(e, k));
    LM_TRY(tap_layout(e, k));
    const int count = k->primitives;
    k->primitives = 0;
    k->type = bf16 && level >= CPU_AVX512_BF16 ? LM_BF16 : LM_F32;
    for (int i = 0; i < count; i++) {
        dnnl_primitive_desc_t pd = NULL;
        dnnl_status_t status = describe(k, k->lengths[i], &pd);
        if (i == 0 && k->type == LM_BF16 && (status == dnnl_unimplemented || lm_dn_is_plain(pd))) {
            if (pd) dnnl_primitive_desc_destroy(pd);
            k->type = LM_F32;
            status = describe(k, k->lengths[i], &pd);
        }
        if (status != dnnl_success) return lm_dn_fail(e, status, "a matrix product");
        lm_status result = lm_dn_create(e, k->dnnl, pd, args, 3, &k->primitive[i]);
        dnnl_primitive_desc_destroy(pd);
        if (result != LM_OK) return result;
        k->primitives++;
        k->at_sums = lm_greater_size(k->at_sums, lm_align_size(k->primitive[i].scratch));
    }
    k->base.thread_scratch = k->at_sums + lm_align_size((size_t)lm_greater(SUM_FLOATS, k->form.co) * sizeof(float));
    k->compute = compute;
    return LM_OK;
}
