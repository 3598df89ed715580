#include "graph/plan_internal.h"

#include "base/clock.h"

#include <assert.h>
#include <string.h>

// A node is live when an output of it is read by a live node, kept, or a parameter's gradient.
static bool mark_live(const lm_graph *g, unsigned char *live_node, unsigned char *live_value) {
    for (int v = 0; v < g->value_count; v++) live_value[v] = g->values[v].output || g->values[v].grad_of >= 0;
    bool any = false;
    for (int i = g->node_count - 1; i >= 0; i--) {
        const graph_node *n = &g->nodes[i];
        for (int k = 0; k < LM_MAX_OUTPUTS; k++) live_node[i] |= n->out[k] >= 0 && live_value[n->out[k]];
        for (int k = 0; k < LM_MAX_INPUTS && live_node[i]; k++)
            if (n->in[k] >= 0) live_value[n->in[k]] = 1;
        any |= live_node[i];
    }
    return any;
}

static lm_status collect_nodes(lm_error *e, lm_plan *p) {
    const lm_graph *g = p->g;
    unsigned char *live = p->live = lm_alloc_zero((size_t)g->node_count + (size_t)g->value_count, 1);
    p->nodes = lm_alloc_zero((size_t)g->node_count, sizeof *p->nodes);
    p->calls = lm_alloc_zero((size_t)g->node_count, sizeof *p->calls);
    if (!live || !p->nodes || !p->calls) return lm_fail_memory(e, (double)g->node_count * sizeof *p->nodes, "the plan");
    bool any = mark_live(g, live, live + g->node_count);
    for (int i = 0; i < g->node_count; i++)
        if (live[i] && g->nodes[i].op.kind != LM_OP_VIEW) p->nodes[p->node_count++].index = i;
    return any ? LM_OK : lm_fail(e, LM_FAILED, "the graph has no output");
}

// An operand's shape; second outputs that nobody reads stay absent.
static void describe(const lm_plan *p, int value, bool optional, lm_operand *out) {
    *out = (lm_operand){0};
    if (value >= 0 && (!optional || p->live[p->g->node_count + value])) out->desc = p->g->values[value].desc;
}

static void describe_nodes(lm_plan *p) {
    for (int i = 0; i < p->node_count; i++) {
        plan_node *pn = &p->nodes[i];
        const graph_node *n = &p->g->nodes[pn->index];
        lm_desc in[LM_MAX_INPUTS], out[LM_MAX_OUTPUTS];
        for (int k = 0; k < LM_MAX_INPUTS; k++) describe(p, n->in[k], false, &pn->io.in[k]), in[k] = pn->io.in[k].desc;
        for (int k = 0; k < LM_MAX_OUTPUTS; k++)
            describe(p, n->out[k], k > 0, &pn->io.out[k]), out[k] = pn->io.out[k].desc;
        pn->flops = lm_op_flops(&n->op, in, out);
    }
}

static lm_status prepare_kernels(lm_error *e, lm_plan *p) {
    for (int i = 0; i < p->node_count; i++) {
        plan_node *pn = &p->nodes[i];
        LM_TRY(p->d->backend->prepare(e, p->d, &p->g->nodes[pn->index].op, &pn->io, &pn->kernel));
        if (pn->kernel->workspace > p->workspace_bytes) p->workspace_bytes = pn->kernel->workspace;
        p->held_bytes += pn->kernel->held;
    }
    return LM_OK;
}

// Neighbours that treat the same frames alone become one step, run frames by frames so that activations stay in cache.
// A step's tensors all live at once, so its length is bounded.
static void group_nodes(lm_plan *p) {
    for (int i = 0, step = -1, length = 0; i < p->node_count; i++) {
        int64_t frames = p->nodes[i].kernel->frames;
        bool joins = i > 0 && frames > 0 && frames == p->nodes[i - 1].kernel->frames && length < p->g->chain;
        length = joins ? length + 1 : 1;
        p->nodes[i].step = joins ? step : ++step;
    }
}

static void *address(const lm_plan *p, int value) {
    assert(value >= 0 && p->storage_of[p->g->values[value].base] >= 0);
    const plan_storage *s = &p->storages[p->storage_of[p->g->values[value].base]];
    if (s->home == PLAN_PARAMS) return p->params ? (unsigned char *)p->params + s->offset : NULL;
    if (s->home == PLAN_GRADS) return p->grads ? (unsigned char *)p->grads + s->offset : NULL;
    return p->block + s->offset;
}

static void set_addresses(lm_plan *p) {
    for (int i = 0; i < p->node_count; i++) {
        plan_node *pn = &p->nodes[i];
        const graph_node *n = &p->g->nodes[pn->index];
        for (int k = 0; k < LM_MAX_INPUTS; k++)
            if (pn->io.in[k].desc.rank) pn->io.in[k].data = address(p, n->in[k]);
        for (int k = 0; k < LM_MAX_OUTPUTS; k++)
            if (pn->io.out[k].desc.rank) pn->io.out[k].data = address(p, n->out[k]);
        p->calls[i] = (lm_call){pn->kernel, &pn->io};
    }
}

