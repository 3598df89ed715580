#include "model/text_encoder.h"

#include "base/files.h"
#include "base/memory.h"
#include "graph/plan.h"
#include "model/slots.h"
#include "text/tokenizer.h"

#include <jansson.h>
#include <stddef.h>
#include <string.h>

// The keys of Hugging Face's BertConfig that matter here.
typedef struct bert_config {
    int width, layers, heads, inner, tokens, positions, types;
    double eps;
} bert_config;

// The network for LM_TEXT_BATCH texts of one length.
typedef struct network {
    lm_graph *graph;
    lm_plan *plan; // NULL until needed
    lm_tensor ids, types, mask, states;
} network;

enum { LENGTH_STEP = 8, NETWORKS = LM_TEXT_TOKENS / LENGTH_STEP };

struct lm_text_encoder {
    lm_device *device;
    lm_tokenizer *tokenizer;
    void *params; // device memory; laid out the same for every length
    bert_config config;
    network networks[NETWORKS]; // for LENGTH_STEP, 2 LENGTH_STEP, ... tokens
    float *states;              // of one batch
};

static const struct field {
    const char *key;
    size_t at;
    int low, high;
} fields[] = {
    {"hidden_size", offsetof(bert_config, width), 1, 8192},
    {"num_hidden_layers", offsetof(bert_config, layers), 1, 64},
    {"num_attention_heads", offsetof(bert_config, heads), 1, 256},
    {"intermediate_size", offsetof(bert_config, inner), 1, 32768},
    {"vocab_size", offsetof(bert_config, tokens), 1, 1 << 20},
    {"max_position_embeddings", offsetof(bert_config, positions), LM_TEXT_TOKENS, 1 << 16},
    {"type_vocab_size", offsetof(bert_config, types), 1, 64},
};
enum { FIELDS = sizeof fields / sizeof *fields };
static const char eps_key[] = "layer_norm_eps";

