#include "graph/graph_internal.h"

#include "base/arithmetic.h"
#include "base/plain_text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { DEFAULT_CHAIN = 1 };

lm_graph *lm_graph_create(lm_dtype compute) {
    lm_graph *g = lm_alloc_zero(1, sizeof *g);
    if (!g) return NULL;
    g->compute = compute;
    g->chain = DEFAULT_CHAIN;
    return g;
}

void lm_graph_free(lm_graph **graph) {
    lm_graph *g = *graph;
    if (!g) return;
    lm_arena_free(&g->arena);
    lm_free(g->nodes);
    lm_free(g->values);
    lm_free(g->params);
    lm_free(g);
    *graph = NULL;
}

lm_status lm_graph_status(const lm_graph *g, lm_error *e) {
    if (g->error.status == LM_OK) return LM_OK;
    return lm_fail(e, g->error.status, "%s", g->error.text);
}

lm_dtype lm_graph_compute(const lm_graph *g) {
    return g->compute;
}

void lm_graph_fail(lm_graph *g, const char *format, ...) {
    char text[360];
    va_list args;
    va_start(args, format);
    lm_text_vline(text, sizeof text, format, args);
    va_end(args);
    lm_fail(&g->error, LM_FAILED, "%s (in %s, %s:%d)", text, g->scope[0] ? g->scope : "the graph",
            g->file ? g->file : "?", g->line);
}

bool lm_graph_grow(lm_graph *g, void **array, int count, int *room, size_t size) {
    if (count < *room) return true;
    int more = *room ? 2 * *room : 64;
    void *p = lm_realloc(*array, (size_t)more, size);
    if (!p) {
        lm_fail_memory(&g->error, (double)more * (double)size, "the graph");
        return false;
    }
    *array = p;
    *room = more;
    return true;
}

graph_value *lm_graph_at(const lm_graph *g, lm_tensor t) {
    return t.id >= 0 && t.id < g->value_count ? &g->values[t.id] : NULL;
}

lm_desc lm_tensor_desc(const lm_graph *g, lm_tensor t) {
    const graph_value *v = lm_graph_at(g, t);
    return v ? v->desc : (lm_desc){0};
}

void lm_scope_push(lm_graph *g, const char *format, ...) {
    size_t n = strlen(g->scope);
    if (g->scopes >= GRAPH_SCOPES) {
        lm_graph_fail(g, "scopes are nested more than %d deep", GRAPH_SCOPES);
        return;
    }
    g->scope_length[g->scopes++] = n;
    if (n && n + 1 < sizeof g->scope) g->scope[n++] = '.';
    va_list args;
    va_start(args, format);
    int written = vsnprintf(g->scope + n, sizeof g->scope - n, format, args);
    va_end(args);
    if (written < 0 || (size_t)written >= sizeof g->scope - n) lm_graph_fail(g, "the scope's name is too long");
}

void lm_scope_pop(lm_graph *g) {
    if (g->scopes > 0) g->scope[g->scope_length[--g->scopes]] = 0;
}

lm_graph *lm_graph_here(lm_graph *g, const char *file, int line) {
    const char *slash = strrchr(file, '/');
    g->file = slash ? slash + 1 : file;
    g->line = line;
    return g;
}

static const char *full_name(lm_graph *g, const char *name) {
    size_t n = strlen(g->scope), m = strlen(name);
    char *s = lm_arena_alloc(&g->arena, n + m + 2);
    if (!s) {
        lm_fail_memory(&g->error, (double)(n + m + 2), "the graph");
        return "";
    }
    memcpy(s, g->scope, n);
    if (n && m) s[n++] = '.';
    memcpy(s + n, name, m);
    return s;
}

static lm_tensor new_value(lm_graph *g, lm_desc desc, int32_t node) {
    if (!lm_graph_grow(g, (void **)&g->values, g->value_count, &g->value_room, sizeof *g->values)) return LM_NONE;
    int32_t id = g->value_count++;
    g->values[id] = (graph_value){.desc = desc, .node = node, .base = id, .param = -1, .grad = -1, .grad_of = -1};
    return (lm_tensor){id};
}

