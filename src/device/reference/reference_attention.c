// Scaled dot-product attention in space (with text) and in time; layouts beside lm_attention_attr in op.h.
#include "device/reference/reference.h"
#include <math.h>

// One unit is a set of positions that attend to each other: a frame's pixels, or the frames at one pixel.
typedef struct layout {
    int64_t units, positions, channels, heads, width;     // width: channels of a head
    int64_t units_per_clip, tokens, token_mask, key_mask; // the masks' lengths a clip, 0 without
    bool time;
    int64_t clip_frames, pixels;
} layout;

static layout make_layout(const lm_op *op, const lm_io *io) {
    const lm_desc *x = &io->in[0].desc, *text = &io->in[1].desc, *mask = &io->in[2].desc;
    layout l = {
        .channels = x->dim[4] / 3, .heads = op->attr.attention.heads, .time = op->attr.attention.axis == LM_TIME};
    l.clip_frames = x->dim[1];
    l.pixels = x->dim[2] * x->dim[3];
    l.width = l.channels / l.heads;
    l.positions = l.time ? l.clip_frames : l.pixels;
    l.units_per_clip = l.time ? l.pixels : l.clip_frames;
    l.units = x->dim[0] * l.units_per_clip;
    l.tokens = text->rank ? text->dim[1] : 0;
    l.token_mask = text->rank && mask->rank ? l.tokens : 0;
    l.key_mask = !text->rank && mask->rank ? l.positions : 0;
    return l;
}

int64_t lm_reference_attention_scratch(const lm_op *op, const lm_io *io) { // weights and their gradients, of one query
    layout l = make_layout(op, io);
    return 2 * (l.positions + l.tokens);
}

// Offset of position p of a unit among rows of positions [B,T,H*W].
static int64_t row(const layout *l, int64_t unit, int64_t p) {
    if (!l->time) return unit * l->positions + p;
    return (unit / l->pixels * l->clip_frames + p) * l->pixels + unit % l->pixels;
}

// Offset of key j of a head; that of its value is `channels` further on. Keys from `positions` on are text tokens.
static int64_t qkv_key(const layout *l, int64_t unit, int64_t head, int64_t j) {
    return row(l, unit, j) * 3 * l->channels + l->channels + head * l->width;
}
static int64_t text_key(const layout *l, int64_t unit, int64_t head, int64_t j) {
    return (unit / l->units_per_clip * l->tokens + j - l->positions) * 2 * l->channels + head * l->width;
}

static bool kept(const layout *l, const double *mask, int64_t unit, int64_t j) {
    int64_t clip = unit / l->units_per_clip;
    if (j < l->positions) return !l->key_mask || mask[clip * l->key_mask + j] > 0.5;
    return !l->token_mask || mask[clip * l->token_mask + j - l->positions] > 0.5;
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static const double *key_of(const lm_reference_call *c, const layout *l, int64_t unit, int64_t head, int64_t j) {
    return j < l->positions ? c->in[0] + qkv_key(l, unit, head, j) : c->in[1] + text_key(l, unit, head, j);
}

// The softmax weights of one query over all keys; all 0 when the mask keeps none.
static void query_weights(const lm_reference_call *c, const layout *l, int64_t unit, int64_t head, const double *q,
                          double *weights) {
    int64_t keys = l->positions + l->tokens;
    double scale = 1 / sqrt((double)l->width), top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < keys; j++) {
        bool keep = kept(l, c->in[2], unit, j);
        weights[j] = keep ? scale * dot(q, key_of(c, l, unit, head, j), l->width) : -INFINITY;
        if (weights[j] > top) top = weights[j];
    }
    for (int64_t j = 0; j < keys; j++) {
        weights[j] = weights[j] == -INFINITY ? 0 : exp(weights[j] - top);
        sum += weights[j];
    }
    for (int64_t j = 0; j < keys && sum > 0; j++) weights[j] /= sum;
}

void lm_reference_attention(lm_reference_call *c) {
    layout l = make_layout(c->op, c->io);
    for (int64_t unit = 0; unit < l.units; unit++)
        for (int64_t head = 0; head < l.heads; head++)
            for (int64_t i = 0; i < l.positions; i++) {
                const double *q = c->in[0] + row(&l, unit, i) * 3 * l.channels + head * l.width;
                double *y = c->out[0] + row(&l, unit, i) * l.channels + head * l.width;
                query_weights(c, &l, unit, head, q, c->scratch);
                for (int64_t j = 0; j < l.positions + l.tokens; j++) {
                    const double *v = key_of(c, &l, unit, head, j) + l.channels;
                    for (int64_t n = 0; n < l.width; n++) y[n] += c->scratch[j] * v[n];
                }
            }
}

// With weights p and dp[j] = dy . v[j]:  dlogit[j] = p[j] (dp[j] - sum p dp),  dv[j] += p[j] dy.
static void query_grad(lm_reference_call *c, const layout *l, int64_t unit, int64_t head, int64_t i) {
    int64_t keys = l->positions + l->tokens, q_at = row(l, unit, i) * 3 * l->channels + head * l->width;
    const double *q = c->in[0] + q_at, *dy = c->in[3] + row(l, unit, i) * l->channels + head * l->width;
    double *p = c->scratch, *dp = c->scratch + keys, mean = 0, scale = 1 / sqrt((double)l->width);
    query_weights(c, l, unit, head, q, p);
    for (int64_t j = 0; j < keys; j++) {
        dp[j] = dot(dy, key_of(c, l, unit, head, j) + l->channels, l->width);
        mean += p[j] * dp[j];
    }
    for (int64_t j = 0; j < keys; j++) {
        const double *k = key_of(c, l, unit, head, j);
        double dlogit = scale * p[j] * (dp[j] - mean), *dk = NULL;
        if (j >= l->positions)
            dk = c->out[1] ? c->out[1] + text_key(l, unit, head, j) : NULL;
        else
            dk = c->out[0] ? c->out[0] + qkv_key(l, unit, head, j) : NULL;
        for (int64_t n = 0; n < l->width; n++) {
            if (c->out[0]) c->out[0][q_at + n] += dlogit * k[n];
            if (!dk) continue;
            dk[n] += dlogit * q[n];
            dk[l->channels + n] += p[j] * dy[n];
        }
    }
}

void lm_reference_attention_grad(lm_reference_call *c) {
    layout l = make_layout(c->op, c->io);
    for (int64_t unit = 0; unit < l.units; unit++)
        for (int64_t head = 0; head < l.heads; head++)
            for (int64_t i = 0; i < l.positions; i++) query_grad(c, &l, unit, head, i);
}
