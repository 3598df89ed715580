// The operations: their kinds, attributes, shape rules and costs. No memory, no values.
//
// Shapes. Pictures and clips are channels-last [B,T,H,W,C] (T = 1 for images); a frame is one (b,t). Text is [B,L,E],
// vectors are [B,D]. Weights have PyTorch's shapes: conv in space [O,I,k,k], in time [O,I,k], linear [O,I].
// Kinds named X_GRAD_... are parts of X's backward pass; dy is the gradient of X's output. An operand called acc is
// optional: it is added to the result, and the planner lets both share memory when it can.
#pragma once
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LM_MAX_RANK = 5, LM_MAX_INPUTS = 6, LM_MAX_OUTPUTS = 2 };

typedef enum lm_dtype { LM_F32, LM_BF16, LM_F64, LM_I32 } lm_dtype;

typedef struct lm_desc {
    lm_dtype type;
    int rank; // 0: absent
    int64_t dim[LM_MAX_RANK];
} lm_desc;

typedef enum lm_op_kind {
    LM_OP_INPUT, // written from outside before a run
    LM_OP_PARAM, // a weight
    LM_OP_VIEW,  // the same memory under another shape
    // kind                inputs -> outputs (optional ones in brackets)
    LM_OP_CAST,          // x -> y, of type attr.cast.type
    LM_OP_CONV,          // x w [b] [acc] -> y; kernel k, padding k/2, along H and W or along T
    LM_OP_CONV_GRAD_X,   // dy w [acc] -> dx, of shape attr.conv.x
    LM_OP_CONV_GRAD_W,   // x dy -> dw [db]
    LM_OP_LINEAR,        // x[...,I] w[O,I] [b] [acc] -> y[...,O]
    LM_OP_LINEAR_GRAD_X, // dy w [acc] -> dx
    LM_OP_LINEAR_GRAD_W, // x dy -> dw [db]
    LM_OP_NORM,          // x gamma beta [ss] -> y; see lm_norm_attr
    LM_OP_NORM_GRAD, // x gamma beta [ss] dy [acc] -> dx sums[units,2,C]; sums over a unit's positions of dz and dz *
                     // xhat
    LM_OP_NORM_GRAD_AFFINE,    // sums [ss] -> dgamma dbeta
    LM_OP_NORM_GRAD_SS,        // sums gamma beta -> dss, of ss's shape
    LM_OP_SILU,                // x -> y = x sigmoid(x)
    LM_OP_SILU_GRAD,           // x dy [acc] -> dx
    LM_OP_GELU,                // x -> y = x Phi(x), exact (erf)
    LM_OP_GELU_GRAD,           // x dy [acc] -> dx
    LM_OP_ADD,                 // a b -> y
    LM_OP_ADD_POSITION,        // x[B,T,...,C] p[F,C] -> y = x + p[t], F >= T
    LM_OP_ADD_POSITION_GRAD_P, // dy -> dp[F,C], rows from T on zero
    LM_OP_ATTENTION,           // qkv [text_kv] [mask] -> y; see lm_attention_attr
    LM_OP_ATTENTION_GRAD,      // qkv [text_kv] [mask] dy -> dqkv [dtext_kv]
    LM_OP_UPSAMPLE,            // x -> y, every frame, row and column repeated (nearest neighbour)
    LM_OP_UPSAMPLE_GRAD,       // dy [acc] -> dx, sums over the repeats
    LM_OP_CONCAT,              // a[...,C1] b[...,C2] -> y[...,C1+C2]
    LM_OP_SLICE,               // x[...,C] [acc] -> y[...,count], channels from attr.slice.first on; CONCAT's gradient
    LM_OP_SPACE_TO_DEPTH, // [B,T,H,W,C] -> [B,T,H/f,W/f,C f f], channel c f f + i f + j (PyTorch's pixel_unshuffle)
    LM_OP_DEPTH_TO_SPACE, // the inverse (pixel_shuffle)
    LM_OP_FOURIER,        // t[B] -> [B,width] = sin(s t f_i), cos(s t f_i), f_i = 10000^(-i / (width/2)), s = scale; no
                          // gradient
    LM_OP_MASKED_MEAN,    // x[B,L,E] mask[B,L] -> [B,E], the mean over l with mask 1 (0 if there is none)
    LM_OP_MASKED_MEAN_GRAD, // mask dy -> dx[B,L,E]
    LM_OP_EMBEDDING,        // ids[B,L] (I32) table[V,E] -> [B,L,E]
    LM_OP_EMBEDDING_GRAD,   // ids dy -> dtable
    LM_OP_MSE,              // y target -> [1] F32, the mean of (y - target)^2
    LM_OP_MSE_GRAD,         // y target -> dy = 2 (y - target) / count
    LM_OP_COUNT
} lm_op_kind;

