#include "net/families/unet.h"

#include <string.h>

// What the blocks share.
typedef struct unet_context {
    lm_graph *g;
    const lm_unet_config *c;
    lm_tensor embed;                      // [B,D] after SiLU: time + pooled text (+ noise level)
    lm_tensor image_embed[LM_MAX_LEVELS]; // the image layers': the same, or [B T,D] with each frame's moment
    lm_tensor text, mask;                 // [B,L,E], [B,L]
    int64_t frames;                       // T of the full clip
} unet_context;

// ---- layers: parameters by PyTorch's names and births ----

static lm_init fan_in(int64_t n) {
    return (lm_init){LM_INIT_FAN_IN, (float)n};
}
static const lm_init born_zero = {LM_INIT_ZERO, 0}, born_one = {LM_INIT_ONE, 0}, born_dirac = {LM_INIT_DIRAC, 0};

// 2-D convolution k x k over each frame, + acc. x [B,T,H,W,in] -> [B,T,H/stride,W/stride,out].
static lm_tensor conv2d(lm_graph *g, lm_unet_group group, const char *name, lm_tensor x, int out, int k, int stride,
                        bool zero, bool bias, lm_tensor acc) {
    int64_t in = lm_tensor_desc(g, x).dim[4];
    lm_scope_push(g, "%s", name);
    lm_tensor w = lm_param(g, "weight", zero ? born_zero : fan_in(in * k * k), out, in, k, k);
    lm_param_group(g, w, group, 1);
    lm_tensor b = bias ? lm_param(g, "bias", zero ? born_zero : fan_in(in * k * k), out) : LM_NONE;
    lm_tensor y = lm_conv(g, x, w, b, acc, LM_SPACE, stride);
    lm_scope_pop(g);
    return y;
}

// 1-D convolution of 3 frames at every pixel. x [B,T,H,W,C] -> [B,T/stride,H,W,C].
static lm_tensor conv1d(lm_graph *g, const char *name, lm_tensor x, int stride, bool dirac) {
    int64_t c = lm_tensor_desc(g, x).dim[4];
    lm_scope_push(g, "%s", name);
    lm_tensor w = lm_param(g, "weight", dirac ? born_dirac : fan_in(3 * c), c, c, 3);
    lm_param_group(g, w, LM_UNET_TEMPORAL, 1);
    lm_tensor b = lm_param(g, "bias", dirac ? born_zero : fan_in(3 * c), c);
    lm_tensor y = lm_conv(g, x, w, b, LM_NONE, LM_TIME, stride);
    lm_scope_pop(g);
    return y;
}

// parts: matrices that stand one above the other in its weight.
static lm_tensor linear(lm_graph *g, lm_unet_group group, const char *name, lm_tensor x, int parts, int out, bool zero,
                        lm_tensor acc) {
    lm_desc d = lm_tensor_desc(g, x);
    int64_t in = d.rank ? d.dim[d.rank - 1] : 1;
    lm_scope_push(g, "%s", name);
    lm_tensor w = lm_param(g, "weight", zero ? born_zero : fan_in(in), parts * out, in);
    lm_param_group(g, w, group, parts);
    lm_tensor b = lm_param(g, "bias", zero ? born_zero : fan_in(in), parts * out);
    lm_tensor y = lm_linear(g, x, w, b, acc);
    lm_scope_pop(g);
    return y;
}

static lm_tensor norm(const unet_context *u, const char *name, lm_tensor x, int groups, lm_tensor ss, bool silu) {
    lm_graph *g = u->g;
    lm_desc d = lm_tensor_desc(g, x);
    int64_t c = d.rank ? d.dim[d.rank - 1] : 1;
    lm_scope_push(g, "%s", name);
    lm_tensor gamma = lm_param(g, "weight", born_one, c), beta = lm_param(g, "bias", born_zero, c);
    lm_tensor y =
        lm_norm(g, x, gamma, beta, ss, (lm_norm_attr){.groups = groups, .eps = (float)u->c->norm_eps, .silu = silu});
    lm_scope_pop(g);
    return y;
}

