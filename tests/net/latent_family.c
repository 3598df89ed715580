#include "latent_family.h"

#include "net/families/slots.h"

#include <stdio.h>
#include <string.h>

enum { HEADS = 2, EMBED = 24, TEXT = 12, GROUPS = 4, LATENTS = 4 };
static const lm_init no_init = {LM_INIT_ZERO, 0};

static lm_tensor linear(lm_graph *g, const char *name, lm_tensor x, int64_t out, lm_tensor acc) {
    const lm_desc d = lm_tensor_desc(g, x);
    lm_scope_push(g, "%s", name);
    lm_tensor w = lm_param(g, "weight", no_init, out, d.dim[d.rank - 1]), b = lm_param(g, "bias", no_init, out);
    lm_tensor y = lm_linear(g, x, w, b, acc);
    lm_scope_pop(g);
    return y;
}

static lm_tensor conv(lm_graph *g, const char *name, lm_tensor x, int64_t out, lm_tensor acc) {
    lm_scope_push(g, "%s", name);
    lm_tensor w = lm_param(g, "weight", no_init, out, lm_tensor_desc(g, x).dim[4], 3, 3);
    lm_tensor y = lm_conv(g, x, w, lm_param(g, "bias", no_init, out), acc, LM_SPACE, 1);
    lm_scope_pop(g);
    return y;
}

static lm_tensor norm(lm_graph *g, const char *name, lm_tensor x, lm_tensor ss, bool silu) {
    const int64_t c = lm_tensor_desc(g, x).dim[4];
    lm_scope_push(g, "%s", name);
    lm_tensor gamma = lm_param(g, "weight", no_init, c), beta = lm_param(g, "bias", no_init, c);
    lm_tensor y = lm_norm(g, x, gamma, beta, ss, (lm_norm_attr){.groups = GROUPS, .eps = 1e-6f, .silu = silu});
    lm_scope_pop(g);
    return y;
}

static void build(lm_graph *g, const void *config, const lm_net_shape *s, lm_ports *out) {
    const int64_t width = ((const latent_config *)config)->width, b = s->batch;
    lm_tensor x = lm_input(g, "latent", LM_F32, b, 1, s->height, s->width, LATENTS);
    lm_tensor t = lm_input(g, "timestep", LM_F32, b);
    lm_tensor context = lm_input(g, "context", LM_F32, b, s->tokens, TEXT);
    lm_tensor mask = lm_input(g, "mask", LM_F32, b, s->tokens);
    lm_tensor e = lm_fourier(g, t, ((lm_fourier_attr){.width = width, .scale = 1, .cosine_first = true}));
    e = linear(g, "time.1", lm_silu(g, linear(g, "time.0", e, EMBED, LM_NONE)), EMBED, LM_NONE);
    lm_tensor h = conv(g, "conv_in", x, width, LM_NONE);
    lm_tensor ss = linear(g, "res.time", lm_silu(g, e), 2 * width, LM_NONE);
    lm_tensor r = conv(g, "res.conv1", norm(g, "res.norm1", h, LM_NONE, true), width, LM_NONE);
    h = conv(g, "res.conv2", norm(g, "res.norm2", r, ss, true), width, h);
    lm_tensor qkv = linear(g, "attn.qkv", norm(g, "attn.norm", h, LM_NONE, false), 3 * width, LM_NONE);
    lm_tensor kv = linear(g, "attn.add_kv", context, 2 * width, LM_NONE);
    lm_tensor y = lm_attention(g, qkv, kv, mask, ((lm_attention_attr){LM_SPACE, HEADS}));
    h = linear(g, "attn.to_out", y, width, h);
    h = conv(g, "conv_out", norm(g, "norm_out", h, LM_NONE, true), LATENTS, LM_NONE);
    lm_output(g, h);
    *out = (lm_ports){.in = {{"latent", x}, {"timestep", t}, {"context", context}, {"mask", mask}},
                      .inputs = 4,
                      .out = {{"noise", h}},
                      .outputs = 1};
}

static lm_net_shape least(const void *config) {
    (void)config;
    return (lm_net_shape){.batch = 1, .height = 1, .width = 1, .tokens = 1};
}

// config.json is one number here.
static lm_status read(lm_error *e, const char *path, void *config) {
    FILE *f = fopen(path, "r");
    const int found = f ? fscanf(f, "%d", &((latent_config *)config)->width) : 0;
    if (f) fclose(f);
    return found == 1 ? LM_OK : lm_fail(e, LM_MODEL, "%s: no width", path);
}

// "attn.qkv.weight" is "attn.to_q.weight", "attn.to_k.weight" and "attn.to_v.weight", one above the other.
static int stored(lm_arena *names, const lm_param_info *p, lm_slot out[LM_MOST_STORED]) {
    static const struct {
        const char *name, *parts[3];
    } joined[] = {{"attn.qkv.", {"attn.to_q.", "attn.to_k.", "attn.to_v."}},
                  {"attn.add_kv.", {"attn.add_k.", "attn.add_v."}}};
    *out = lm_param_slot(p);
    for (int i = 0; i < 2; i++) {
        const size_t n = strlen(joined[i].name);
        const int parts = i ? 2 : 3;
        if (strncmp(p->name, joined[i].name, n) != 0) continue;
        for (int k = 0; k < parts; k++) {
            char *name = lm_format("%s%s", joined[i].parts[k], p->name + n);
            out[k] = lm_param_slot(p);
            out[k].dim[0] /= parts;
            out[k].offset += k * lm_desc_count(&p->desc) / parts;
            out[k].name = name ? lm_arena_strdup(names, name) : NULL;
            lm_free(name);
            if (!out[k].name) return 0;
        }
        return parts;
    }
    return 1;
}

const lm_family latent_family = {"the test's network", sizeof(latent_config), read, least, build, stored};
