// The backward pass as more nodes: each rule appends the ops that turn the gradient of a node's output into those of
// its inputs. A gradient with several contributions is chained through the acc operand where the op has one.
#include "graph/graph_internal.h"

#include <stddef.h>

typedef struct rule {
    lm_graph *g;
    graph_node n; // copied: appending moves the arrays
    lm_tensor in[LM_MAX_INPUTS], dy;
} rule;

static bool needs(const rule *r, int i) {
    const graph_value *v = lm_graph_at(r->g, r->in[i]);
    return v && v->needs_grad;
}

static lm_tensor grad_so_far(const rule *r, int i) {
    return lm_grad(r->g, r->in[i]);
}

// Takes t as a contribution to the gradient of input i: the whole of it when t already holds what there was (acc).
static void set_grad(const rule *r, int i, lm_tensor t) {
    graph_value *v = lm_graph_at(r->g, r->in[i]);
    if (v) v->grad = t.id;
}

static void add_grad(const rule *r, int i, lm_tensor t) {
    lm_tensor before = grad_so_far(r, i);
    set_grad(r, i, before.id < 0 ? t : lm_add_(r->g, before, t));
}

// Appends op over operands whose last one is the acc slot of input i's gradient, and makes the result that gradient.
static void chain(const rule *r, int i, lm_op op, lm_tensor *operands) {
    int acc = lm_op_acc(op.kind);
    operands[acc] = grad_so_far(r, i);
    set_grad(r, i, lm_op_(r->g, op, operands, acc + 1));
}

static lm_op of_kind(const rule *r, lm_op_kind kind) {
    lm_op op = r->n.op; // attributes carry over
    op.kind = kind;
    return op;
}

static void conv_or_linear(const rule *r, lm_op_kind grad_x, lm_op_kind grad_w) {
    lm_tensor out[LM_MAX_OUTPUTS];
    if (needs(r, 1) || needs(r, 2)) {
        lm_graph_append(r->g, of_kind(r, grad_w), (lm_tensor[]){r->in[0], r->dy}, 2, out);
        if (needs(r, 1)) add_grad(r, 1, out[0]);
        if (needs(r, 2)) add_grad(r, 2, out[1]);
    }
    if (needs(r, 0)) chain(r, 0, of_kind(r, grad_x), (lm_tensor[]){r->dy, r->in[1], LM_NONE});
    if (needs(r, 3)) add_grad(r, 3, r->dy);
}

static void norm(const rule *r) {
    lm_tensor out[LM_MAX_OUTPUTS];
    lm_tensor operands[] = {r->in[0], r->in[1], r->in[2], r->in[3], r->dy, grad_so_far(r, 0)};
    lm_graph_append(r->g, of_kind(r, LM_OP_NORM_GRAD), operands, 6, out);
    if (needs(r, 0)) set_grad(r, 0, out[0]);
    lm_tensor sums = out[1];
    if (needs(r, 1) || needs(r, 2)) {
        lm_graph_append(r->g, (lm_op){.kind = LM_OP_NORM_GRAD_AFFINE}, (lm_tensor[]){sums, r->in[3]}, 2, out);
        if (needs(r, 1)) add_grad(r, 1, out[0]);
        if (needs(r, 2)) add_grad(r, 2, out[1]);
    }
    if (needs(r, 3)) {
        lm_op op = {.kind = LM_OP_NORM_GRAD_SS, .attr.clips = {lm_tensor_desc(r->g, r->in[3]).dim[0]}};
        add_grad(r, 3, lm_op_(r->g, op, (lm_tensor[]){sums, r->in[1], r->in[2]}, 3));
    }
}

static void attention(const rule *r) {
    lm_tensor out[LM_MAX_OUTPUTS];
    lm_tensor operands[] = {r->in[0], r->in[1], r->in[2], r->dy};
    lm_graph_append(r->g, of_kind(r, LM_OP_ATTENTION_GRAD), operands, 4, out);
    if (needs(r, 0)) add_grad(r, 0, out[0]);
    if (needs(r, 1)) add_grad(r, 1, out[1]);
}

static void concat(const rule *r) {
    int64_t first = 0;
    for (int i = 0; i < 2; i++) {
        lm_desc d = lm_tensor_desc(r->g, r->in[i]);
        int64_t count = d.rank ? d.dim[d.rank - 1] : 1;
        lm_op op = {.kind = LM_OP_SLICE, .attr.slice = {first, count}};
        if (needs(r, i)) chain(r, i, op, (lm_tensor[]){r->dy, LM_NONE});
        first += count;
    }
}

static void add_position(const rule *r) {
    if (needs(r, 1)) {
        lm_op op = {.kind = LM_OP_ADD_POSITION_GRAD_P, .attr.rows = {lm_tensor_desc(r->g, r->in[1]).dim[0]}};
        add_grad(r, 1, lm_op_(r->g, op, &r->dy, 1));
    }
    if (needs(r, 0)) add_grad(r, 0, r->dy);
}

static void embedding(const rule *r) {
    lm_op op = {.kind = LM_OP_EMBEDDING_GRAD, .attr.rows = {lm_tensor_desc(r->g, r->in[1]).dim[0]}};
    if (needs(r, 1)) add_grad(r, 1, lm_op_(r->g, op, (lm_tensor[]){r->in[0], r->dy}, 2));
}