static lm_tensor group_norm(const unet_context *u, const char *name, lm_tensor x, bool silu) {
    return norm(u, name, x, u->c->groups, LM_NONE, silu);
}

static int heads(const unet_context *u, int c) {
    return c > u->c->head_dim ? c / u->c->head_dim : 1;
}

// ---- the image model's blocks ----

static lm_tensor res_block(const unet_context *u, lm_tensor x, int level) {
    const int out = u->c->channels[level];
    lm_graph *g = u->g;
    lm_tensor h =
        conv2d(g, LM_UNET_CONVOLUTIONS, "conv1", group_norm(u, "norm1", x, true), out, 3, 1, false, true, LM_NONE);
    lm_tensor ss = linear(g, LM_UNET_CONDITIONS, "embed", u->image_embed[level], 2, out, false, LM_NONE);
    h = norm(u, "norm2", h, u->c->groups, ss, true);
    bool same = lm_tensor_desc(g, x).dim[4] == out;
    lm_tensor skip = same ? x : conv2d(g, LM_UNET_PROJECTIONS, "skip", x, out, 1, 1, false, true, LM_NONE);
    return conv2d(g, LM_UNET_CONVOLUTIONS, "conv2", h, out, 3, 1, true, true, skip);
}

// Self-attention over pixels; text keys and values are appended to the pixels' (Imagen F.1).
static lm_tensor attention_block(const unet_context *u, lm_tensor x, int c) {
    lm_graph *g = u->g;
    lm_tensor qkv = linear(g, LM_UNET_ATTENTION, "qkv", group_norm(u, "norm", x, false), 3, c, false, LM_NONE);
    lm_tensor text = lm_cast(g, norm(u, "text_norm", u->text, 1, LM_NONE, false), lm_graph_compute(g));
    lm_tensor text_kv = linear(g, LM_UNET_ATTENTION, "text_kv", text, 2, c, false, LM_NONE);
    lm_tensor y = lm_attention(g, qkv, text_kv, u->mask, (lm_attention_attr){LM_SPACE, heads(u, c)});
    return linear(g, LM_UNET_ATTENTION, "out", y, 1, c, true, x);
}

// ---- what inflation adds ----

// (2+1)D residual block (Lumiere fig. 4b): 2D conv, norm, act, temporal conv, norm, act, zero-born projection.
static lm_tensor conv_inflation(const unet_context *u, lm_tensor x, int c) {
    lm_graph *g = u->g;
    lm_scope_push(g, "conv");
    lm_tensor h = conv2d(g, LM_UNET_CONVOLUTIONS, "space", x, c, 3, 1, false, true, LM_NONE);
    h = conv1d(g, "time", group_norm(u, "norm1", h, true), 1, false);
    lm_tensor ss = linear(g, LM_UNET_CONDITIONS, "embed", u->embed, 2, c, false, LM_NONE);
    h = norm(u, "norm2", h, u->c->groups, ss, true);
    h = linear(g, LM_UNET_PROJECTIONS, "out", h, 1, c, true, x);
    lm_scope_pop(g);
    return h;
}

// Attention along time at every pixel of the coarsest level, with learned frame positions (Lumiere fig. 4c).
static lm_tensor temporal_attention(const unet_context *u, lm_tensor x, int c, int64_t max_frames) {
    lm_graph *g = u->g;
    lm_tensor position = lm_param(g, "position", ((lm_init){LM_INIT_NORMAL, 0.02f}), max_frames, c);
    lm_param_group(g, position, LM_UNET_POSITIONS, 1);
    lm_tensor h = lm_add_position(g, group_norm(u, "norm", x, false), position);
    lm_tensor qkv = linear(g, LM_UNET_ATTENTION, "qkv", h, 3, c, false, LM_NONE);
    lm_tensor y = lm_attention(g, qkv, LM_NONE, LM_NONE, (lm_attention_attr){LM_TIME, heads(u, c)});
    return linear(g, LM_UNET_ATTENTION, "out", y, 1, c, true, x);
}

