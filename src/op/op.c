#include "op/op.h"

#include "base/arithmetic.h"

#include <stdio.h>
#include <string.h>

// One row a kind: name, number of inputs, bit i set when input i may be absent, index of acc.
static const struct kind_row {
    const char *name;
    int inputs;
    unsigned optional;
    int acc;
} kinds[LM_OP_COUNT] = {
    [LM_OP_INPUT] = {"input", 0, 0, -1},
    [LM_OP_PARAM] = {"param", 0, 0, -1},
    [LM_OP_VIEW] = {"view", 1, 0, -1},
    [LM_OP_CAST] = {"cast", 1, 0, -1},
    [LM_OP_CONV] = {"conv", 4, 1 << 2 | 1 << 3, 3},
    [LM_OP_CONV_GRAD_X] = {"conv_grad_x", 3, 1 << 2, 2},
    [LM_OP_CONV_GRAD_W] = {"conv_grad_w", 2, 0, -1},
    [LM_OP_LINEAR] = {"linear", 4, 1 << 2 | 1 << 3, 3},
    [LM_OP_LINEAR_GRAD_X] = {"linear_grad_x", 3, 1 << 2, 2},
    [LM_OP_LINEAR_GRAD_W] = {"linear_grad_w", 2, 0, -1},
    [LM_OP_NORM] = {"norm", 4, 1 << 3, -1},
    [LM_OP_NORM_GRAD] = {"norm_grad", 6, 1 << 3 | 1 << 5, 5},
    [LM_OP_NORM_GRAD_AFFINE] = {"norm_grad_affine", 2, 1 << 1, -1},
    [LM_OP_NORM_GRAD_SS] = {"norm_grad_ss", 3, 0, -1},
    [LM_OP_SILU] = {"silu", 1, 0, -1},
    [LM_OP_SILU_GRAD] = {"silu_grad", 3, 1 << 2, 2},
    [LM_OP_GELU] = {"gelu", 1, 0, -1},
    [LM_OP_GELU_GRAD] = {"gelu_grad", 3, 1 << 2, 2},
    [LM_OP_ADD] = {"add", 2, 0, -1},
    [LM_OP_ADD_POSITION] = {"add_position", 2, 0, -1},
    [LM_OP_ADD_POSITION_GRAD_P] = {"add_position_grad_p", 1, 0, -1},
    [LM_OP_ATTENTION] = {"attention", 3, 1 << 1 | 1 << 2, -1},
    [LM_OP_ATTENTION_GRAD] = {"attention_grad", 4, 1 << 1 | 1 << 2, -1},
    [LM_OP_UPSAMPLE] = {"upsample", 1, 0, -1},
    [LM_OP_UPSAMPLE_GRAD] = {"upsample_grad", 2, 1 << 1, 1},
    [LM_OP_CONCAT] = {"concat", 2, 0, -1},
    [LM_OP_SLICE] = {"slice", 2, 1 << 1, 1},
    [LM_OP_SPACE_TO_DEPTH] = {"space_to_depth", 1, 0, -1},
    [LM_OP_DEPTH_TO_SPACE] = {"depth_to_space", 1, 0, -1},
    [LM_OP_FOURIER] = {"fourier", 1, 0, -1},
    [LM_OP_MASKED_MEAN] = {"masked_mean", 2, 0, -1},
    [LM_OP_MASKED_MEAN_GRAD] = {"masked_mean_grad", 2, 0, -1},
    [LM_OP_EMBEDDING] = {"embedding", 2, 0, -1},
    [LM_OP_EMBEDDING_GRAD] = {"embedding_grad", 2, 0, -1},
    [LM_OP_MSE] = {"mse", 2, 0, -1},
    [LM_OP_MSE_GRAD] = {"mse_grad", 2, 0, -1},
};

const char *lm_op_name(lm_op_kind kind) {
    return kinds[kind].name;
}
int lm_op_acc(lm_op_kind kind) {
    return kinds[kind].acc;
}
int lm_op_inputs(lm_op_kind kind) {
    return kinds[kind].inputs;
}
bool lm_op_optional(lm_op_kind kind, int input) {
    return kinds[kind].optional >> input & 1;
}

size_t lm_dtype_size(lm_dtype type) {
    return type == LM_F64 ? 8 : type == LM_BF16 ? 2 : 4;
}

const char *lm_dtype_name(lm_dtype type) {
    static const char *const names[] = {"f32", "bf16", "f64", "i32"};
    return names[type];
}

int64_t lm_desc_count(const lm_desc *d) {
    int64_t n = d->rank > 0;
    for (int i = 0; i < d->rank; i++) n *= d->dim[i];
    return n;
}