static bool dims_valid(lm_graph *g, const char *name, int rank, const int64_t *dim) {
    double n = 1;
    for (int i = 0; i < rank; i++) n *= dim[i] > 0 ? (double)dim[i] : -1e300;
    if (rank >= 1 && rank <= LM_MAX_RANK && n > 0 && n < 1e15) return true;
    lm_graph_fail(g, "%s has no valid shape", name);
    return false;
}

lm_tensor lm_input_(lm_graph *g, const char *name, lm_dtype type, int rank, const int64_t *dim) {
    if (g->error.status || !dims_valid(g, name, rank, dim)) return LM_NONE;
    lm_tensor t = new_value(g, lm_desc_make(type, rank, dim), -1);
    if (t.id < 0) return t;
    g->values[t.id].input = true;
    g->values[t.id].name = full_name(g, name);
    return t;
}

enum { PARAM_ALIGN = 16 }; // floats: every parameter starts on a 64-byte boundary of its block

lm_tensor lm_param_(lm_graph *g, const char *name, lm_init init, int rank, const int64_t *dim) {
    if (g->error.status || !dims_valid(g, name, rank, dim)) return LM_NONE;
    lm_desc desc = lm_desc_make(g->compute == LM_F64 ? LM_F64 : LM_F32, rank, dim);
    const char *full = full_name(g, name);
    for (int i = 0; i < g->param_count; i++) {
        if (strcmp(g->params[i].name, full)) continue;
        if (!lm_desc_equal(&g->params[i].desc, &desc)) lm_graph_fail(g, "%s is asked for in two shapes", full);
        return g->params[i].tensor;
    }
    if (!lm_graph_grow(g, (void **)&g->params, g->param_count, &g->param_room, sizeof *g->params)) return LM_NONE;
    lm_tensor t = new_value(g, desc, -1);
    if (t.id < 0) return t;
    bool trained = g->train && (!g->trainable || g->trainable(full));
    int64_t room = lm_round_up(lm_desc_count(&desc), PARAM_ALIGN);
    g->params[g->param_count] = (lm_param_info){.name = full,
                                                .desc = desc,
                                                .init = init,
                                                .trainable = trained,
                                                .offset = g->param_elements,
                                                .grad_offset = trained ? g->grad_elements : -1,
                                                .parts = 1,
                                                .tensor = t};
    g->param_elements += room;
    if (trained) g->grad_elements += room;
    g->values[t.id].param = g->param_count++;
    g->values[t.id].needs_grad = trained;
    g->values[t.id].name = full;
    return t;
}

void lm_param_group(lm_graph *g, lm_tensor param, int group, int parts) {
    const graph_value *v = lm_graph_at(g, param);
    if (!v || v->param < 0) return; // the graph holds an error
    g->params[v->param].group = group;
    g->params[v->param].parts = parts;
}

bool lm_graph_append(lm_graph *g, lm_op op, const lm_tensor *in, int count, lm_tensor out[LM_MAX_OUTPUTS]) {
    assert(count >= 0 && count <= LM_MAX_INPUTS);
    for (int i = 0; i < LM_MAX_OUTPUTS; i++) out[i] = LM_NONE;
    if (g->error.status) return false;
    graph_node n = {.op = op, .name = full_name(g, ""), .file = g->file, .line = g->line};
    lm_desc in_desc[LM_MAX_INPUTS] = {{0}}, out_desc[LM_MAX_OUTPUTS];
    bool needs_grad = false;
    for (int i = 0; i < LM_MAX_INPUTS; i++) {
        n.in[i] = i < count ? in[i].id : -1;
        const graph_value *v = i < count ? lm_graph_at(g, in[i]) : NULL;
        if (!v) continue;
        in_desc[i] = v->desc;
        needs_grad |= v->needs_grad;
    }
    lm_error why = {0};
    if (lm_op_infer(&why, &op, in_desc, out_desc)) {
        lm_graph_fail(g, "%s", why.text);
        return false;
    }
    if (!lm_graph_grow(g, (void **)&g->nodes, g->node_count, &g->node_room, sizeof *g->nodes)) return false;
    for (int i = 0; i < LM_MAX_OUTPUTS; i++) {
        if (out_desc[i].rank) {
            out[i] = new_value(g, out_desc[i], g->node_count);
            if (out[i].id < 0) return false;
            g->values[out[i].id].needs_grad = needs_grad;
        }
        n.out[i] = out[i].id;
    }
    g->nodes[g->node_count++] = n;
    return true;
}