// Frames at level i of a clip of max_frames.
static int64_t level_frames(const lm_unet_config *c, int level) {
    int64_t t = c->max_frames;
    for (int i = 0; i < level; i++)
        if (c->temporal_down[i]) t = (t + 1) / 2;
    return t;
}

static lm_tensor temporal(const unet_context *u, lm_tensor x, int level) {
    lm_graph *g = u->g;
    const lm_unet_config *c = u->c;
    lm_scope_push(g, "temporal");
    if (level < c->levels - 1) {
        x = conv_inflation(u, x, c->channels[level]);
    } else {
        for (int k = 0; k < c->temporal_attention_blocks; k++) {
            lm_scope_push(g, "attention.%d", k);
            x = temporal_attention(u, x, c->channels[level], level_frames(c, level));
            lm_scope_pop(g);
        }
    }
    lm_scope_pop(g);
    return x;
}

// Identity-born temporal conv, then every second frame; and every frame twice, then an identity-born temporal conv:
// nearest-neighbour resampling at birth.
static lm_tensor temporal_down(lm_graph *g, lm_tensor x) {
    lm_scope_push(g, "temporal_resize");
    x = conv1d(g, "conv", x, 2, true);
    lm_scope_pop(g);
    return x;
}

static lm_tensor temporal_up(lm_graph *g, lm_tensor x) {
    lm_scope_push(g, "temporal_resize");
    x = conv1d(g, "conv", lm_upsample(g, x, 2, 1), 1, true);
    lm_scope_pop(g);
    return x;
}

// ---- the network ----

static lm_tensor level_block(const unet_context *u, lm_tensor x, int level, int j) {
    lm_graph *g = u->g;
    lm_scope_push(g, "res.%d", j);
    x = res_block(u, x, level);
    lm_scope_pop(g);
    if (!u->c->attention[level]) return x;
    lm_scope_push(g, "attn.%d", j);
    x = attention_block(u, x, u->c->channels[level]);
    lm_scope_pop(g);
    return x;
}

enum { MAX_RES_BLOCKS = 8 };

typedef struct skip_stack {
    lm_tensor at[LM_MAX_LEVELS * MAX_RES_BLOCKS];
    int count;
} skip_stack;

static lm_tensor down_level(const unet_context *u, lm_tensor h, int i, skip_stack *skips) {
    lm_graph *g = u->g;
    const lm_unet_config *c = u->c;
    lm_scope_push(g, "down.%d", i);
    for (int j = 0; j < c->res_blocks; j++) {
        h = level_block(u, h, i, j);
        if (j + 1 < c->res_blocks) skips->at[skips->count++] = h;
    }
    if (c->video) h = temporal(u, h, i);
    skips->at[skips->count++] = h;
    if (i + 1 < c->levels) {
        h = conv2d(g, LM_UNET_CONVOLUTIONS, "resize", h, c->channels[i + 1], 3, 2, false, true, LM_NONE);
        if (c->video && c->temporal_down[i]) h = temporal_down(g, h);
    }
    lm_scope_pop(g);
    return h;
}

static lm_tensor up_level(const unet_context *u, lm_tensor h, int i, skip_stack *skips) {
    lm_graph *g = u->g;
    const lm_unet_config *c = u->c;
    lm_scope_push(g, "up.%d", c->levels - 1 - i);
    for (int j = 0; j < c->res_blocks; j++) h = level_block(u, lm_concat(g, h, skips->at[--skips->count]), i, j);
    if (c->video) h = temporal(u, h, i);
    if (i > 0) {
        h = conv2d(g, LM_UNET_CONVOLUTIONS, "resize", lm_upsample(g, h, 1, 2), c->channels[i - 1], 3, 1, false, true,
                   LM_NONE);
        if (c->video && c->temporal_down[i - 1]) h = temporal_up(g, h);
    }
    lm_scope_pop(g);
    return h;
}

