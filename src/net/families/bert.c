// BERT (Devlin et al., arXiv 1810.04805) as the frozen text encoder MiniLM-L6 has it (Wang et al., arXiv 2002.10957).
#include "net/families/bert.h"

#include "base/files.h"
#include "net/families/slots.h"
#include "store/json_text.h"

#include <stddef.h>
#include <string.h>

static const struct field {
    const char *key;
    size_t at;
    int low, high;
} fields[] = {
    {"hidden_size", offsetof(lm_bert_config, width), 1, 8192},
    {"num_hidden_layers", offsetof(lm_bert_config, layers), 1, 64},
    {"num_attention_heads", offsetof(lm_bert_config, heads), 1, 256},
    {"intermediate_size", offsetof(lm_bert_config, inner), 1, 32768},
    {"vocab_size", offsetof(lm_bert_config, tokens), 1, 1 << 20},
    {"max_position_embeddings", offsetof(lm_bert_config, positions), 1, 1 << 16},
    {"type_vocab_size", offsetof(lm_bert_config, types), 1, 64},
};
enum { FIELDS = sizeof fields / sizeof *fields };
static const char eps_key[] = "layer_norm_eps";

static lm_status read_config(lm_error *e, const char *path, const json_t *root, lm_bert_config *c) {
    if (!json_is_object(root)) return lm_fail(e, LM_MODEL, "'%.200s': not a JSON object", path);
    for (int i = 0; i < FIELDS; i++) {
        const json_t *v = json_object_get(root, fields[i].key);
        json_int_t n = json_integer_value(v);
        if (!json_is_integer(v) || n < fields[i].low || n > fields[i].high)
            return lm_fail(e, LM_MODEL, "'%.200s': %s must be a whole number from %d to %d", path, fields[i].key,
                           fields[i].low, fields[i].high);
        *(int *)((unsigned char *)c + fields[i].at) = (int)n;
    }
    const json_t *eps = json_object_get(root, eps_key);
    c->eps = json_number_value(eps);
    if (!json_is_number(eps) || !(c->eps > 0 && c->eps <= 1e-3))
        return lm_fail(e, LM_MODEL, "'%.200s': %s must be a number above 0, at most 0.001", path, eps_key);
    if (json_object_size(root) != FIELDS + 1)
        return lm_fail(e, LM_MODEL, "'%.200s': has %zu keys; exactly BERT's %d are known", path, json_object_size(root),
                       FIELDS + 1);
    if (c->width % c->heads)
        return lm_fail(e, LM_MODEL, "'%.200s': hidden_size %d is not a multiple of num_attention_heads %d", path,
                       c->width, c->heads);
    return LM_OK;
}

static lm_status open_config(lm_error *e, const char *path, lm_bert_config *c) {
    uint8_t *bytes;
    size_t size;
    LM_TRY(lm_file_read(e, path, 1 << 20, LM_MODEL, &bytes, &size));
    json_error_t why;
    json_t *root;
    lm_status status = lm_json_parse((const char *)bytes, size, &root, &why);
    lm_free(bytes);
    if (status == LM_MEMORY) return lm_fail_memory(e, (double)size, path);
    if (status != LM_OK)
        return lm_fail(e, LM_MODEL, "'%.200s': not JSON: %s at line %d, column %d", path, why.text, why.line,
                       why.column);
    status = read_config(e, path, root, c);
    json_decref(root);
    return status;
}

static const lm_init no_init = {LM_INIT_ZERO, 0};

// x [B,L,I] -> [B,L,O], plus acc if there is one. Parameters scope.weight [O,I] and scope.bias [O].
static lm_tensor linear(lm_graph *g, const char *scope, lm_tensor x, lm_tensor acc, int64_t in, int64_t out) {
    lm_scope_push(g, "%s", scope);
    lm_tensor w = lm_param(g, "weight", no_init, out, in), b = lm_param(g, "bias", no_init, out);
    x = lm_linear(g, x, w, b, acc);
    lm_scope_pop(g);
    return x;
}

static lm_tensor layer_norm(lm_graph *g, const char *scope, const lm_bert_config *c, lm_tensor x) {
    lm_scope_push(g, "%s", scope);
    lm_tensor gamma = lm_param(g, "weight", no_init, c->width), beta = lm_param(g, "bias", no_init, c->width);
    x = lm_norm(g, x, gamma, beta, LM_NONE, (lm_norm_attr){.groups = 1, .eps = (float)c->eps});
    lm_scope_pop(g);
    return x;
}