double lm_plan_flops(const lm_plan *p) {
    double sum = 0;
    for (int i = 0; i < p->node_count; i++) sum += p->nodes[i].flops;
    return sum;
}

uint64_t lm_plan_total_bytes(const lm_plan *p) {
    return p->block_bytes + p->workspace_bytes + p->held_bytes;
}

// The live nodes and their operands' shapes.
static lm_status begin_plan(lm_error *e, lm_graph *g, lm_device *d, lm_plan **out) {
    *out = NULL;
    LM_TRY(lm_graph_status(g, e));
    lm_plan *p = lm_alloc_zero(1, sizeof *p);
    if (!p) return lm_fail_memory(e, sizeof *p, "the plan");
    *out = p;
    p->g = g;
    p->d = d;
    p->weights_version = 1;
    LM_TRY(collect_nodes(e, p));
    describe_nodes(p);
    return LM_OK;
}

// Everything but the large allocations.
static lm_status prepare_plan(lm_error *e, lm_graph *g, lm_device *d, lm_plan **out) {
    LM_TRY(begin_plan(e, g, d, out));
    LM_TRY(prepare_kernels(e, *out));
    group_nodes(*out);
    return lm_plan_place(e, *out);
}

lm_status lm_plan_bytes(lm_error *e, lm_graph *g, lm_device *d, uint64_t *out) {
    lm_plan *p;
    lm_status status = prepare_plan(e, g, d, &p);
    if (status == LM_OK) *out = lm_plan_total_bytes(p);
    lm_plan_free(&p);
    return status;
}

lm_status lm_plan_estimate_bytes(lm_error *e, lm_graph *g, lm_device *d, uint64_t *out) {
    lm_plan *p;
    lm_status status = begin_plan(e, g, d, &p);
    // A step a node: longer steps, which kernels allow, would only make lifetimes longer.
    for (int i = 0; status == LM_OK && i < p->node_count; i++) p->nodes[i].step = i;
    if (status == LM_OK) status = lm_plan_place(e, p);
    if (status == LM_OK) {
        *out = p->block_bytes;
        for (int i = 0; i < p->node_count; i++)
            *out += d->backend->least_held(d, &g->nodes[p->nodes[i].index].op, &p->nodes[i].io);
    }
    lm_plan_free(&p);
    return status;
}

static lm_status check_memory(lm_error *e, const lm_plan *p) {
    const uint64_t need = lm_plan_total_bytes(p), have = lm_memory_available();
    if (need <= have) return LM_OK;
    return lm_fail(e, LM_MEMORY, "this needs %.0f MB and %.0f MB are free; try a smaller size or fewer frames",
                   (double)need / 1e6, (double)have / 1e6);
}

static const char *node_name(const lm_plan *p, int i) {
    const graph_node *n = &p->g->nodes[p->nodes[i].index];
    return *n->name ? n->name : lm_op_name(n->op.kind);
}

static void tell(const lm_plan *p, double seconds) {
    const lm_log *log = &p->d->log;
    if (!lm_log_wants(log, LM_LOG_STEPS)) return;
    lm_log_line(log, LM_LOG_STEPS,
                "plan: %d nodes, %.1f MB of activations, %.1f MB of workspace, %.1f MB of packed weights, %.2f GFLOP; "
                "made in %.3f s",
                p->node_count, (double)p->block_bytes / 1e6, (double)p->workspace_bytes / 1e6,
                (double)p->held_bytes / 1e6, lm_plan_flops(p) / 1e9, seconds);
    for (int i = 0; i < p->node_count && lm_log_wants(log, LM_LOG_DETAILS); i++) {
        const lm_kernel *k = p->nodes[i].kernel;
        char shape[80];
        lm_desc_print(&p->nodes[i].io.out[0].desc, shape, sizeof shape);
        lm_log_line(log, LM_LOG_DETAILS, "plan: node %d %.80s -> %s: %s, %.1f kB of workspace, %.1f kB held", i,
                    node_name(p, i), shape, k->name, (double)k->workspace / 1e3, (double)k->held / 1e3);
    }
}

static lm_status take_memory(lm_error *e, lm_plan *p) {
    const lm_backend *b = p->d->backend;
    LM_TRY(b->alloc(e, p->d, p->block_bytes + PLAN_ALIGN, (void **)&p->block));
    LM_TRY(b->alloc(e, p->d, p->workspace_bytes + PLAN_ALIGN, &p->workspace));
    for (int i = 0; i < p->node_count; i++) LM_TRY(b->reserve(e, p->d, p->nodes[i].kernel));
    return LM_OK;
}

