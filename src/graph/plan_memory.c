// Who lives when, and where: lifetimes, memory shared by acc and output, and offsets in one block.
#include "graph/plan_internal.h"

#include "base/arithmetic.h"

#include <assert.h>
#include <stdlib.h>

// Last step that reads each base value; outputs and inputs live to the end.
static void find_last_uses(const lm_plan *p, int *last_use, int end) {
    const lm_graph *g = p->g;
    for (int v = 0; v < g->value_count; v++) last_use[v] = g->values[v].output || g->values[v].input ? end : -1;
    for (int i = 0; i < p->node_count; i++) {
        const graph_node *n = &g->nodes[p->nodes[i].index];
        for (int k = 0; k < LM_MAX_INPUTS; k++)
            if (n->in[k] >= 0) {
                int base = g->values[n->in[k]].base;
                if (last_use[base] < p->nodes[i].step) last_use[base] = p->nodes[i].step;
            }
    }
}

static int new_storage(lm_plan *p, int value, plan_home home, int first, int last) {
    const lm_graph *g = p->g;
    plan_storage s = {.home = home, .bytes = lm_desc_bytes(&g->values[value].desc), .first = first, .last = last};
    int64_t unit = (int64_t)lm_dtype_size(g->values[value].desc.type);
    if (home == PLAN_PARAMS) s.offset = g->params[g->values[value].param].offset * unit;
    if (home == PLAN_GRADS) s.offset = g->params[g->values[value].grad_of].grad_offset * unit;
    p->storages[p->storage_count] = s;
    return p->storage_of[value] = p->storage_count++;
}

// The output may take over acc's memory when nobody reads acc later and no other operand of the node lives there.
static bool can_share(const lm_plan *p, const plan_node *pn, const int *last_use, int acc, int out) {
    const lm_graph *g = p->g;
    const graph_node *n = &g->nodes[pn->index];
    int base = g->values[acc].base, storage = p->storage_of[base];
    if (storage < 0 || p->storages[storage].home != PLAN_BLOCK || p->storages[storage].last > pn->step) return false;
    if (last_use[base] != pn->step || g->values[out].grad_of >= 0 || g->values[base].output) return false;
    if (lm_desc_bytes(&g->values[out].desc) != p->storages[storage].bytes) return false;
    for (int k = 0, seen = 0; k < LM_MAX_INPUTS; k++)
        if (n->in[k] >= 0 && p->storage_of[g->values[n->in[k]].base] == storage && seen++) return false;
    for (const plan_node *other = pn + 1; other < p->nodes + p->node_count && other->step == pn->step; other++)
        for (int k = 0; k < LM_MAX_INPUTS; k++) // later nodes of the same step read acc as well
            if (g->nodes[other->index].in[k] >= 0 && g->values[g->nodes[other->index].in[k]].base == base) return false;
    return true;
}

static void place_outputs(lm_plan *p, const plan_node *pn, const int *last_use) {
    const lm_graph *g = p->g;
    const graph_node *n = &g->nodes[pn->index];
    int slot = lm_op_acc(n->op.kind);
    for (int k = 0; k < LM_MAX_OUTPUTS; k++) {
        int v = n->out[k];
        if (v < 0 || g->values[v].base != v || (k > 0 && !p->live[g->node_count + v])) continue;
        int last = last_use[v] > pn->step ? last_use[v] : pn->step;
        if (g->values[v].grad_of >= 0) {
            new_storage(p, v, PLAN_GRADS, 0, 0);
        } else if (k == 0 && slot >= 0 && n->in[slot] >= 0 && can_share(p, pn, last_use, n->in[slot], v)) {
            int s = p->storage_of[v] = p->storage_of[g->values[n->in[slot]].base];
            p->storages[s].last = last;
        } else {
            new_storage(p, v, PLAN_BLOCK, pn->step, last);
        }
    }
}

static int by_size(const void *a, const void *b) {
    const plan_storage *x = *(plan_storage *const *)a, *y = *(plan_storage *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

static int by_offset(const void *a, const void *b) {
    const plan_storage *x = *(plan_storage *const *)a, *y = *(plan_storage *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

// Largest first, each at the lowest offset that no storage alive at the same time touches. busy: room for count
// pointers.
static void assign_offsets(lm_plan *p, plan_storage **order, plan_storage **busy) {
    int count = 0;
    for (int i = 0; i < p->storage_count; i++)
        if (p->storages[i].home == PLAN_BLOCK) order[count++] = &p->storages[i];
    qsort(order, (size_t)count, sizeof *order, by_size);
    int64_t top = 0;
    for (int i = 0; i < count; i++) {
        plan_storage *s = order[i];
        int n = 0;
        for (int j = 0; j < i; j++)
            if (order[j]->first <= s->last && s->first <= order[j]->last) busy[n++] = order[j];
        qsort(busy, (size_t)n, sizeof *busy, by_offset);
        int64_t at = 0;
        for (int j = 0; j < n && busy[j]->offset < at + s->bytes; j++) {
            int64_t end = lm_round_up(busy[j]->offset + busy[j]->bytes, PLAN_ALIGN);
            if (end > at) at = end;
        }
        s->offset = at;
        if (at + lm_round_up(s->bytes, PLAN_ALIGN) > top) top = at + lm_round_up(s->bytes, PLAN_ALIGN);
    }
    p->block_bytes = (size_t)top;
}

__attribute__((unused)) static bool meet(const plan_storage *a, const plan_storage *b) {
    return a->first <= b->last && b->first <= a->last && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes;
}

// Whether every storage lies in its block, on a boundary, and apart from those alive with it. Only asserts ask.
__attribute__((unused)) static bool well_placed(const lm_plan *p) {
    for (int i = 0; i < p->storage_count; i++) {
        const plan_storage *s = &p->storages[i];
        if (s->home != PLAN_BLOCK) continue;
        if (s->offset < 0 || s->offset % PLAN_ALIGN || s->offset + s->bytes > (int64_t)p->block_bytes) return false;
        for (int k = 0; k < i; k++)
            if (p->storages[k].home == PLAN_BLOCK && meet(s, &p->storages[k])) return false;
    }
    return true;
}

lm_status lm_plan_place(lm_error *e, lm_plan *p) {
    const lm_graph *g = p->g;
    size_t n = (size_t)g->value_count;
    int *last_use = lm_alloc(n, sizeof *last_use);
    plan_storage **order = lm_alloc(2 * n, sizeof *order);
    p->storage_of = lm_alloc(n, sizeof *p->storage_of);
    p->storages = lm_alloc(n, sizeof *p->storages);
    lm_status status = LM_OK;
    if (!last_use || !order || !p->storage_of || !p->storages) {
        status = lm_fail_memory(e, (double)n * 64, "the memory plan");
        goto done;
    }
    int end = p->node_count ? p->nodes[p->node_count - 1].step + 1 : 0;
    find_last_uses(p, last_use, end);
    for (int v = 0; v < g->value_count; v++) {
        p->storage_of[v] = -1;
        if (g->values[v].param >= 0)
            new_storage(p, v, PLAN_PARAMS, 0, end);
        else if (g->values[v].input)
            new_storage(p, v, PLAN_BLOCK, 0, end);
    }
    for (int i = 0; i < p->node_count; i++) place_outputs(p, &p->nodes[i], last_use);
    assign_offsets(p, order, order + n);
    assert(well_placed(p));
done:
    lm_free(last_use);
    lm_free(order);
    return status;
}
