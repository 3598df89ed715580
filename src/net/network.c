#include "net/network_internal.h"

#include <string.h>

// ---- the network ----

lm_status lm_network_create(lm_error *e, lm_device *d, const lm_family *f, const void *config, lm_dtype compute,
                            lm_network **out) {
    lm_network *n = *out = lm_alloc_zero(1, sizeof *n);
    if (!n) return lm_fail_memory(e, sizeof *n, "a network");
    n->device = lm_device_hold(d);
    n->family = f;
    n->compute = compute;
    n->config = lm_alloc_zero(1, f->config_bytes);
    if (!n->config) {
        lm_network_free(out);
        return lm_fail_memory(e, (double)f->config_bytes, "a network");
    }
    if (config) memcpy(n->config, config, f->config_bytes);
    return LM_OK;
}

lm_status lm_network_open(lm_error *e, lm_device *d, const lm_family *f, const char *folder, lm_dtype compute,
                          lm_network **out) {
    LM_TRY(lm_network_create(e, d, f, NULL, compute, out));
    char *path = lm_format("%s/config.json", folder);
    (*out)->folder = lm_strdup(folder);
    lm_status status = path && (*out)->folder ? f->read(e, path, (*out)->config) : lm_fail_memory(e, 4096, "a path");
    lm_free(path);
    if (status != LM_OK) lm_network_free(out);
    return status;
}

static void free_plan(net_plan *p) {
    lm_plan_free(&p->plan);
    lm_graph_free(&p->graph);
    lm_free(p);
}

void lm_network_free(lm_network **network) {
    lm_network *n = *network;
    if (!n) return;
    while (n->plan_count) free_plan(n->plans[--n->plan_count]);
    lm_net_weights_free_all(n);
    lm_device_close(&n->device);
    lm_free(n->config);
    lm_free(n->folder);
    lm_free(n);
    *network = NULL;
}

const void *lm_network_config(const lm_network *n) {
    return n->config;
}

// ---- plans ----

static bool same_use(const lm_net_use *a, const lm_net_use *b) {
    const lm_net_shape *s = &a->shape, *t = &b->shape;
    return s->batch == t->batch && s->frames == t->frames && s->height == t->height && s->width == t->width &&
           s->tokens == t->tokens && a->purpose == b->purpose && a->trained == b->trained;
}

static net_plan *find_plan(const lm_network *n, const lm_net_use *u) {
    for (int i = 0; i < n->plan_count; i++)
        if (same_use(&n->plans[i]->use, u)) return n->plans[i];
    return NULL;
}

bool lm_network_has(const lm_network *n, const lm_net_use *u) {
    return find_plan(n, u) != NULL;
}

static void drop_at(lm_network *n, int i) {
    free_plan(n->plans[i]);
    n->plans[i] = n->plans[--n->plan_count];
}

// The plan that was not used for longest, other than keep and those that are kept. false: there is none.
static bool drop_oldest(lm_network *n, const net_plan *keep) {
    int oldest = -1;
    for (int i = 0; i < n->plan_count; i++)
        if (n->plans[i] != keep && !n->plans[i]->use.kept && (oldest < 0 || n->plans[i]->used < n->plans[oldest]->used))
            oldest = i;
    if (oldest >= 0) drop_at(n, oldest);
    return oldest >= 0;
}

void lm_network_drop(lm_network *n, const lm_net_use *u) {
    for (int i = 0; i < n->plan_count; i++)
        if (same_use(&n->plans[i]->use, u)) drop_at(n, i--);
}

static uint64_t idle_bytes(const lm_network *n, const net_plan *busy) {
    uint64_t bytes = 0;
    for (int i = 0; i < n->plan_count; i++)
        if (n->plans[i] != busy && !n->plans[i]->use.kept) bytes += lm_plan_total_bytes(n->plans[i]->plan);
    return bytes;
}

uint64_t lm_network_idle_bytes(const lm_network *n) {
    return idle_bytes(n, NULL);
}

static lm_status build(lm_error *e, const lm_network *n, const lm_net_use *u, net_plan *p) {
    *p = (net_plan){.use = *u, .target = LM_NONE, .loss = LM_NONE};
    lm_graph *g = p->graph = lm_graph_create(n->compute);
    if (!g) return lm_fail_memory(e, 4096, "the network");
    if (u->purpose == LM_NET_TRAIN) lm_graph_train(g, u->trained);
    n->family->build(g, n->config, &u->shape, &p->ports);
    if (u->purpose != LM_NET_PREDICT && lm_graph_status(g, e) == LM_OK) {
        const lm_desc d = lm_tensor_desc(g, p->ports.out[0].tensor);
        p->target = lm_input_(LM_HERE(g), "target", d.type, d.rank, d.dim);
        p->loss = lm_mse(g, p->ports.out[0].tensor, p->target);
        lm_output(g, p->loss);
    }
    if (u->purpose == LM_NET_TRAIN) lm_graph_backward(g, p->loss);
    return lm_graph_status(g, e);
}

static lm_status make_plan(lm_error *e, lm_network *n, net_plan *p) {
    for (;;) {
        lm_error why = {0};
        lm_status status = lm_plan_create(&why, p->graph, n->device, &p->plan);
        if (status == LM_OK) return LM_OK;
        if (status != LM_MEMORY || !drop_oldest(n, p)) return lm_fail(e, status, "%s", why.text);
    }
}