static void view(const rule *r) {
    lm_desc d = lm_tensor_desc(r->g, r->in[0]);
    if (needs(r, 0)) add_grad(r, 0, lm_view_(r->g, r->dy, d.rank, d.dim));
}

static void unary(const rule *r) { // kinds whose gradient needs dy alone
    lm_op_kind kind = r->n.op.kind;
    lm_op op = of_kind(r, kind == LM_OP_SPACE_TO_DEPTH ? LM_OP_DEPTH_TO_SPACE : LM_OP_SPACE_TO_DEPTH);
    if (needs(r, 0)) add_grad(r, 0, lm_op_(r->g, op, &r->dy, 1));
}

static void apply(const rule *r) {
    switch (r->n.op.kind) {
    case LM_OP_CONV:
        conv_or_linear(r, LM_OP_CONV_GRAD_X, LM_OP_CONV_GRAD_W);
        break;
    case LM_OP_LINEAR:
        conv_or_linear(r, LM_OP_LINEAR_GRAD_X, LM_OP_LINEAR_GRAD_W);
        break;
    case LM_OP_NORM:
        norm(r);
        break;
    case LM_OP_ATTENTION:
        attention(r);
        break;
    case LM_OP_CONCAT:
        concat(r);
        break;
    case LM_OP_ADD_POSITION:
        add_position(r);
        break;
    case LM_OP_EMBEDDING:
        embedding(r);
        break;
    case LM_OP_VIEW:
        view(r);
        break;
    case LM_OP_SPACE_TO_DEPTH:
    case LM_OP_DEPTH_TO_SPACE:
        unary(r);
        break;
    case LM_OP_CAST:
        add_grad(r, 0, lm_cast_(r->g, r->dy, lm_tensor_desc(r->g, r->in[0]).type));
        break;
    case LM_OP_SILU:
        chain(r, 0, of_kind(r, LM_OP_SILU_GRAD), (lm_tensor[]){r->in[0], r->dy, LM_NONE});
        break;
    case LM_OP_GELU:
        chain(r, 0, of_kind(r, LM_OP_GELU_GRAD), (lm_tensor[]){r->in[0], r->dy, LM_NONE});
        break;
    case LM_OP_UPSAMPLE:
        chain(r, 0, of_kind(r, LM_OP_UPSAMPLE_GRAD), (lm_tensor[]){r->dy, LM_NONE});
        break;
    case LM_OP_ADD:
        for (int i = 0; i < 2; i++)
            if (needs(r, i)) add_grad(r, i, r->dy);
        break;
    case LM_OP_MASKED_MEAN:
        add_grad(r, 0, lm_op_(r->g, of_kind(r, LM_OP_MASKED_MEAN_GRAD), (lm_tensor[]){r->in[1], r->dy}, 2));
        break;
    case LM_OP_MSE:
        set_grad(r, 0, lm_op_(r->g, of_kind(r, LM_OP_MSE_GRAD), (lm_tensor[]){r->in[0], r->in[1]}, 2));
        break;
    default:
        lm_graph_fail(r->g, "%s has no gradient", lm_op_name(r->n.op.kind));
    }
}

// A parameter's gradient lives in the gradient block: a value of its own, made by one node.
static void claim_param_grad(lm_graph *g, int i) {
    lm_tensor p = g->params[i].tensor, grad = lm_grad(g, p);
    if (grad.id < 0) {
        lm_graph_fail(g, "the loss does not depend on %s", g->params[i].name);
        return;
    }
    graph_value *v = lm_graph_at(g, grad);
    if (v->base != grad.id || v->grad_of >= 0 || v->node < 0 || v->output) {
        grad = lm_op_(g, (lm_op){.kind = LM_OP_CAST, .attr.cast.type = v->desc.type}, &grad, 1);
        if (grad.id < 0) return;
        g->values[p.id].grad = grad.id;
    }
    g->values[grad.id].grad_of = i;
}

void lm_graph_backward(lm_graph *g, lm_tensor loss) {
    const graph_value *l = lm_graph_at(g, loss);
    if (g->error.status || !l) return;
    if (l->node < 0 || g->nodes[l->node].op.kind != LM_OP_MSE) {
        lm_graph_fail(g, "a backward pass starts from an mse");
        return;
    }
    const int last = l->node; // appending moves the arrays
    lm_output(g, loss);
    for (int i = last; i >= 0 && !g->error.status; i--) {
        rule r = {.g = g, .n = g->nodes[i]};
        for (int k = 0; k < LM_MAX_INPUTS; k++) r.in[k] = (lm_tensor){r.n.in[k]};
        const graph_value *y = &g->values[r.n.out[0]];
        r.dy = (lm_tensor){y->grad};
        if (!y->needs_grad || (y->grad < 0 && i != last)) continue;
        if (r.n.op.kind == LM_OP_MSE && i != last) {
            lm_graph_fail(g, "a backward pass starts from one loss");
            return;
        }
        g->file = r.n.file;
        g->line = r.n.line;
        int before = g->node_count;
        apply(&r);
        for (int k = before; k < g->node_count; k++) g->nodes[k].name = r.n.name;
    }
    for (int i = 0; i < g->param_count && !g->error.status; i++)
        if (g->params[i].trainable) claim_param_grad(g, i);
    for (int i = 0; i < g->value_count && !g->error.status; i++)
        if (g->values[i].want_grad) lm_output(g, (lm_tensor){g->values[i].grad});
}
