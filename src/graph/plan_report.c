// The plan in words, its times, and its comparison with the reference device.
#include "graph/plan_internal.h"

#include "base/bf16.h"
#include "base/plain_text.h"
#include "devices/devices.h"

#include <math.h>
#include <string.h>

void lm_plan_profile(lm_plan *p, bool on) {
    p->profile = on;
}
int lm_plan_nodes(const lm_plan *p) {
    return p->node_count;
}

lm_node_report lm_plan_node(const lm_plan *p, int i) {
    const plan_node *pn = &p->nodes[i];
    const graph_node *n = &p->g->nodes[pn->index];
    return (lm_node_report){.name = n->name,
                            .op = lm_op_name(n->op.kind),
                            .kernel = pn->kernel->name,
                            .flops = pn->flops,
                            .seconds = pn->seconds,
                            .out = pn->io.out[0].desc};
}

void lm_plan_print(const lm_plan *p, FILE *out) {
    char sums[200];
    lm_text_format(sums, sizeof sums,
                   "%d nodes, %.1f MB activations, %.1f MB workspace, %.1f MB packed weights, %.2f GFLOP\n",
                   p->node_count, (double)p->block_bytes / 1e6, (double)p->workspace_bytes / 1e6,
                   (double)p->held_bytes / 1e6, lm_plan_flops(p) / 1e9);
    fputs(sums, out);
    for (int i = 0; i < p->node_count; i++) {
        const plan_node *pn = &p->nodes[i];
        const graph_node *n = &p->g->nodes[pn->index];
        fprintf(out, "%5d %-18s %-28s %s:%d", i, lm_op_name(n->op.kind), n->name, n->file ? n->file : "?", n->line);
        for (int k = 0; k < LM_MAX_INPUTS + LM_MAX_OUTPUTS; k++) {
            bool result = k >= LM_MAX_INPUTS;
            int v = result ? n->out[k - LM_MAX_INPUTS] : n->in[k];
            if (k == LM_MAX_INPUTS) fprintf(out, " ->");
            if (v < 0 || p->storage_of[p->g->values[v].base] < 0) continue;
            char shape[96];
            lm_desc_print(&p->g->values[v].desc, shape, sizeof shape);
            const plan_storage *s = &p->storages[p->storage_of[p->g->values[v].base]];
            static const char homes[] = "-@wg"; // nowhere, block, weights, gradients
            fprintf(out, " %%%d %s %c%lld", v, shape, homes[s->home], (long long)s->offset);
        }
        fprintf(out, "  [%s]\n", pn->kernel->name);
    }
}

static double element(const lm_operand *o, int64_t i) {
    if (o->desc.type == LM_F64) return ((const double *)o->data)[i];
    if (o->desc.type == LM_F32) return (double)((const float *)o->data)[i];
    return (double)lm_float_from_bf16(((const uint16_t *)o->data)[i]);
}

// Squared error over squared reference, summed; the error alone where the reference is 0.
static double nmse(const lm_operand *a, const lm_operand *b) {
    double error = 0, size = 0;
    for (int64_t i = 0; i < lm_desc_count(&a->desc); i++) {
        double x = element(a, i), y = element(b, i);
        error += (x - y) * (x - y);
        size += y * y;
    }
    return size > 0 ? error / size : error;
}

// Host copies of operands, the caller's to free, also when a later one fails.
static lm_status copy_operands(lm_error *e, const lm_plan *p, const lm_operand *from, lm_operand *to, int count,
                               bool contents) {
    for (int k = 0; k < count; k++) {
        to[k] = (lm_operand){.desc = from[k].desc};
        if (!from[k].desc.rank) continue;
        size_t bytes = (size_t)lm_desc_bytes(&from[k].desc);
        to[k].data = lm_alloc_aligned(bytes);
        if (!to[k].data) return lm_fail_memory(e, (double)bytes, "the comparison");
        if (contents) LM_TRY(p->d->backend->download(e, p->d, to[k].data, from[k].data, bytes));
    }
    return LM_OK;
}

static lm_status run_reference(lm_error *e, lm_device *ref, const lm_op *op, lm_io *io) {
    lm_kernel *k = NULL;
    LM_TRY(lm_kernel_create(e, ref, op, io, &k));
    void *workspace = NULL;
    lm_status s = ref->backend->alloc(e, ref, k->workspace + PLAN_ALIGN, &workspace);
    lm_call call = {k, io};
    if (s == LM_OK) s = ref->backend->run(e, ref, &call, 1, workspace, 1);
    if (workspace) ref->backend->release_memory(ref, workspace);
    ref->backend->release(ref, k);
    return s;
}

static lm_status compare_node(lm_error *e, lm_plan *p, lm_device *ref, int i, double *out) {
    plan_node *pn = &p->nodes[i];
    lm_io want = {0}, got = {0};
    lm_status s = copy_operands(e, p, pn->io.in, want.in, LM_MAX_INPUTS, true);
    if (s == LM_OK) s = copy_operands(e, p, pn->io.out, want.out, LM_MAX_OUTPUTS, false);
    if (s == LM_OK) s = lm_plan_run_nodes(e, p, i, 1);
    if (s == LM_OK) s = copy_operands(e, p, pn->io.out, got.out, LM_MAX_OUTPUTS, true);
    if (s == LM_OK) s = run_reference(e, ref, &p->g->nodes[pn->index].op, &want);
    *out = 0;
    for (int k = 0; k < LM_MAX_OUTPUTS && s == LM_OK; k++)
        if (pn->io.out[k].desc.rank) *out = fmax(*out, nmse(&got.out[k], &want.out[k]));
    for (int k = 0; k < LM_MAX_INPUTS; k++) lm_free(want.in[k].data);
    for (int k = 0; k < LM_MAX_OUTPUTS; k++) lm_free(want.out[k].data), lm_free(got.out[k].data);
    return s;
}

lm_status lm_plan_compare(lm_error *e, lm_plan *p, double *worst, int *node) {
    lm_device *ref = NULL;
    LM_TRY(lm_device_open(e, "reference", 1, &ref));
    lm_status s = LM_OK;
    *worst = 0;
    *node = -1;
    for (int i = 0; i < p->node_count && s == LM_OK; i++) {
        double x;
        s = compare_node(e, p, ref, i, &x);
        if (s == LM_OK && (x > *worst || x != x)) *worst = x, *node = i;
    }
    lm_device_close(&ref);
    return s;
}
