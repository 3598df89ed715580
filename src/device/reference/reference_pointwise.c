// Operations on one element at a time, the loss, and the time embedding.
#include "device/reference/reference.h"
#include <math.h>
#include <string.h>

static int64_t size_in(const lm_reference_call *c, int i) {
    return lm_reference_size(&c->io->in[i].desc);
}

void lm_reference_cast(lm_reference_call *c) {
    memcpy(c->out[0], c->in[0], (size_t)size_in(c, 0) * sizeof(double));
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
static double normal_cdf(double x) {
    return 0.5 * erfc(-x * 0.70710678118654752440);
}
static double normal_density(double x) {
    return 0.39894228040143267794 * exp(-0.5 * x * x);
}

static double silu(double x) {
    return x * sigmoid(x);
}
static double silu_slope(double x) {
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
}
static double gelu(double x) {
    return x * normal_cdf(x);
}
static double gelu_slope(double x) {
    return normal_cdf(x) + x * normal_density(x);
}

static void map(lm_reference_call *c, double (*f)(double)) {
    for (int64_t i = 0; i < size_in(c, 0); i++) c->out[0][i] = f(c->in[0][i]);
}

static void map_grad(lm_reference_call *c, double (*slope)(double)) {
    for (int64_t i = 0; i < size_in(c, 0); i++)
        c->out[0][i] = slope(c->in[0][i]) * c->in[1][i] + (c->in[2] ? c->in[2][i] : 0);
}

void lm_reference_silu(lm_reference_call *c) {
    map(c, silu);
}
void lm_reference_silu_grad(lm_reference_call *c) {
    map_grad(c, silu_slope);
}
void lm_reference_gelu(lm_reference_call *c) {
    map(c, gelu);
}
void lm_reference_gelu_grad(lm_reference_call *c) {
    map_grad(c, gelu_slope);
}

void lm_reference_add(lm_reference_call *c) {
    for (int64_t i = 0; i < size_in(c, 0); i++) c->out[0][i] = c->in[0][i] + c->in[1][i];
}

// Index into p[F,C] of element i of x[B,T,...,C].
static int64_t position_index(const lm_desc *x, int64_t i) {
    int64_t channels = lm_reference_last(x), inner = channels;
    for (int k = 2; k + 1 < x->rank; k++) inner *= x->dim[k];
    return i / inner % x->dim[1] * channels + i % channels;
}

void lm_reference_add_position(lm_reference_call *c) {
    for (int64_t i = 0; i < size_in(c, 0); i++)
        c->out[0][i] = c->in[0][i] + c->in[1][position_index(&c->io->in[0].desc, i)];
}

void lm_reference_add_position_grad_p(lm_reference_call *c) {
    for (int64_t i = 0; i < size_in(c, 0); i++) c->out[0][position_index(&c->io->in[0].desc, i)] += c->in[0][i];
}

void lm_reference_mse(lm_reference_call *c) {
    int64_t n = size_in(c, 0);
    for (int64_t i = 0; i < n; i++) {
        double d = c->in[0][i] - c->in[1][i];
        c->out[0][0] += d * d / (double)n;
    }
}

void lm_reference_mse_grad(lm_reference_call *c) {
    int64_t n = size_in(c, 0);
    for (int64_t i = 0; i < n; i++) c->out[0][i] = 2 * (c->in[0][i] - c->in[1][i]) / (double)n;
}

void lm_reference_fourier(lm_reference_call *c) {
    const lm_fourier_attr *a = &c->op->attr.fourier;
    const int64_t half = a->width / 2, sine = a->cosine_first ? half : 0, cosine = half - sine;
    for (int64_t b = 0; b < size_in(c, 0); b++)
        for (int64_t i = 0; i < half; i++) {
            double angle = a->scale * c->in[0][b] * pow(10000, -(double)i / (double)half);
            c->out[0][b * 2 * half + sine + i] = sin(angle);
            c->out[0][b * 2 * half + cosine + i] = cos(angle);
        }
}
