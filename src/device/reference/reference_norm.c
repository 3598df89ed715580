// Group and layer normalisation with scale-shift and SiLU; formulas beside lm_norm_attr in op.h.
#include "device/reference/reference.h"
#include <math.h>
#include <string.h>

typedef struct layout {
    int64_t units, positions, channels, groups, width; // width: channels of a group
    int64_t units_per_clip;
} layout;

static layout make_layout(const lm_op *op, const lm_desc *x, const lm_desc *ss) {
    layout l = {.channels = lm_reference_last(x), .groups = op->attr.norm.groups};
    l.positions = x->rank == LM_MAX_RANK ? x->dim[2] * x->dim[3] : 1;
    l.units = lm_reference_rows(x) / l.positions;
    l.width = l.channels / l.groups;
    l.units_per_clip = l.units / (ss->rank ? ss->dim[0] : 1);
    return l;
}

int64_t lm_reference_norm_scratch(const lm_op *op, const lm_io *io) {
    const lm_desc *x = &io->in[0].desc;
    int64_t moments = 2 * lm_reference_last(x);
    if (op->kind == LM_OP_NORM) return moments;
    return 2 * moments + lm_reference_size(x) / make_layout(op, x, &io->in[3].desc).units;
}

// Mean and 1 / standard deviation of each channel's group in one unit, into moments[C] and moments[C..2C).
static void group_moments(const layout *l, const double *x, double eps, double *moments) {
    double count = (double)(l->positions * l->width);
    for (int64_t first = 0; first < l->channels; first += l->width) {
        double mean = 0, variance = 0;
        for (int64_t p = 0; p < l->positions; p++)
            for (int64_t c = first; c < first + l->width; c++) mean += x[p * l->channels + c];
        mean /= count;
        for (int64_t p = 0; p < l->positions; p++)
            for (int64_t c = first; c < first + l->width; c++) {
                double d = x[p * l->channels + c] - mean;
                variance += d * d;
            }
        for (int64_t c = first; c < first + l->width; c++) {
            moments[c] = mean;
            moments[l->channels + c] = 1 / sqrt(variance / count + eps);
        }
    }
}

static double sigmoid(double z) {
    return 1 / (1 + exp(-z));
}

void lm_reference_norm(lm_reference_call *c) {
    layout l = make_layout(c->op, &c->io->in[0].desc, &c->io->in[3].desc);
    const double *gamma = c->in[1], *beta = c->in[2];
    double *mean = c->scratch, *factor = mean + l.channels;
    for (int64_t u = 0; u < l.units; u++) {
        const double *x = c->in[0] + u * l.positions * l.channels;
        const double *scale = c->in[3] ? c->in[3] + u / l.units_per_clip * 2 * l.channels : NULL;
        double *y = c->out[0] + u * l.positions * l.channels;
        group_moments(&l, x, (double)c->op->attr.norm.eps, c->scratch);
        for (int64_t i = 0; i < l.positions * l.channels; i++) {
            int64_t ch = i % l.channels;
            double z = (x[i] - mean[ch]) * factor[ch] * gamma[ch] + beta[ch];
            if (scale) z = z * (1 + scale[ch]) + scale[l.channels + ch];
            y[i] = c->op->attr.norm.silu ? z * sigmoid(z) : z;
        }
    }
}

// The gradient of z, kept in dz, and its sums over positions in sums[2][C].
static void unit_dz(lm_reference_call *c, const layout *l, const double *x, const double *dy, const double *scale,
                    double *dz, double *sums) {
    const double *gamma = c->in[1], *beta = c->in[2], *mean = c->scratch, *factor = mean + l->channels;
    for (int64_t i = 0; i < l->positions * l->channels; i++) {
        int64_t ch = i % l->channels;
        double xhat = (x[i] - mean[ch]) * factor[ch], d = dy[i];
        if (c->op->attr.norm.silu) {
            double z = xhat * gamma[ch] + beta[ch];
            if (scale) z = z * (1 + scale[ch]) + scale[l->channels + ch];
            double s = sigmoid(z);
            d *= s * (1 + z * (1 - s));
        }
        dz[i] = d;
        sums[ch] += d;
        sums[l->channels + ch] += d * xhat;
    }
}

