// Convolutions as one form, and how they are cut into pieces. Private to device/cpu.
//
// Space, time and linear layers are all convolutions of [n,h,w,ci] to [n,oh,ow,co], channels last:
//   in space    n = B T frames, h w = H W, kernel k x k
//   in time     n = B clips, h = T, w = H W, kernel k x 1
//   linear      n = B T, h w = H W, or n = w = 1, h = rows; kernel 1
// A piece is either whole n's, or a range of output rows of one n with the input rows that these need.
#pragma once
#include "device/cpu/cpu.h"

typedef struct conv_side {
    int64_t in, out; // sizes of the operand read and of the one written
    int kernel, stride;
} conv_side;

typedef struct conv_form {
    int64_t n, ci, co;
    conv_side h, w;
    bool back;    // in is the gradient of a strided convolution's output, out that of its input
    bool flipped; // the weights are another convolution's [ci,co,k,k], to be transposed and turned by 180 degrees
    bool frames;  // n are frames
} conv_form;

// Pieces of the same shape share a primitive.
typedef struct conv_variant {
    int64_t n, in, out;        // n's, and rows in each
    int64_t pad_low, pad_high; // rows of padding
} conv_variant;

typedef struct conv_piece {
    int variant;
    int64_t in, out; // first element of the operands
} conv_piece;

enum { CONV_VARIANTS = 16 };
typedef struct conv_cut {
    int64_t pieces;
    conv_piece *piece;
    int variants;
    conv_variant variant[CONV_VARIANTS];
} conv_cut;

// The form of a convolution or linear layer as its forward pass, whatever the op's direction.
conv_form lm_conv_form_of(const lm_op *op, const lm_io *io);
// The gradient by x of a form: a convolution again when the stride is 1.
conv_form lm_conv_form_back(const conv_form *f);
int64_t lm_conv_in_row(const conv_form *f); // elements of a row (one h) of the operand read
int64_t lm_conv_out_row(const conv_form *f);

// Whole n's, at most step of them a piece; or step rows of output a piece. cut is freed with lm_conv_cut_free.
lm_status lm_conv_cut_whole(lm_error *e, const conv_form *f, int64_t step, conv_cut *cut);
lm_status lm_conv_cut_rows(lm_error *e, const conv_form *f, int64_t step, conv_cut *cut);
void lm_conv_cut_free(conv_cut *cut);
