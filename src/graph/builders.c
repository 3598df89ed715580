// The named builders: one line each over lm_op_.
#include "graph/graph_internal.h"

#define OPERANDS(...) (lm_tensor[]){__VA_ARGS__}, (int)(sizeof((lm_tensor[]){__VA_ARGS__}) / sizeof(lm_tensor))

lm_tensor lm_cast_(lm_graph *g, lm_tensor x, lm_dtype type) {
    const graph_value *v = lm_graph_at(g, x);
    if (v && v->desc.type == type) return x;
    return lm_op_(g, (lm_op){.kind = LM_OP_CAST, .attr.cast.type = type}, OPERANDS(x));
}

lm_tensor lm_conv_(lm_graph *g, lm_tensor x, lm_tensor w, lm_tensor b, lm_tensor acc, lm_axis axis, int stride) {
    lm_desc d = lm_tensor_desc(g, w);
    int kernel = d.rank ? (int)d.dim[d.rank - 1] : 0;
    lm_conv_attr a = {.axis = axis, .kernel = kernel, .stride = stride, .x = lm_tensor_desc(g, x)};
    return lm_op_(g, (lm_op){.kind = LM_OP_CONV, .attr.conv = a}, OPERANDS(x, w, b, acc));
}

lm_tensor lm_linear_(lm_graph *g, lm_tensor x, lm_tensor w, lm_tensor b, lm_tensor acc) {
    return lm_op_(g, (lm_op){.kind = LM_OP_LINEAR}, OPERANDS(x, w, b, acc));
}

lm_tensor lm_norm_(lm_graph *g, lm_tensor x, lm_tensor gamma, lm_tensor beta, lm_tensor ss, lm_norm_attr attr) {
    return lm_op_(g, (lm_op){.kind = LM_OP_NORM, .attr.norm = attr}, OPERANDS(x, gamma, beta, ss));
}

lm_tensor lm_silu_(lm_graph *g, lm_tensor x) {
    return lm_op_(g, (lm_op){.kind = LM_OP_SILU}, OPERANDS(x));
}
lm_tensor lm_gelu_(lm_graph *g, lm_tensor x) {
    return lm_op_(g, (lm_op){.kind = LM_OP_GELU}, OPERANDS(x));
}
lm_tensor lm_add_(lm_graph *g, lm_tensor a, lm_tensor b) {
    return lm_op_(g, (lm_op){.kind = LM_OP_ADD}, OPERANDS(a, b));
}

lm_tensor lm_add_position_(lm_graph *g, lm_tensor x, lm_tensor p) {
    return lm_op_(g, (lm_op){.kind = LM_OP_ADD_POSITION}, OPERANDS(x, p));
}

lm_tensor lm_attention_(lm_graph *g, lm_tensor qkv, lm_tensor text_kv, lm_tensor mask, lm_attention_attr attr) {
    return lm_op_(g, (lm_op){.kind = LM_OP_ATTENTION, .attr.attention = attr}, OPERANDS(qkv, text_kv, mask));
}

lm_tensor lm_upsample_(lm_graph *g, lm_tensor x, int time, int space) {
    return lm_op_(g, (lm_op){.kind = LM_OP_UPSAMPLE, .attr.upsample = {time, space}}, OPERANDS(x));
}

lm_tensor lm_concat_(lm_graph *g, lm_tensor a, lm_tensor b) {
    return lm_op_(g, (lm_op){.kind = LM_OP_CONCAT}, OPERANDS(a, b));
}

lm_tensor lm_slice_(lm_graph *g, lm_tensor x, int64_t first, int64_t count) {
    return lm_op_(g, (lm_op){.kind = LM_OP_SLICE, .attr.slice = {first, count}}, OPERANDS(x));
}

lm_tensor lm_space_to_depth_(lm_graph *g, lm_tensor x, int factor) {
    if (factor == 1) return x;
    return lm_op_(g, (lm_op){.kind = LM_OP_SPACE_TO_DEPTH, .attr.shuffle = {factor}}, OPERANDS(x));
}

lm_tensor lm_depth_to_space_(lm_graph *g, lm_tensor x, int factor) {
    if (factor == 1) return x;
    return lm_op_(g, (lm_op){.kind = LM_OP_DEPTH_TO_SPACE, .attr.shuffle = {factor}}, OPERANDS(x));
}

lm_tensor lm_fourier_(lm_graph *g, lm_tensor t, lm_fourier_attr attr) {
    return lm_op_(g, (lm_op){.kind = LM_OP_FOURIER, .attr.fourier = attr}, OPERANDS(t));
}

lm_tensor lm_masked_mean_(lm_graph *g, lm_tensor x, lm_tensor mask) {
    return lm_op_(g, (lm_op){.kind = LM_OP_MASKED_MEAN}, OPERANDS(x, mask));
}

lm_tensor lm_embedding_(lm_graph *g, lm_tensor ids, lm_tensor table) {
    return lm_op_(g, (lm_op){.kind = LM_OP_EMBEDDING}, OPERANDS(ids, table));
}

lm_tensor lm_mse_(lm_graph *g, lm_tensor y, lm_tensor target) {
    return lm_op_(g, (lm_op){.kind = LM_OP_MSE}, OPERANDS(y, target));
}