// dx = (g - mean(g) - xhat mean(g xhat)) / deviation over each group, g = dz (1 + scale) gamma. The means come from
// sums.
static void unit_dx(lm_reference_call *c, const layout *l, const double *x, const double *scale, const double *sums,
                    double *dx) {
    const double *gamma = c->in[1], *mean = c->scratch, *factor = mean + l->channels;
    double count = (double)(l->positions * l->width);
    for (int64_t first = 0; first < l->channels; first += l->width) {
        double g_mean = 0, gx_mean = 0;
        for (int64_t ch = first; ch < first + l->width; ch++) {
            double weight = gamma[ch] * (scale ? 1 + scale[ch] : 1);
            g_mean += weight * sums[ch] / count;
            gx_mean += weight * sums[l->channels + ch] / count;
        }
        for (int64_t p = 0; p < l->positions; p++)
            for (int64_t ch = first; ch < first + l->width; ch++) {
                int64_t i = p * l->channels + ch;
                double g = dx[i] * gamma[ch] * (scale ? 1 + scale[ch] : 1);
                dx[i] = factor[ch] * (g - g_mean - (x[i] - mean[ch]) * factor[ch] * gx_mean);
            }
    }
}

// Scratch: moments[2][C], the unit's sums[2][C], its dx.
void lm_reference_norm_grad(lm_reference_call *c) {
    layout l = make_layout(c->op, &c->io->in[0].desc, &c->io->in[3].desc);
    int64_t size = l.positions * l.channels;
    double *sums = c->scratch + 2 * l.channels, *dx = sums + 2 * l.channels;
    for (int64_t u = 0; u < l.units; u++) {
        const double *x = c->in[0] + u * size, *dy = c->in[4] + u * size;
        const double *scale = c->in[3] ? c->in[3] + u / l.units_per_clip * 2 * l.channels : NULL;
        group_moments(&l, x, (double)c->op->attr.norm.eps, c->scratch);
        memset(sums, 0, (size_t)(2 * l.channels) * sizeof *sums);
        unit_dz(c, &l, x, dy, scale, dx, sums);
        unit_dx(c, &l, x, scale, sums, dx);
        if (c->out[1]) memcpy(c->out[1] + u * 2 * l.channels, sums, (size_t)(2 * l.channels) * sizeof *sums);
        if (!c->out[0]) continue;
        for (int64_t i = 0; i < size; i++) c->out[0][u * size + i] = dx[i] + (c->in[5] ? c->in[5][u * size + i] : 0);
    }
}

// dgamma = sum over units of (1 + scale) sums[1], dbeta of (1 + scale) sums[0]
void lm_reference_norm_grad_affine(lm_reference_call *c) {
    const lm_desc *sums = &c->io->in[0].desc, *ss = &c->io->in[1].desc;
    int64_t units = sums->dim[0], channels = sums->dim[2], per_clip = units / (ss->rank ? ss->dim[0] : 1);
    for (int64_t u = 0; u < units; u++) {
        const double *s = c->in[0] + u * 2 * channels;
        const double *scale = c->in[1] ? c->in[1] + u / per_clip * 2 * channels : NULL;
        for (int64_t ch = 0; ch < channels; ch++) {
            double weight = scale ? 1 + scale[ch] : 1;
            if (c->out[0]) c->out[0][ch] += weight * s[channels + ch];
            if (c->out[1]) c->out[1][ch] += weight * s[ch];
        }
    }
}

// dscale = sum over the clip's units of gamma sums[1] + beta sums[0], dshift of sums[0]
void lm_reference_norm_grad_ss(lm_reference_call *c) {
    const lm_desc *sums = &c->io->in[0].desc;
    int64_t units = sums->dim[0], channels = sums->dim[2], per_clip = units / c->op->attr.clips.clips;
    for (int64_t u = 0; u < units; u++) {
        const double *s = c->in[0] + u * 2 * channels;
        double *dss = c->out[0] + u / per_clip * 2 * channels;
        for (int64_t ch = 0; ch < channels; ch++) {
            dss[ch] += c->in[1][ch] * s[channels + ch] + c->in[2][ch] * s[ch];
            dss[channels + ch] += s[ch];
        }
    }
}
