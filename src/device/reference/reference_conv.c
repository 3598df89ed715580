// Convolutions in space and in time, and linear layers as convolutions with one tap.
#include "device/reference/reference.h"
#include <string.h>

// One unit is what a window slides over: [B T] frames of H by W in space, B clips of T by H*W in time.
typedef struct geometry {
    int64_t units, height, width, out_height, out_width; // width is not strided and has no taps in time
    int64_t in_channels, out_channels;
    int kernel_y, kernel_x, stride_y, stride_x;
} geometry;

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static geometry make_geometry(const lm_op *op, const lm_desc *x, int64_t out_channels) {
    geometry g = {.units = 1, .in_channels = lm_reference_last(x), .out_channels = out_channels};
    g.kernel_y = g.kernel_x = g.stride_y = g.stride_x = 1;
    if (op->kind >= LM_OP_LINEAR) {
        g.height = 1;
        g.width = lm_reference_rows(x);
    } else if (op->attr.conv.axis == LM_SPACE) {
        g.units = x->dim[0] * x->dim[1];
        g.height = x->dim[2];
        g.width = x->dim[3];
        g.kernel_y = g.kernel_x = op->attr.conv.kernel;
        g.stride_y = g.stride_x = op->attr.conv.stride;
    } else {
        g.units = x->dim[0];
        g.height = x->dim[1];
        g.width = x->dim[2] * x->dim[3];
        g.kernel_y = op->attr.conv.kernel;
        g.stride_y = op->attr.conv.stride;
    }
    g.out_height = divide_up(g.height, g.stride_y);
    g.out_width = divide_up(g.width, g.stride_x);
    return g;
}

// Walks every pair of positions that a tap joins; start with tap = -1 and the rest 0.
typedef struct pair {
    int64_t unit, oy, ox;
    int tap;
    int64_t in, out; // positions in x and y
} pair;

static bool next_pair(const geometry *g, pair *p) {
    for (;;) {
        if (++p->tap == g->kernel_y * g->kernel_x) {
            p->tap = 0;
            p->out++;
            if (++p->ox == g->out_width) p->ox = 0, p->oy++;
            if (p->oy == g->out_height) p->oy = 0, p->unit++;
        }
        if (p->unit >= g->units) return false;
        int64_t y = p->oy * g->stride_y + p->tap / g->kernel_x - g->kernel_y / 2;
        int64_t x = p->ox * g->stride_x + p->tap % g->kernel_x - g->kernel_x / 2;
        p->in = (p->unit * g->height + y) * g->width + x;
        if (y >= 0 && y < g->height && x >= 0 && x < g->width) return true; // not in the padding
    }
}

// [O][I][tap] to [tap][I][O] or, outputs_first, to [tap][O][I].
static void reorder(const geometry *g, const double *w, double *out, bool outputs_first) {
    int64_t taps = g->kernel_y * g->kernel_x, ni = g->in_channels, no = g->out_channels;
    for (int64_t o = 0; o < no; o++)
        for (int64_t i = 0; i < ni; i++)
            for (int64_t t = 0; t < taps; t++)
                out[t * ni * no + (outputs_first ? o * ni + i : i * no + o)] = w[(o * ni + i) * taps + t];
}

// Room for the reordered weights or their gradient.
int64_t lm_reference_conv_scratch(const lm_op *op, const lm_io *io) {
    bool grad_w = op->kind == LM_OP_CONV_GRAD_W || op->kind == LM_OP_LINEAR_GRAD_W;
    return lm_reference_size(grad_w ? &io->out[0].desc : &io->in[1].desc);
}

// y[p] = sum over taps of w x[p at the tap] + b + acc
void lm_reference_conv(lm_reference_call *c) {
    const lm_io *io = c->io;
    geometry g = make_geometry(c->op, &io->in[0].desc, io->in[1].desc.dim[0]);
    int64_t rows = g.units * g.out_height * g.out_width, no = g.out_channels;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < no; o++)
            c->out[0][r * no + o] = (c->in[2] ? c->in[2][o] : 0) + (c->in[3] ? c->in[3][r * no + o] : 0);
    reorder(&g, c->in[1], c->scratch, false);
    for (pair p = {.tap = -1}; next_pair(&g, &p);) {
        const double *x = c->in[0] + p.in * g.in_channels, *w = c->scratch + p.tap * g.in_channels * no;
        double *y = c->out[0] + p.out * no;
        for (int64_t i = 0; i < g.in_channels; i++, w += no)
            for (int64_t o = 0; o < no; o++) y[o] += x[i] * w[o];
    }
}

void lm_reference_conv_grad_x(lm_reference_call *c) {
    const lm_io *io = c->io;
    geometry g = make_geometry(c->op, &io->out[0].desc, io->in[1].desc.dim[0]);
    if (c->in[2]) memcpy(c->out[0], c->in[2], (size_t)lm_reference_size(&io->out[0].desc) * sizeof(double));
    reorder(&g, c->in[1], c->scratch, true);
    int64_t ni = g.in_channels, no = g.out_channels;
    for (pair p = {.tap = -1}; next_pair(&g, &p);) {
        const double *dy = c->in[0] + p.out * no, *w = c->scratch + p.tap * ni * no;
        double *dx = c->out[0] + p.in * ni;
        for (int64_t o = 0; o < no; o++, w += ni)
            for (int64_t i = 0; i < ni; i++) dx[i] += dy[o] * w[i];
    }
}

static void sum_rows(const double *dy, int64_t rows, int64_t channels, double *db) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < channels; o++) db[o] += dy[r * channels + o];
}

// dw[o,i,tap] = sum over p of dy[p,o] x[p at the tap, i]; db[o] = sum over p of dy[p,o]
void lm_reference_conv_grad_w(lm_reference_call *c) {
    const lm_io *io = c->io;
    geometry g = make_geometry(c->op, &io->in[0].desc, lm_reference_last(&io->in[1].desc));
    if (c->out[1]) sum_rows(c->in[1], lm_reference_rows(&io->in[1].desc), g.out_channels, c->out[1]);
    if (!c->out[0]) return;
    int64_t ni = g.in_channels, no = g.out_channels, taps = g.kernel_y * g.kernel_x;
    memset(c->scratch, 0, (size_t)(ni * no * taps) * sizeof(double));
    for (pair p = {.tap = -1}; next_pair(&g, &p);) {
        const double *x = c->in[0] + p.in * ni, *dy = c->in[1] + p.out * no;
        double *dw = c->scratch + p.tap * ni * no;
        for (int64_t i = 0; i < ni; i++)
            for (int64_t o = 0; o < no; o++) dw[i * no + o] += x[i] * dy[o];
    }
    for (int64_t o = 0; o < no; o++)
        for (int64_t i = 0; i < ni; i++)
            for (int64_t t = 0; t < taps; t++) c->out[0][(o * ni + i) * taps + t] = c->scratch[(t * ni + i) * no + o];
}