static lm_status read_config(lm_error *e, const char *path, const json_t *root, bert_config *c) {
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

static lm_status open_config(lm_error *e, const char *path, bert_config *c) {
    uint8_t *bytes;
    size_t size;
    LM_TRY(lm_file_read(e, path, 1 << 20, LM_MODEL, &bytes, &size));
    json_error_t why;
    json_t *root = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, &why);
    lm_free(bytes);
    if (!root)
        return lm_fail(e, LM_MODEL, "'%.200s': not JSON: %s at line %d, column %d", path, why.text, why.line,
                       why.column);
    lm_status status = read_config(e, path, root, c);
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

static lm_tensor layer_norm(lm_graph *g, const char *scope, const bert_config *c, lm_tensor x) {
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
static lm_tensor embeddings(lm_graph *g, const bert_config *c, lm_tensor ids, lm_tensor types) {
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
static lm_tensor layer(lm_graph *g, const bert_config *c, int64_t length, lm_tensor x, lm_tensor mask) {
    int64_t n = LM_TEXT_BATCH, width = c->width;
    lm_tensor qkv = linear(g, "attention.self.qkv", x, LM_NONE, width, 3 * width);
    lm_attention_attr attr = {LM_SPACE, c->heads};
    lm_tensor h = lm_attention(g, lm_view(g, qkv, n, 1, 1, length, 3 * width), LM_NONE, mask, attr);
    h = linear(g, "attention.output.dense", lm_view(g, h, n, length, width), x, width, width);
    x = layer_norm(g, "attention.output.LayerNorm", c, h);
    h = lm_gelu(g, linear(g, "intermediate.dense", x, LM_NONE, width, c->inner));
    h = linear(g, "output.dense", h, x, c->inner, width);
    return layer_norm(g, "output.LayerNorm", c, h);
}

static int64_t length_of(const lm_text_encoder *t, const network *n) {
    return (n - t->networks + 1) * LENGTH_STEP;
}

static lm_status build(lm_error *e, const lm_text_encoder *t, network *n) {
    int64_t length = length_of(t, n);
    lm_graph *g = n->graph = lm_graph_create(LM_F32);
    if (!g) return lm_fail_memory(e, 1 << 16, "the text encoder's graph");
    n->ids = lm_input(g, "ids", LM_I32, LM_TEXT_BATCH, length);
    n->types = lm_input(g, "types", LM_I32, LM_TEXT_BATCH, length);
    n->mask = lm_input(g, "mask", LM_F32, LM_TEXT_BATCH, length);
    lm_tensor x = embeddings(g, &t->config, n->ids, n->types);
    for (int i = 0; i < t->config.layers; i++) {
        lm_scope_push(g, "encoder.layer.%d", i);
        x = layer(g, &t->config, length, x, n->mask);
        lm_scope_pop(g);
    }
    n->states = x;
    lm_output(g, x);
    return lm_graph_status(g, e);
}

static lm_status make_plan(lm_error *e, const lm_text_encoder *t, network *n) {
    static const int32_t types[LM_TEXT_BATCH * LM_TEXT_TOKENS] = {0};
    if (n->plan) return LM_OK;
    if (!n->graph) LM_TRY(build(e, t, n));
    lm_status status = lm_plan_create(e, n->graph, t->device, &n->plan);
    if (status == LM_OK)
        status = lm_plan_write(e, n->plan, n->types, types, (size_t)length_of(t, n) * LM_TEXT_BATCH * sizeof *types);
    if (status == LM_OK)
        lm_plan_bind(n->plan, t->params, NULL);
    else
        lm_plan_free(&n->plan);
    return status;
}

// The file's tensors that make up parameter p: itself, or query, key and value, whose rows follow each other in "qkv".
static int name_slots(lm_arena *names, const lm_param_info *p, lm_slot *out) {
    static const char *const parts[] = {"query", "key", "value"};
    lm_slot slot = lm_param_slot(p);
    const char *qkv = strstr(p->name, "self.qkv.");
    if (!qkv) {
        *out = slot;
        return 1;
    }
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

// Reads all parameters into block.
static lm_status read_weights(lm_error *e, const lm_graph *g, const char *path, float *block) {
    int params = lm_graph_params(g), count = 0;
    lm_arena names = {0};
    lm_slot *slots = lm_alloc((size_t)params * 3, sizeof *slots);
    bool named = slots != NULL;
    for (int i = 0; i < params && named; i++) {
        int n = name_slots(&names, lm_graph_param(g, i), slots + count);
        named = n > 0;
        count += n;
    }
    lm_status status = named ? lm_weights_load(e, path, slots, count, block)
                             : lm_fail_memory(e, (double)params * 3 * sizeof *slots, "the text encoder's names");
    lm_free(slots);
    lm_arena_free(&names);
    return status;
}

static lm_status load(lm_error *e, lm_text_encoder *t, const lm_graph *g, const char *path) {
    size_t bytes = (size_t)lm_graph_param_count(g) * sizeof(float);
    float *block = lm_alloc_aligned(bytes);
    if (!block) return lm_fail_memory(e, (double)bytes, "the text encoder's weights");
    const lm_backend *b = t->device->backend;
    lm_status status = read_weights(e, g, path, block);
    if (status == LM_OK) status = b->alloc(e, t->device, bytes, &t->params);
    if (status == LM_OK) status = b->upload(e, t->device, t->params, block, bytes);
    lm_free(block);
    return status;
}

static lm_status open_files(lm_error *e, lm_text_encoder *t, const char *config, const char *vocab,
                            const char *weights) {
    LM_TRY(open_config(e, config, &t->config));
    LM_TRY(lm_tokenizer_open(e, vocab, &t->tokenizer));
    if (lm_tokenizer_size(t->tokenizer) != t->config.tokens)
        return lm_fail(e, LM_MODEL, "'%.200s': has %d tokens; config.json's vocab_size is %d", vocab,
                       lm_tokenizer_size(t->tokenizer), t->config.tokens);
    size_t floats = (size_t)LM_TEXT_BATCH * LM_TEXT_TOKENS * (size_t)t->config.width;
    t->states = lm_alloc(floats, sizeof *t->states);
    if (!t->states) return lm_fail_memory(e, (double)floats * sizeof *t->states, "the text states");
    LM_TRY(build(e, t, &t->networks[0]));
    return load(e, t, t->networks[0].graph, weights);
}

lm_status lm_text_encoder_open(lm_error *e, lm_device *d, const char *folder, lm_text_encoder **out) {
    *out = NULL;
    lm_text_encoder *t = lm_alloc_zero(1, sizeof *t);
    char *config = lm_format("%s/config.json", folder), *vocab = lm_format("%s/vocab.txt", folder);
    char *weights = lm_format("%s/model.safetensors", folder);
    lm_status status;
    if (t && config && vocab && weights) {
        t->device = d;
        status = open_files(e, t, config, vocab, weights);
    } else {
        status = lm_fail_memory(e, sizeof *t, "the text encoder");
    }
    lm_free(config);
    lm_free(vocab);
    lm_free(weights);
    if (status != LM_OK) lm_text_encoder_free(&t);
    *out = t;
    return status;
}

void lm_text_encoder_free(lm_text_encoder **encoder) {
    lm_text_encoder *t = *encoder;
    if (!t) return;
    for (int i = 0; i < NETWORKS; i++) {
        lm_plan_free(&t->networks[i].plan);
        lm_graph_free(&t->networks[i].graph);
    }
    lm_free(t->states);
    if (t->params) t->device->backend->release_memory(t->device, t->params);
    lm_tokenizer_free(&t->tokenizer);
    lm_free(t);
    *encoder = NULL;
}

int lm_text_encoder_width(const lm_text_encoder *t) {
    return t->config.width;
}

// A tokenised text.
typedef struct tokens {
    int32_t ids[LM_TEXT_TOKENS];
    int used;
} tokens;

// Texts that fit network n, count of them at most LM_TEXT_BATCH: which[i] is a text's index in list, states and mask.
static lm_status run_batch(lm_error *e, lm_text_encoder *t, network *n, const tokens *list, const int *which, int count,
                           float *states, float *mask) {
    int32_t ids[LM_TEXT_BATCH * LM_TEXT_TOKENS];
    float real[LM_TEXT_BATCH * LM_TEXT_TOKENS];
    int length = (int)length_of(t, n);
    size_t cells = (size_t)length * LM_TEXT_BATCH, width = (size_t)t->config.width;
    for (int i = 0; i < LM_TEXT_BATCH; i++) { // the last one fills what is left
        const tokens *x = &list[which[i < count ? i : count - 1]];
        memcpy(ids + i * length, x->ids, (size_t)length * sizeof *ids);
        for (int k = 0; k < length; k++) real[i * length + k] = k < x->used;
    }
    LM_TRY(make_plan(e, t, n));
    LM_TRY(lm_plan_write(e, n->plan, n->ids, ids, cells * sizeof *ids));
    LM_TRY(lm_plan_write(e, n->plan, n->mask, real, cells * sizeof *real));
    LM_TRY(lm_plan_run(e, n->plan));
    LM_TRY(lm_plan_read(e, n->plan, n->states, t->states, cells * width * sizeof *states));
    for (int i = 0; i < count; i++) {
        size_t at = (size_t)which[i] * LM_TEXT_TOKENS, used = (size_t)list[which[i]].used * width;
        memset(states + at * width, 0, LM_TEXT_TOKENS * width * sizeof *states);
        memcpy(states + at * width, t->states + (size_t)i * (size_t)length * width, used * sizeof *states);
        for (int k = 0; k < LM_TEXT_TOKENS; k++) mask[at + (size_t)k] = k < list[which[i]].used;
    }
    return LM_OK;
}

static lm_status run_all(lm_error *e, lm_text_encoder *t, const tokens *list, int count, float *states, float *mask) {
    for (int k = 0; k < NETWORKS; k++) {
        int which[LM_TEXT_BATCH], n = 0;
        for (int i = 0; i < count; i++) {
            if ((list[i].used - 1) / LENGTH_STEP != k) continue;
            which[n++] = i;
            if (n < LM_TEXT_BATCH) continue;
            LM_TRY(run_batch(e, t, &t->networks[k], list, which, n, states, mask));
            n = 0;
        }
        if (n) LM_TRY(run_batch(e, t, &t->networks[k], list, which, n, states, mask));
    }
    return LM_OK;
}

lm_status lm_text_encode(lm_error *e, lm_text_encoder *t, const char *text, float *states, float *mask, int64_t *lost) {
    tokens one;
    LM_TRY(lm_tokenizer_encode(e, t->tokenizer, text, LM_TEXT_TOKENS, one.ids, &one.used, lost));
    return run_all(e, t, &one, 1, states, mask);
}

lm_status lm_text_encode_many(lm_error *e, lm_text_encoder *t, const char *const *texts, int n, float *states,
                              float *mask) {
    if (n < 1) return LM_OK;
    tokens *list = lm_alloc((size_t)n, sizeof *list);
    if (!list) return lm_fail_memory(e, (double)n * sizeof *list, "the texts' tokens");
    lm_status status = LM_OK;
    for (int i = 0; i < n && status == LM_OK; i++)
        status = lm_tokenizer_encode(e, t->tokenizer, texts[i], LM_TEXT_TOKENS, list[i].ids, &list[i].used, NULL);
    if (status == LM_OK) status = run_all(e, t, list, n, states, mask);
    lm_free(list);
    return status;
}