lm_status lm_plan_create(lm_error *e, lm_graph *g, lm_device *d, lm_plan **out) {
    const double start = lm_seconds();
    lm_status status = prepare_plan(e, g, d, out);
    if (status == LM_OK) status = check_memory(e, *out);
    if (status == LM_OK) status = take_memory(e, *out);
    if (status != LM_OK) {
        lm_plan_free(out);
        return status;
    }
    set_addresses(*out);
    tell(*out, lm_seconds() - start);
    return LM_OK;
}

void lm_plan_free(lm_plan **plan) {
    lm_plan *p = *plan;
    if (!p) return;
    for (int i = 0; i < p->node_count; i++)
        if (p->nodes[i].kernel) p->d->backend->release(p->d, p->nodes[i].kernel);
    if (p->block) p->d->backend->release_memory(p->d, p->block);
    if (p->workspace) p->d->backend->release_memory(p->d, p->workspace);
    lm_free(p->live);
    lm_free(p->storage_of);
    lm_free(p->storages);
    lm_free(p->calls);
    lm_free(p->nodes);
    lm_free(p);
    *plan = NULL;
}

void lm_plan_bind(lm_plan *p, const void *params, void *grads) {
    p->params = params;
    p->grads = grads;
    set_addresses(p);
    lm_plan_weights_changed(p);
}

void lm_plan_weights_changed(lm_plan *p) {
    p->weights_version++;
}

void lm_plan_watch(lm_plan *p, lm_go_on_fn go_on, void *user) {
    p->go_on = go_on;
    p->watcher = user;
}

static lm_status locate(lm_error *e, const lm_plan *p, lm_tensor t, size_t bytes, void **data) {
    const graph_value *v = lm_graph_at(p->g, t);
    if (!v || p->storage_of[v->base] < 0) return lm_fail(e, LM_FAILED, "the plan holds no such tensor");
    if ((size_t)lm_desc_bytes(&v->desc) != bytes)
        return lm_fail(e, LM_FAILED, "the tensor %s has %lld bytes, not %zu", v->name ? v->name : "",
                       (long long)lm_desc_bytes(&v->desc), bytes);
    *data = address(p, t.id);
    return *data ? LM_OK : lm_fail(e, LM_FAILED, "the plan's parameters are not bound");
}

lm_status lm_plan_write(lm_error *e, lm_plan *p, lm_tensor t, const void *from, size_t bytes) {
    void *to;
    LM_TRY(locate(e, p, t, bytes, &to));
    return p->d->backend->upload(e, p->d, to, from, bytes);
}

lm_status lm_plan_read(lm_error *e, lm_plan *p, lm_tensor t, void *to, size_t bytes) {
    void *from;
    LM_TRY(locate(e, p, t, bytes, &from));
    return p->d->backend->download(e, p->d, to, from, bytes);
}

// The device says what failed, the plan where.
lm_status lm_plan_run_nodes(lm_error *e, lm_plan *p, int first, int count) {
    assert(first >= 0 && count > 0 && first + count <= p->node_count);
    assert(p->nodes[first].step == p->nodes[first + count - 1].step);
    lm_error why = {0};
    lm_status s = p->d->backend->run(&why, p->d, p->calls + first, count, p->workspace, p->weights_version);
    if (s == LM_OK) return LM_OK;
    lm_log_line(&p->d->log, LM_LOG_STEPS, "run: node %d of %d failed with status %d: %s", first, p->node_count, (int)s,
                why.text);
    if (count > 1)
        return lm_fail(e, s, "one of the nodes %.80s to %.80s failed: %s", node_name(p, first),
                       node_name(p, first + count - 1), why.text);
    return lm_fail(e, s, "the node %.80s (%s, %s) failed: %s", node_name(p, first),
                   lm_op_name(p->g->nodes[p->nodes[first].index].op.kind), p->nodes[first].kernel->name, why.text);
}

lm_status lm_plan_run(lm_error *e, lm_plan *p) {
    if ((!p->params && p->g->param_count) || (!p->grads && p->g->grad_elements))
        return lm_fail(e, LM_FAILED, "the plan's parameters are not bound");
    for (int i = 0, n; i < p->node_count; i += n) {
        if (p->go_on && !p->go_on(p->watcher)) {
            lm_log_line(&p->d->log, LM_LOG_STEPS, "run: stopped before node %d of %d", i, p->node_count);
            return lm_fail(e, LM_CANCELLED, "stopped before the node %.80s", node_name(p, i));
        }
        for (n = 1; !p->profile && i + n < p->node_count && p->nodes[i + n].step == p->nodes[i].step; n++) {
        }
        double start = p->profile ? lm_seconds() : 0;
        LM_TRY(lm_plan_run_nodes(e, p, i, n));
        if (p->profile) p->nodes[i].seconds = lm_seconds() - start;
    }
    return LM_OK;
}