lm_tensor lm_op_(lm_graph *g, lm_op op, const lm_tensor *in, int count) {
    lm_tensor out[LM_MAX_OUTPUTS];
    lm_graph_append(g, op, in, count, out);
    return out[0];
}

lm_tensor lm_view_(lm_graph *g, lm_tensor x, int rank, const int64_t *dim) {
    const graph_value *v = lm_graph_at(g, x);
    if (g->error.status || !v || !dims_valid(g, "a view", rank, dim)) return LM_NONE;
    lm_desc d = lm_desc_make(v->desc.type, rank, dim);
    if (lm_desc_count(&d) != lm_desc_count(&v->desc)) {
        lm_graph_fail(g, "a view must keep the number of elements");
        return LM_NONE;
    }
    if (lm_desc_equal(&d, &v->desc)) return x;
    if (!lm_graph_grow(g, (void **)&g->nodes, g->node_count, &g->node_room, sizeof *g->nodes)) return LM_NONE;
    lm_tensor t = new_value(g, d, g->node_count);
    if (t.id < 0) return t;
    g->values[t.id].base = g->values[x.id].base;
    g->values[t.id].needs_grad = g->values[x.id].needs_grad;
    graph_node n = {.op = {.kind = LM_OP_VIEW}, .name = full_name(g, ""), .file = g->file, .line = g->line};
    for (int i = 0; i < LM_MAX_INPUTS; i++) n.in[i] = i ? -1 : x.id;
    for (int i = 0; i < LM_MAX_OUTPUTS; i++) n.out[i] = i ? -1 : t.id;
    g->nodes[g->node_count++] = n;
    return t;
}

void lm_output(lm_graph *g, lm_tensor t) {
    graph_value *v = lm_graph_at(g, t);
    if (v) v->output = g->values[v->base].output = true;
}

void lm_graph_train(lm_graph *g, lm_trainable_fn trainable) {
    g->train = true;
    g->trainable = trainable;
}

void lm_graph_want_grad(lm_graph *g, lm_tensor input) {
    graph_value *v = lm_graph_at(g, input);
    if (v) v->needs_grad = v->want_grad = true;
}

void lm_graph_chain(lm_graph *g, int nodes) {
    g->chain = nodes > 1 ? nodes : 1;
}

lm_tensor lm_grad(const lm_graph *g, lm_tensor t) {
    const graph_value *v = lm_graph_at(g, t);
    return v ? (lm_tensor){v->grad} : LM_NONE;
}

int lm_graph_params(const lm_graph *g) {
    return g->param_count;
}
const lm_param_info *lm_graph_param(const lm_graph *g, int i) {
    return &g->params[i];
}
int64_t lm_graph_param_count(const lm_graph *g) {
    return g->param_elements;
}
int64_t lm_graph_grad_count(const lm_graph *g) {
    return g->grad_elements;
}

double lm_graph_flops(const lm_graph *g) {
    double sum = 0;
    for (int i = 0; i < g->node_count; i++) {
        const graph_node *n = &g->nodes[i];
        lm_desc in[LM_MAX_INPUTS] = {0}, out[LM_MAX_OUTPUTS] = {0};
        for (int k = 0; k < LM_MAX_INPUTS; k++)
            if (n->in[k] >= 0) in[k] = g->values[n->in[k]].desc;
        for (int k = 0; k < LM_MAX_OUTPUTS; k++)
            if (n->out[k] >= 0) out[k] = g->values[n->out[k]].desc;
        sum += lm_op_flops(&n->op, in, out);
    }
    return sum;
}