static lm_tensor table(lm_graph *g, const char *name, int64_t rows, int64_t width) {
    lm_scope_push(g, "%s", name);
    lm_tensor t = lm_param(g, "weight", no_init, rows, width);
    lm_scope_pop(g);
    return t;
}

// ids, types [B,L] -> [B,L,C]
static lm_tensor embeddings(lm_graph *g, const lm_bert_config *c, lm_tensor ids, lm_tensor types) {
    lm_scope_push(g, "embeddings");
    lm_tensor x = lm_embedding(g, ids, table(g, "word_embeddings", c->tokens, c->width));
    x = lm_add(g, x, lm_embedding(g, types, table(g, "token_type_embeddings", c->types, c->width)));
    x = lm_add_position(g, x, table(g, "position_embeddings", c->positions, c->width));
    x = layer_norm(g, "LayerNorm", c, x);
    lm_scope_pop(g);
    return x;
}

// One layer, x [B,L,C], mask [B,L]: attention and feed-forward, each normalised after its residual sum (arXiv
// 1706.03762, 3.1).
static lm_tensor layer(lm_graph *g, const lm_bert_config *c, int64_t n, int64_t length, lm_tensor x, lm_tensor mask) {
    int64_t width = c->width;
    lm_tensor qkv = linear(g, "attention.self.qkv", x, LM_NONE, width, 3 * width);
    lm_attention_attr attr = {LM_SPACE, c->heads};
    lm_tensor h = lm_attention(g, lm_view(g, qkv, n, 1, 1, length, 3 * width), LM_NONE, mask, attr);
    h = linear(g, "attention.output.dense", lm_view(g, h, n, length, width), x, width, width);
    x = layer_norm(g, "attention.output.LayerNorm", c, h);
    h = lm_gelu(g, linear(g, "intermediate.dense", x, LM_NONE, width, c->inner));
    h = linear(g, "output.dense", h, x, c->inner, width);
    return layer_norm(g, "output.LayerNorm", c, h);
}

static void bert_build(lm_graph *g, const void *config, const lm_net_shape *s, lm_ports *out) {
    const lm_bert_config *c = config;
    lm_tensor ids = lm_input(g, "ids", LM_I32, s->batch, s->tokens);
    lm_tensor types = lm_input(g, "types", LM_I32, s->batch, s->tokens);
    lm_tensor mask = lm_input(g, "mask", LM_F32, s->batch, s->tokens);
    lm_tensor x = embeddings(g, c, ids, types);
    for (int i = 0; i < c->layers; i++) {
        lm_scope_push(g, "encoder.layer.%d", i);
        x = layer(g, c, s->batch, s->tokens, x, mask);
        lm_scope_pop(g);
    }
    lm_output(g, x);
    *out = (lm_ports){
        .in = {{"ids", ids}, {"types", types}, {"mask", mask}}, .inputs = 3, .out = {{"states", x}}, .outputs = 1};
}

static lm_net_shape bert_least(const void *config) {
    (void)config;
    return (lm_net_shape){.batch = 1, .tokens = 1};
}

// The file's tensors that make up parameter p: itself, or query, key and value, whose rows follow each other in "qkv".
static int bert_stored(lm_arena *names, const lm_param_info *p, lm_slot *out) {
    static const char *const parts[] = {"query", "key", "value"};
    lm_slot slot = lm_param_slot(p);
    const char *qkv = strstr(p->name, "self.qkv.");
    *out = slot;
    if (!qkv) return 1;
    slot.dim[0] /= 3;
    for (int i = 0; i < 3; i++) {
        int head = (int)(qkv - p->name) + (int)strlen("self.");
        char *name = lm_format("%.*s%s%s", head, p->name, parts[i], p->name + head + strlen("qkv"));
        slot.name = name ? lm_arena_strdup(names, name) : NULL;
        lm_free(name);
        if (!slot.name) return 0;
        out[i] = slot;
        slot.offset += lm_desc_count(&p->desc) / 3;
    }
    return 3;
}

static lm_status bert_read(lm_error *e, const char *path, void *config) {
    return open_config(e, path, config);
}

const lm_family lm_bert_family = {
    "the text encoder", sizeof(lm_bert_config), bert_read, bert_least, bert_build, bert_stored,
};