static lm_status add_plan(lm_error *e, lm_network *n, const lm_net_use *u, net_plan **out) {
    net_plan *p = lm_alloc_zero(1, sizeof *p);
    if (!p) return lm_fail_memory(e, sizeof *p, "the network");
    lm_status status = build(e, n, u, p);
    if (status == LM_OK) status = make_plan(e, n, p);
    if (status != LM_OK) {
        free_plan(p);
        return status;
    }
    n->plans[n->plan_count++] = p;
    while (n->plan_count > LM_MOST_PLANS || idle_bytes(n, p) > lm_memory_available() / 4)
        if (!drop_oldest(n, p)) break;
    if (n->plan_count > LM_MOST_PLANS) {
        drop_at(n, n->plan_count - 1);
        return lm_fail(e, LM_FAILED, "%d plans of a network are kept; no further one is possible", LM_MOST_PLANS);
    }
    *out = p;
    return LM_OK;
}

static lm_status get_plan(lm_error *e, lm_network *n, const lm_net_use *u, net_plan **out) {
    *out = find_plan(n, u);
    if (!*out) LM_TRY(add_plan(e, n, u, out));
    (*out)->use.kept |= u->kept;
    (*out)->used = ++n->clock;
    return LM_OK;
}

lm_status lm_network_prepare(lm_error *e, lm_network *n, const lm_net_use *u) {
    net_plan *p;
    return get_plan(e, n, u, &p);
}

lm_status lm_network_plan(lm_error *e, lm_network *n, const lm_net_use *u, lm_plan **plan, lm_graph **graph) {
    net_plan *p;
    LM_TRY(get_plan(e, n, u, &p));
    if (plan) *plan = p->plan;
    if (graph) *graph = p->graph;
    return LM_OK;
}

static lm_status estimate_cost(lm_error *e, const lm_network *n, const lm_net_use *u, lm_net_cost *out) {
    net_plan p;
    lm_status status = build(e, n, u, &p);
    if (status == LM_OK) status = lm_plan_estimate_bytes(e, p.graph, n->device, &out->bytes);
    if (status == LM_OK) out->flops = lm_graph_flops(p.graph);
    lm_graph_free(&p.graph);
    return status;
}

lm_status lm_network_cost(lm_error *e, lm_network *n, const lm_net_use *u, lm_net_cost *out) {
    const net_plan *made = find_plan(n, u);
    *out = (lm_net_cost){0};
    if (made) *out = (lm_net_cost){lm_plan_flops(made->plan), lm_plan_total_bytes(made->plan)};
    for (int i = 0; i < NET_MOST_COSTS && !made; i++)
        if (n->costs[i].cost.flops > 0 && same_use(&n->costs[i].use, u)) *out = n->costs[i].cost;
    if (out->flops > 0) return LM_OK;
    LM_TRY(estimate_cost(e, n, u, out));
    n->costs[n->next_cost++ % NET_MOST_COSTS] = (net_cost){*u, *out};
    return LM_OK;
}

// ---- running ----

static const void *fed(const lm_feed *feeds, const char *name) {
    for (; feeds->input; feeds++)
        if (!strcmp(feeds->input, name)) return feeds->from;
    return NULL;
}

static size_t bytes_of(const net_plan *p, lm_tensor t) {
    const lm_desc d = lm_tensor_desc(p->graph, t);
    return (size_t)lm_desc_bytes(&d);
}

static lm_status write_input(lm_error *e, const net_plan *p, const char *name, lm_tensor t, const lm_feed *feeds) {
    const void *from = fed(feeds, name);
    if (!from) return lm_fail(e, LM_FAILED, "the network's input %s is not fed", name);
    return lm_plan_write(e, p->plan, t, from, bytes_of(p, t));
}

static lm_status read_output(lm_error *e, const net_plan *p, const lm_fetch *f) {
    lm_tensor t = strcmp(f->output, "loss") ? LM_NONE : p->loss;
    for (int i = 0; i < p->ports.outputs; i++)
        if (!strcmp(p->ports.out[i].name, f->output)) t = p->ports.out[i].tensor;
    if (t.id < 0) return lm_fail(e, LM_FAILED, "the network has no output %s", f->output);
    return lm_plan_read(e, p->plan, t, f->to, bytes_of(p, t));
}

lm_status lm_network_run(lm_error *e, lm_network *n, const lm_net_use *u, const float *params, float *grads,
                         const lm_feed *feeds, const lm_fetch *fetches) {
    net_plan *p;
    LM_TRY(get_plan(e, n, u, &p));
    if (p->params != params || p->grads != grads) {
        lm_plan_bind(p->plan, params, grads);
        p->params = params;
        p->grads = grads;
    }
    for (int i = 0; i < p->ports.inputs; i++)
        LM_TRY(write_input(e, p, p->ports.in[i].name, p->ports.in[i].tensor, feeds));
    if (p->target.id >= 0) LM_TRY(write_input(e, p, "target", p->target, feeds));
    lm_plan_watch(p->plan, n->go_on, n->user);
    LM_TRY(lm_plan_run(e, p->plan));
    for (; fetches->output; fetches++) LM_TRY(read_output(e, p, fetches));
    return LM_OK;
}

void lm_network_watch(lm_network *n, lm_go_on_fn go_on, void *user) {
    n->go_on = go_on;
    n->user = user;
}

void lm_network_changed(lm_network *n) {
    for (int i = 0; i < n->plan_count; i++) lm_plan_weights_changed(n->plans[i]->plan);
}
