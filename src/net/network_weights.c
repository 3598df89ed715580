// A network's weights: read from its folder, and on the device for those that ask.
#include "net/network_internal.h"

#include "net/families/slots.h"

#include <string.h>

// One slot for each stored tensor of each parameter; names outlive the graph.
static lm_status list_slots(lm_error *e, const lm_network *n, const lm_graph *g, lm_param_block *b) {
    const int params = lm_graph_params(g);
    bool room = (b->slots = lm_alloc((size_t)params * LM_MOST_STORED, sizeof *b->slots)) != NULL;
    for (int i = 0; i < params && room; i++) {
        const lm_param_info *p = lm_graph_param(g, i);
        lm_slot *to = b->slots + b->slot_count;
        int stored = 1;
        if (n->family->stored)
            stored = n->family->stored(&b->names, p, to);
        else
            *to = lm_param_slot(p);
        for (int k = 0; k < stored && room; k++)
            if (to[k].name == p->name) room = (to[k].name = lm_arena_strdup(&b->names, p->name)) != NULL;
        room = room && stored > 0;
        b->slot_count += stored;
    }
    if (room) return LM_OK;
    return lm_fail_memory(e, (double)params * LM_MOST_STORED * sizeof *b->slots, "the list of weights");
}

lm_status lm_network_slots(lm_error *e, const lm_network *n, lm_param_block *out) {
    *out = (lm_param_block){0};
    lm_graph *g = lm_graph_create(LM_F32);
    if (!g) return lm_fail_memory(e, 4096, "the network");
    lm_ports ports = {.inputs = 0};
    const lm_net_shape least = n->family->least(n->config);
    n->family->build(g, n->config, &least, &ports);
    lm_status status = lm_graph_status(g, e);
    out->count = lm_graph_param_count(g);
    if (status == LM_OK) status = list_slots(e, n, g, out);
    lm_graph_free(&g);
    return status;
}

lm_status lm_network_read(lm_error *e, const lm_network *n, lm_param_block *out) {
    LM_TRY(lm_network_slots(e, n, out));
    out->data = lm_alloc_zero((size_t)out->count, sizeof(float)); // what lies between parameters too
    if (!out->data) return lm_fail_memory(e, (double)out->count * sizeof(float), "the weights");
    char *path = lm_format("%s/model.safetensors", n->folder);
    if (!path) return lm_fail_memory(e, 4096, "a path");
    lm_status status = lm_weights_load(e, path, out->slots, out->slot_count, out->data);
    lm_free(path);
    return status;
}

void lm_param_block_free(lm_param_block *b) {
    lm_free(b->slots);
    lm_free(b->data);
    lm_arena_free(&b->names);
    *b = (lm_param_block){0};
}

const float *lm_weights_params(const lm_weights *w) {
    return w->params;
}

int64_t lm_weights_count(const lm_weights *w) {
    return w->count;
}

// Plans must not take other weights that come to lie in the same place for these.
static void free_weights(lm_network *n, lm_weights *w) {
    for (int i = 0; i < n->plan_count; i++)
        if (n->plans[i]->params == w->params) n->plans[i]->params = NULL;
    if (w->params) n->device->backend->release_memory(n->device, w->params);
    lm_free(w->key);
    lm_free(w);
}

void lm_net_weights_free_all(lm_network *n) {
    while (n->weight_count) free_weights(n, n->weights[--n->weight_count]);
}

static bool drop_unheld(lm_network *n) {
    int oldest = -1;
    for (int i = 0; i < n->weight_count; i++)
        if (!n->weights[i]->holders && (oldest < 0 || n->weights[i]->used < n->weights[oldest]->used)) oldest = i;
    if (oldest < 0) return false;
    free_weights(n, n->weights[oldest]);
    n->weights[oldest] = n->weights[--n->weight_count];
    return true;
}

// Weights that nobody holds go when memory is short.
static lm_status allocate(lm_error *e, lm_network *n, size_t bytes, float **out) {
    for (;;) {
        lm_error why = {0};
        const lm_status status = n->device->backend->alloc(&why, n->device, bytes, (void **)out);
        if (status == LM_OK) return LM_OK;
        if (!drop_unheld(n)) return lm_fail(e, status, "%s", why.text);
    }
}

static lm_status load_weights(lm_error *e, lm_network *n, lm_weights_change change, void *user, lm_weights *w) {
    lm_param_block b;
    lm_status status = lm_network_read(e, n, &b);
    if (status == LM_OK && change) status = change(e, user, &b);
    const size_t bytes = (size_t)b.count * sizeof(float);
    w->count = b.count;
    if (status == LM_OK) status = allocate(e, n, bytes, &w->params);
    if (status == LM_OK) status = n->device->backend->upload(e, n->device, w->params, b.data, bytes);
    lm_param_block_free(&b);
    return status;
}

static lm_status add_weights(lm_error *e, lm_network *n, const char *key, lm_weights_change change, void *user,
                             lm_weights **out) {
    if (n->weight_count == NET_MOST_WEIGHTS && !drop_unheld(n))
        return lm_fail(e, LM_FAILED, "%d sets of a network's weights are in use; no further one is possible",
                       NET_MOST_WEIGHTS);
    lm_weights *w = *out = lm_alloc_zero(1, sizeof *w);
    if (!w || !(w->key = lm_strdup(key))) {
        lm_free(w);
        return lm_fail_memory(e, sizeof *w, "the weights");
    }
    lm_status status = load_weights(e, n, change, user, w);
    if (status == LM_OK)
        n->weights[n->weight_count++] = w;
    else
        free_weights(n, w);
    return status;
}

lm_status lm_network_weights(lm_error *e, lm_network *n, const char *key, lm_weights_change change, void *user,
                             lm_weights **out) {
    lm_weights *w = NULL;
    *out = NULL;
    for (int i = 0; i < n->weight_count; i++)
        if (!strcmp(n->weights[i]->key, key)) w = n->weights[i];
    if (!w) LM_TRY(add_weights(e, n, key, change, user, &w));
    w->holders++;
    w->used = ++n->clock;
    *out = w;
    return LM_OK;
}

void lm_weights_let_go(lm_weights **w) {
    if (*w) (*w)->holders--;
    *w = NULL;
}