// Two linear layers with SiLU between, of a scalar's Fourier features; + acc. scalar [N] -> [N,D]
static lm_tensor scalar_mlp(const unet_context *u, const char *name, lm_tensor scalar, bool zero, lm_tensor acc) {
    lm_graph *g = u->g;
    const int width = u->c->embed_width;
    const lm_fourier_attr attr = {.width = u->c->channels[0] * 4, .scale = u->c->fourier_scale};
    lm_scope_push(g, "%s", name);
    lm_tensor h = linear(g, LM_UNET_CONDITIONS, "0", lm_fourier(g, scalar, attr), 1, width, false, LM_NONE);
    h = linear(g, LM_UNET_CONDITIONS, "2", lm_silu(g, h), 1, width, zero, acc);
    lm_scope_pop(g);
    return h;
}

static lm_tensor embedding(const unet_context *u, const lm_unet *n) {
    lm_graph *g = u->g;
    lm_scope_push(g, "text_pool");
    lm_tensor pooled = norm(u, "0", lm_masked_mean(g, n->text, n->mask), 1, LM_NONE, false);
    lm_tensor e = linear(g, LM_UNET_CONDITIONS, "1", pooled, 1, u->c->embed_width, false, LM_NONE);
    lm_scope_pop(g);
    e = scalar_mlp(u, "time_mlp", n->t, false, e);
    return u->c->noise_level_cond ? scalar_mlp(u, "noise_mlp", n->noise_level, false, e) : e;
}

// e [B,D] with the moments [B,T] of a level's frames -> [B T / every,D] after SiLU. Halving time keeps every second
// frame.
static lm_tensor moment_embedding(const unet_context *u, lm_tensor e, lm_tensor moments, int64_t every) {
    lm_graph *g = u->g;
    const lm_desc d = lm_tensor_desc(g, moments);
    const int64_t b = d.dim[0], t = d.dim[1] / every, width = u->c->embed_width;
    if (every > 1) moments = lm_slice(g, lm_view(g, moments, b * t, every), 0, 1);
    if (t > 1) e = lm_view(g, lm_upsample(g, lm_view(g, e, b, 1, 1, 1, width), (int)t, 1), b * t, width);
    return lm_silu(g, scalar_mlp(u, "moment_mlp", lm_view(g, moments, b * t), true, e));
}

static void embed(unet_context *u, const lm_unet *n) {
    const lm_unet_config *c = u->c;
    lm_tensor e = embedding(u, n);
    u->embed = lm_silu(u->g, e);
    int64_t every = 1;
    for (int i = 0; i < c->levels; i++) {
        u->image_embed[i] = c->moment_cond ? moment_embedding(u, e, n->moment, every) : u->embed;
        if (c->video && i + 1 < c->levels && c->temporal_down[i]) every *= 2;
    }
}

static void make_inputs(lm_graph *g, const lm_unet_config *c, int64_t b, int64_t t, int64_t h, int64_t w,
                        int64_t tokens, lm_unet *n) {
    lm_dtype real = lm_graph_compute(g) == LM_F64 ? LM_F64 : LM_F32;
    n->x = lm_input(g, "x", real, b, t, h, w, c->in_channels);
    n->cond = c->cond_channels ? lm_input(g, "cond", real, b, t, h, w, c->cond_channels) : LM_NONE;
    n->t = lm_input(g, "t", real, b);
    n->text = lm_input(g, "text", real, b, tokens, c->text_width);
    n->mask = lm_input(g, "mask", real, b, tokens);
    n->noise_level = c->noise_level_cond ? lm_input(g, "noise_level", real, b) : LM_NONE;
    n->moment = c->moment_cond ? lm_input(g, "moment", real, b, t) : LM_NONE;
}