typedef enum lm_axis { LM_SPACE, LM_TIME } lm_axis;

typedef struct lm_conv_attr {
    lm_axis axis;
    int kernel, stride; // kernel 1 or 3 (both ways in space), stride 1 or 2; y has ceil(size / stride)
    lm_desc x;          // set for the GRAD kinds: shape of x, which a stride of 2 leaves open
} lm_conv_attr;

// Normalisation over groups of channels within one unit: a frame of H*W positions when x has rank 5, a single row of C
// otherwise (groups = 1 then makes it layer normalisation). With xhat the normalised x and a scale and shift for each
// clip, ss [B,2C], or each frame, ss [B T,2C],
//     z = (xhat gamma + beta) (1 + ss[b, :C]) + ss[b, C:]        (without ss: z = xhat gamma + beta)
//     y = silu ? z sigmoid(z) : z
// (GroupNorm: Wu & He, arXiv 1803.08494; scale-shift: Nichol & Dhariwal, arXiv 2102.09672.) Variance is biased, as
// PyTorch's.
typedef struct lm_norm_attr {
    int groups;
    float eps;
    bool silu;
} lm_norm_attr;

// Scaled dot-product attention. qkv is [B,T,H,W,3C], q then k then v, heads side by side in each; scale
// 1/sqrt(C/heads). LM_SPACE: the H*W positions of each frame attend to each other and, with text_kv [B,L,2C] (k then
// v), to the clip's text tokens whose mask [B,L] is 1 (Imagen F.1). With a mask but no text_kv, the mask [B,H*W] says
// which positions may be attended to (BERT: T = H = 1, W = tokens). LM_TIME: the T frames at each position attend to
// each other.
typedef struct lm_attention_attr {
    lm_axis axis;
    int heads;
} lm_attention_attr;

typedef struct lm_fourier_attr {
    int64_t width;
    double scale;
    bool cosine_first;
} lm_fourier_attr;

typedef struct lm_op {
    lm_op_kind kind;
    union {
        struct {
            lm_dtype type;
        } cast;
        lm_conv_attr conv;
        lm_norm_attr norm;
        lm_attention_attr attention;
        struct {
            int time, space;
        } upsample;
        struct {
            int64_t first, count;
        } slice;
        struct {
            int factor;
        } shuffle; // SPACE_TO_DEPTH, DEPTH_TO_SPACE
        lm_fourier_attr fourier;
        struct {
            int64_t rows;
        } rows; // ADD_POSITION_GRAD_P: F; EMBEDDING_GRAD: V
        struct {
            int64_t clips;
        } clips; // NORM_GRAD_SS: rows of ss; units / rows frames follow each other
    } attr;
} lm_op;

const char *lm_op_name(lm_op_kind kind);
size_t lm_dtype_size(lm_dtype type);
const char *lm_dtype_name(lm_dtype type);
int64_t lm_desc_count(const lm_desc *d); // elements; 0 when absent
int64_t lm_desc_bytes(const lm_desc *d);
bool lm_desc_equal(const lm_desc *a, const lm_desc *b); // shape, not type
lm_desc lm_desc_make(lm_dtype type, int rank, const int64_t *dim);
void lm_desc_print(const lm_desc *d, char *out, size_t size); // "f32 [1,80,64,64,3]"

// Which input is acc; -1 if the kind has none.
int lm_op_acc(lm_op_kind kind);
// Whether input i may be absent, and how many inputs the kind takes.
bool lm_op_optional(lm_op_kind kind, int input);
int lm_op_inputs(lm_op_kind kind);

// Shape rule. in[0..LM_MAX_INPUTS) (rank 0 where absent) -> out[0..LM_MAX_OUTPUTS) (rank 0 where the kind has one
// output). LM_FAILED with the op's name and the shapes when they don't fit: model code is wrong then, or a weight file.
lm_status lm_op_infer(lm_error *e, const lm_op *op, const lm_desc *in, lm_desc *out);

// Nominal floating-point operations (a multiplication and an addition are two), as a direct implementation needs them.
double lm_op_flops(const lm_op *op, const lm_desc *in, const lm_desc *out);