int64_t lm_desc_bytes(const lm_desc *d) {
    return lm_desc_count(d) * (int64_t)lm_dtype_size(d->type);
}

bool lm_desc_equal(const lm_desc *a, const lm_desc *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

lm_desc lm_desc_make(lm_dtype type, int rank, const int64_t *dim) {
    lm_desc d = {type, rank, {0}};
    for (int i = 0; i < rank; i++) d.dim[i] = dim[i];
    return d;
}

void lm_desc_print(const lm_desc *d, char *out, size_t size) {
    size_t n = (size_t)snprintf(out, size, "%s [", d->rank ? lm_dtype_name(d->type) : "none");
    for (int i = 0; i < d->rank && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? "," : "", (long long)d->dim[i]);
    if (n < size) snprintf(out + n, size - n, "]");
}

static lm_desc desc1(lm_dtype t, int64_t a) {
    return lm_desc_make(t, 1, (int64_t[]){a});
}
static lm_desc desc2(lm_dtype t, int64_t a, int64_t b) {
    return lm_desc_make(t, 2, (int64_t[]){a, b});
}

static int64_t last(const lm_desc *d) {
    return d->rank ? d->dim[d->rank - 1] : 0;
}
static bool is_vector(const lm_desc *d, int64_t n) {
    return d->rank == 1 && d->dim[0] == n;
}
static bool is_matrix(const lm_desc *d, int64_t a, int64_t b) {
    return d->rank == 2 && d->dim[0] == a && d->dim[1] == b;
}
static bool absent_or_equal(const lm_desc *a, const lm_desc *b) {
    return a->rank == 0 || (lm_desc_equal(a, b) && a->type == b->type);
}
// F64 graphs keep parameters and their gradients in F64, all others in F32.
static lm_dtype param_type(lm_dtype activations) {
    return activations == LM_F64 ? LM_F64 : LM_F32;
}

// Units of a norm: frames for a clip, rows for anything else.
static int64_t norm_units(const lm_desc *x) {
    return x->rank == 5 ? x->dim[0] * x->dim[1] : lm_desc_count(x) / last(x);
}

static bool conv_weight_fits(const lm_conv_attr *a, const lm_desc *w) {
    int rank = a->axis == LM_SPACE ? 4 : 3;
    if (w->rank != rank || (a->kernel != 1 && a->kernel != 3) || (a->stride != 1 && a->stride != 2)) return false;
    for (int i = 2; i < rank; i++)
        if (w->dim[i] != a->kernel) return false;
    return true;
}

static lm_desc conv_output(const lm_conv_attr *a, const lm_desc *x, int64_t channels) {
    lm_desc y = *x;
    y.dim[4] = channels;
    if (a->axis == LM_TIME)
        y.dim[1] = lm_divide_up(x->dim[1], a->stride);
    else
        y.dim[2] = lm_divide_up(x->dim[2], a->stride), y.dim[3] = lm_divide_up(x->dim[3], a->stride);
    return y;
}

static bool infer_conv(const lm_op *op, const lm_desc *in, lm_desc *out) {
    const lm_conv_attr *a = &op->attr.conv;
    if (op->kind == LM_OP_CONV) {
        if (in[0].rank != 5 || !conv_weight_fits(a, &in[1]) || in[1].dim[1] != in[0].dim[4]) return false;
        out[0] = conv_output(a, &in[0], in[1].dim[0]);
        return (!in[2].rank || is_vector(&in[2], in[1].dim[0])) && absent_or_equal(&in[3], &out[0]);
    }
    if (a->x.rank != 5) return false;
    if (op->kind == LM_OP_CONV_GRAD_X) {
        if (!conv_weight_fits(a, &in[1]) || in[1].dim[1] != a->x.dim[4]) return false;
        lm_desc y = conv_output(a, &a->x, in[1].dim[0]);
        out[0] = a->x;
        out[0].type = in[0].type;
        return lm_desc_equal(&in[0], &y) && absent_or_equal(&in[2], &out[0]);
    }
    lm_desc y = conv_output(a, &in[0], last(&in[1]));
    if (in[0].rank != 5 || !lm_desc_equal(&in[1], &y)) return false;
    int64_t dim[4] = {y.dim[4], in[0].dim[4], a->kernel, a->kernel};
    out[0] = lm_desc_make(param_type(in[0].type), a->axis == LM_SPACE ? 4 : 3, dim);
    out[1] = desc1(out[0].type, y.dim[4]);
    return true;
}

static bool infer_linear(const lm_op *op, const lm_desc *in, lm_desc *out) {
    if (op->kind == LM_OP_LINEAR_GRAD_W) {
        int64_t n = last(&in[0]), m = last(&in[1]);
        if (!n || !m || lm_desc_count(&in[0]) / n != lm_desc_count(&in[1]) / m) return false;
        out[0] = desc2(param_type(in[0].type), m, n);
        out[1] = desc1(out[0].type, m);
        return true;
    }
    bool forward = op->kind == LM_OP_LINEAR;
    if (in[0].rank < 1 || in[1].rank != 2 || in[1].dim[forward ? 1 : 0] != last(&in[0])) return false;
    out[0] = in[0];
    out[0].dim[in[0].rank - 1] = in[1].dim[forward ? 0 : 1];
    if (!forward) return absent_or_equal(&in[2], &out[0]);
    return (!in[2].rank || is_vector(&in[2], in[1].dim[0])) && absent_or_equal(&in[3], &out[0]);
}

static bool infer_norm(const lm_op *op, const lm_desc *in, lm_desc *out) {
    if (op->kind == LM_OP_NORM_GRAD_AFFINE) {
        int64_t c = last(&in[0]);
        out[0] = out[1] = desc1(in[0].type, c);
        return in[0].rank == 3 && in[0].dim[1] == 2 && (!in[1].rank || (in[1].rank == 2 && in[1].dim[1] == 2 * c));
    }
    if (op->kind == LM_OP_NORM_GRAD_SS) {
        int64_t c = last(&in[0]), clips = op->attr.clips.clips;
        out[0] = desc2(in[0].type, clips, 2 * c);
        return in[0].rank == 3 && is_vector(&in[1], c) && is_vector(&in[2], c) && clips > 0 &&
               in[0].dim[0] % clips == 0;
    }
    int64_t c = last(&in[0]);
    const lm_norm_attr *a = &op->attr.norm;
    if (in[0].rank < 1 || a->groups < 1 || c % a->groups || !is_vector(&in[1], c) || !is_vector(&in[2], c))
        return false;
    const int64_t clips = in[0].dim[0], frames = in[0].rank == 5 ? clips * in[0].dim[1] : clips;
    if (in[3].rank && !is_matrix(&in[3], clips, 2 * c) && !is_matrix(&in[3], frames, 2 * c)) return false;
    out[0] = in[0];
    if (op->kind == LM_OP_NORM) return true;
    out[1] = lm_desc_make(param_type(in[0].type), 3, (int64_t[]){norm_units(&in[0]), 2, c});
    return lm_desc_equal(&in[4], &in[0]) && absent_or_equal(&in[5], &out[0]);
}

static bool infer_attention(const lm_op *op, const lm_desc *in, lm_desc *out) {
    const lm_attention_attr *a = &op->attr.attention;
    int64_t c = last(&in[0]) / 3, b = in[0].dim[0];
    if (in[0].rank != 5 || last(&in[0]) % 3 || a->heads < 1 || c % a->heads) return false;
    lm_desc y = in[0];
    y.dim[4] = c;
    if (a->axis == LM_TIME && (in[1].rank || in[2].rank)) return false;
    if (in[1].rank && (in[1].rank != 3 || in[1].dim[0] != b || in[1].dim[2] != 2 * c)) return false;
    int64_t keys = in[1].rank ? in[1].dim[1] : in[0].dim[2] * in[0].dim[3];
    if (in[2].rank && !is_matrix(&in[2], b, keys)) return false;
    if (op->kind == LM_OP_ATTENTION) return out[0] = y, true;
    out[0] = in[0];
    out[1] = in[1];
    return lm_desc_equal(&in[3], &y);
}

static bool infer_upsample(const lm_op *op, const lm_desc *in, lm_desc *out) {
    int t = op->attr.upsample.time, s = op->attr.upsample.space;
    if (in[0].rank != 5 || t < 1 || s < 1) return false;
    out[0] = in[0];
    if (op->kind == LM_OP_UPSAMPLE) {
        out[0].dim[1] *= t, out[0].dim[2] *= s, out[0].dim[3] *= s;
        return true;
    }
    if (in[0].dim[1] % t || in[0].dim[2] % s || in[0].dim[3] % s) return false;
    out[0].dim[1] /= t, out[0].dim[2] /= s, out[0].dim[3] /= s;
    return absent_or_equal(&in[1], &out[0]);
}

static bool infer_shuffle(const lm_op *op, const lm_desc *in, lm_desc *out) {
    int64_t f = op->attr.shuffle.factor;
    if (in[0].rank != 5 || f < 1) return false;
    out[0] = in[0];
    if (op->kind == LM_OP_SPACE_TO_DEPTH) {
        out[0].dim[2] /= f, out[0].dim[3] /= f, out[0].dim[4] *= f * f;
        return in[0].dim[2] % f == 0 && in[0].dim[3] % f == 0;
    }
    out[0].dim[2] *= f, out[0].dim[3] *= f, out[0].dim[4] /= f * f;
    return in[0].dim[4] % (f * f) == 0;
}

static bool infer_concat(const lm_desc *in, lm_desc *out) {
    if (in[0].rank < 1 || in[0].rank != in[1].rank || in[0].type != in[1].type) return false;
    for (int i = 0; i < in[0].rank - 1; i++)
        if (in[0].dim[i] != in[1].dim[i]) return false;
    out[0] = in[0];
    out[0].dim[in[0].rank - 1] += last(&in[1]);
    return true;
}

static bool infer_slice(const lm_op *op, const lm_desc *in, lm_desc *out) {
    int64_t first = op->attr.slice.first, count = op->attr.slice.count;
    if (in[0].rank < 1 || first < 0 || count < 1 || first + count > last(&in[0])) return false;
    out[0] = in[0];
    out[0].dim[in[0].rank - 1] = count;
    return absent_or_equal(&in[1], &out[0]);
}

static bool infer_text(const lm_op *op, const lm_desc *in, lm_desc *out) {
    switch (op->kind) {
    case LM_OP_FOURIER:
        out[0] = desc2(param_type(in[0].type), in[0].dim[0], op->attr.fourier.width);
        return in[0].rank == 1 && op->attr.fourier.width % 2 == 0;
    case LM_OP_MASKED_MEAN:
        out[0] = desc2(in[0].type, in[0].dim[0], in[0].dim[2]);
        return in[0].rank == 3 && is_matrix(&in[1], in[0].dim[0], in[0].dim[1]);
    case LM_OP_MASKED_MEAN_GRAD:
        out[0] = lm_desc_make(in[1].type, 3, (int64_t[]){in[0].dim[0], in[0].dim[1], in[1].dim[1]});
        return in[0].rank == 2 && in[1].rank == 2 && in[0].dim[0] == in[1].dim[0];
    case LM_OP_EMBEDDING:
        out[0] = lm_desc_make(in[1].type, 3, (int64_t[]){in[0].dim[0], in[0].dim[1], in[1].dim[1]});
        return in[0].type == LM_I32 && in[0].rank == 2 && in[1].rank == 2;
    default: // LM_OP_EMBEDDING_GRAD
        out[0] = desc2(param_type(in[1].type), op->attr.rows.rows, last(&in[1]));
        return in[0].type == LM_I32 && in[0].rank == 2 && in[1].rank == 3;
    }
}

static bool infer_elementwise(const lm_op *op, const lm_desc *in, lm_desc *out) {
    out[0] = in[0];
    switch (op->kind) {
    case LM_OP_CAST:
        return out[0].type = op->attr.cast.type, true;
    case LM_OP_SILU_GRAD:
    case LM_OP_GELU_GRAD:
        return lm_desc_equal(&in[0], &in[1]) && absent_or_equal(&in[2], &out[0]);
    case LM_OP_ADD:
        return lm_desc_equal(&in[0], &in[1]) && in[0].type == in[1].type;
    case LM_OP_ADD_POSITION:
        return in[0].rank >= 3 && in[1].rank == 2 && in[1].dim[0] >= in[0].dim[1] && in[1].dim[1] == last(&in[0]);
    case LM_OP_ADD_POSITION_GRAD_P:
        out[0] = desc2(param_type(in[0].type), op->attr.rows.rows, last(&in[0]));
        return in[0].rank >= 3 && op->attr.rows.rows >= in[0].dim[1];
    case LM_OP_MSE:
        out[0] = desc1(param_type(in[0].type), 1);
        return lm_desc_equal(&in[0], &in[1]);
    case LM_OP_MSE_GRAD:
        return lm_desc_equal(&in[0], &in[1]);
    default:
        return true;
    }
}

static bool infer(const lm_op *op, const lm_desc *in, lm_desc *out) {
    switch (op->kind) {
    case LM_OP_CONV:
    case LM_OP_CONV_GRAD_X:
    case LM_OP_CONV_GRAD_W:
        return infer_conv(op, in, out);
    case LM_OP_LINEAR:
    case LM_OP_LINEAR_GRAD_X:
    case LM_OP_LINEAR_GRAD_W:
        return infer_linear(op, in, out);
    case LM_OP_NORM:
    case LM_OP_NORM_GRAD:
    case LM_OP_NORM_GRAD_AFFINE:
    case LM_OP_NORM_GRAD_SS:
        return infer_norm(op, in, out);
    case LM_OP_ATTENTION:
    case LM_OP_ATTENTION_GRAD:
        return infer_attention(op, in, out);
    case LM_OP_UPSAMPLE:
    case LM_OP_UPSAMPLE_GRAD:
        return infer_upsample(op, in, out);
    case LM_OP_SPACE_TO_DEPTH:
    case LM_OP_DEPTH_TO_SPACE:
        return infer_shuffle(op, in, out);
    case LM_OP_CONCAT:
        return infer_concat(in, out);
    case LM_OP_SLICE:
        return infer_slice(op, in, out);
    case LM_OP_FOURIER:
    case LM_OP_MASKED_MEAN:
    case LM_OP_MASKED_MEAN_GRAD:
    case LM_OP_EMBEDDING:
    case LM_OP_EMBEDDING_GRAD:
        return infer_text(op, in, out);
    case LM_OP_INPUT:
    case LM_OP_PARAM:
    case LM_OP_VIEW:
    case LM_OP_COUNT:
        return false; // made by the graph itself
    default:
        return infer_elementwise(op, in, out);
    }
}

lm_status lm_op_infer(lm_error *e, const lm_op *op, const lm_desc *in, lm_desc *out) {
    memset(out, 0, LM_MAX_OUTPUTS * sizeof *out);
    bool ok = true;
    for (int i = 0; i < LM_MAX_INPUTS; i++) {
        if (i >= kinds[op->kind].inputs)
            ok = ok && in[i].rank == 0;
        else
            ok = ok && (in[i].rank > 0 || lm_op_optional(op->kind, i));
    }
    ok = ok && infer(op, in, out);
    for (int i = 0; i < LM_MAX_OUTPUTS && ok; i++)
        if (out[i].rank && lm_desc_count(&out[i]) <= 0) ok = false;
    if (ok) return LM_OK;
    char text[320] = "";
    for (int i = 0, n = 0; i < kinds[op->kind].inputs && n < (int)sizeof text - 80; i++) {
        char shape[80];
        lm_desc_print(&in[i], shape, sizeof shape);
        n += snprintf(text + n, sizeof text - (size_t)n, " %s", shape);
    }
    return lm_fail(e, LM_FAILED, "%s does not take these shapes:%s", lm_op_name(op->kind), text);
}

static double count(const lm_desc *d) {
    return (double)lm_desc_count(d);
}

static double attention_flops(const lm_op *op, const lm_desc *in) {
    const lm_desc *x = &in[0];
    double c = (double)last(x) / 3, frames = (double)(x->dim[0] * x->dim[1]), pixels = (double)(x->dim[2] * x->dim[3]);
    bool time = op->attr.attention.axis == LM_TIME;
    double keys = time ? (double)x->dim[1] : pixels + (in[1].rank ? (double)in[1].dim[1] : 0);
    return frames * pixels * keys * c *
           (op->kind == LM_OP_ATTENTION ? 4 : 10); // q k^T and p v; backward has five products
}

double lm_op_flops(const lm_op *op, const lm_desc *in, const lm_desc *out) {
    int k = op->attr.conv.kernel, taps = op->attr.conv.axis == LM_SPACE ? k * k : k;
    switch (op->kind) {
    case LM_OP_CONV:
        return 2 * count(&out[0]) * (double)last(&in[0]) * taps;
    case LM_OP_CONV_GRAD_X:
        return 2 * count(&in[0]) * (double)last(&out[0]) * taps;
    case LM_OP_CONV_GRAD_W:
        return 2 * count(&in[1]) * (double)last(&in[0]) * taps;
    case LM_OP_LINEAR:
        return 2 * count(&out[0]) * (double)last(&in[0]);
    case LM_OP_LINEAR_GRAD_X:
        return 2 * count(&in[0]) * (double)last(&out[0]);
    case LM_OP_LINEAR_GRAD_W:
        return 2 * count(&in[1]) * (double)last(&in[0]);
    case LM_OP_ATTENTION:
    case LM_OP_ATTENTION_GRAD:
        return attention_flops(op, in);
    case LM_OP_VIEW:
    case LM_OP_INPUT:
    case LM_OP_PARAM:
        return 0;
    case LM_OP_NORM:
    case LM_OP_NORM_GRAD:
        return 10 * count(&in[0]);
    default:
        return count(&out[0]);
    }
}