lm_unet lm_unet_build(lm_graph *g, const lm_unet_config *c, int64_t clips, int64_t frames, int64_t height,
                      int64_t width, int64_t tokens) {
    lm_unet n = {LM_NONE, LM_NONE, LM_NONE, LM_NONE, LM_NONE, LM_NONE, LM_NONE, LM_NONE};
    int size = lm_unet_size_multiple(c), time = lm_unet_frame_multiple(c);
    if (height % size || width % size || frames % time || frames < 1 || (c->video && frames > c->max_frames)) {
        lm_graph_fail(g,
                      "%lld frames of %lldx%lld: sides must be multiples of %d, frames a multiple of %d and at most %d",
                      (long long)frames, (long long)width, (long long)height, size, time, c->max_frames);
        return n;
    }
    make_inputs(g, c, clips, frames, height, width, tokens, &n);
    lm_dtype compute = lm_graph_compute(g);
    unet_context u = {.g = g, .c = c, .text = n.text, .mask = n.mask, .frames = frames};
    embed(&u, &n);

    lm_tensor h = lm_cast(g, lm_space_to_depth(g, n.x, c->patch), compute);
    h = conv2d(g, LM_UNET_ENDS, "conv_in", h, c->channels[0], 3, 1, false, true, LM_NONE);
    if (c->cond_channels) {
        lm_tensor cond = lm_cast(g, lm_space_to_depth(g, n.cond, c->patch), compute);
        h = conv2d(g, LM_UNET_ENDS, "cond_in", cond, c->channels[0], 3, 1, true, false, h);
    }
    skip_stack skips = {.count = 0};
    for (int i = 0; i < c->levels; i++) h = down_level(&u, h, i, &skips);
    for (int i = c->levels - 1; i >= 0; i--) h = up_level(&u, h, i, &skips);

    h = group_norm(&u, "norm_out", h, true);
    h = conv2d(g, LM_UNET_ENDS, "conv_out", h, c->out_channels * c->patch * c->patch, 3, 1, true, true, LM_NONE);
    n.v = lm_depth_to_space(g, lm_cast(g, h, compute == LM_F64 ? LM_F64 : LM_F32), c->patch);
    lm_output(g, n.v);
    return n;
}

lm_unet_group_info lm_unet_group_describe(lm_unet_group group) {
    static const lm_unet_group_info groups[LM_UNET_GROUPS] = {
        [LM_UNET_VECTORS] = {"vectors", "norms and biases", false, false},
        [LM_UNET_ENDS] = {"ends", "first and last layer", true, false},
        [LM_UNET_CONVOLUTIONS] = {"convolutions", "3x3 convolutions", true, true},
        [LM_UNET_ATTENTION] = {"attention", "matrices of attention", true, true},
        [LM_UNET_CONDITIONS] = {"conditions", "matrices of time, moment, noise level and pooled text", true, true},
        [LM_UNET_PROJECTIONS] = {"projections", "1x1 convolutions", true, false},
        [LM_UNET_TEMPORAL] = {"temporal", "convolutions over time", true, false},
        [LM_UNET_POSITIONS] = {"positions", "positions of frames", false, false},
    };
    return groups[group];
}

bool lm_unet_is_inflation(const char *name) {
    return strstr(name, "temporal") || !strncmp(name, "cond_in", 7);
}

bool lm_unet_is_moment(const char *name) {
    return !strncmp(name, "moment_mlp", 10);
}

// ---- the family ----

static lm_status unet_read(lm_error *e, const char *path, void *config) {
    return lm_unet_config_read(e, path, config);
}

static lm_net_shape unet_least(const void *config) {
    const lm_unet_config *c = config;
    const int side = lm_unet_size_multiple(c);
    return (lm_net_shape){1, lm_unet_frame_multiple(c), side, side, c->text_tokens};
}

static void unet_build(lm_graph *g, const void *config, const lm_net_shape *s, lm_ports *out) {
    const lm_unet n = lm_unet_build(g, config, s->batch, s->frames, s->height, s->width, s->tokens);
    const lm_port in[] = {{"x", n.x},          {"cond", n.cond}, {"t", n.t},
                          {"text", n.text},    {"mask", n.mask}, {"noise_level", n.noise_level},
                          {"moment", n.moment}};
    *out = (lm_ports){.out = {{"v", n.v}}, .outputs = 1};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++)
        if (in[i].tensor.id >= 0) out->in[out->inputs++] = in[i];
}

const lm_family lm_unet_family = {
    "the U-Net", sizeof(lm_unet_config), unet_read, unet_least, unet_build, NULL,
};
