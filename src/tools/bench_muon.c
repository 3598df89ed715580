// What Muon takes on the default network's matrices.
#include "tools/bench_row.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>

typedef struct matrix_list {
    lm_matrix_shape *shapes;
    lm_muon_matrix *matrices;
    int count;
} matrix_list;

// The matrices of a parameter; pairs that are stored as one are taken apart, as training does by default.
static void add_matrices(const bench_row *row, const lm_param_info *p, matrix_list *l) {
    const int64_t parts = p->parts == 2 ? 2 : 1, count = lm_desc_count(&p->desc) / parts, rows = p->desc.dim[0] / parts;
    for (int64_t i = 0; i < parts; i++) {
        const int64_t at = p->offset + i * count, grad_at = p->grad_offset + i * count;
        l->shapes[l->count] = (lm_matrix_shape){rows, count / rows};
        l->matrices[l->count++] = (lm_muon_matrix){.w = row->weights + at,
                                                   .m = row->moments + grad_at,
                                                   .average = row->average + at,
                                                   .g = row->grads + grad_at,
                                                   .rate = 1e-5f};
    }
}

static lm_status list_matrices(lm_error *e, const bench_row *row, matrix_list *l) {
    const int params = lm_graph_params(row->graph);
    l->shapes = lm_alloc(2 * (size_t)params, sizeof *l->shapes);
    l->matrices = lm_alloc(2 * (size_t)params, sizeof *l->matrices);
    if (!l->shapes || !l->matrices) return lm_fail_memory(e, 2.0 * params * sizeof *l->matrices, "the matrices");
    for (int i = 0; i < params; i++) {
        const lm_param_info *p = lm_graph_param(row->graph, i);
        if (p->trainable && lm_unet_group_describe((lm_unet_group)p->group).muon) add_matrices(row, p, l);
    }
    return LM_OK;
}

static lm_status time_muon(lm_error *e, bench_row *row, const matrix_list *l, lm_muon_work *work, int repeat) {
    const lm_muon rule = {.momentum = 0.95f, .decay = 0.01f, .clip = 1, .average = 0.999f};
    for (int i = 0; i <= repeat; i++) {
        const double start = lm_seconds();
        LM_TRY(row->device->backend->muon(e, row->device, work, &rule, l->matrices));
        const double took = lm_seconds() - start;
        if (i == 1 || (i > 1 && took < row->muon.seconds)) row->muon.seconds = took;
    }
    row->muon.flops = work->flops;
    snprintf(row->muon_kernel, sizeof row->muon_kernel, "%s", work->name);
    row->muon.kernel = row->muon_kernel;
    return LM_OK;
}

lm_status lm_bench_muon(lm_error *e, const lumiere_context *c, bench_row *row, int repeat) {
    const lm_backend *b = row->device->backend;
    matrix_list l = {0};
    lm_muon_work *work = NULL;
    lm_status s = list_matrices(e, row, &l);
    if (s == LM_OK)
        s = b->muon_prepare(e, row->device, l.shapes, l.count, LM_MUON_PUBLISHED, c->compute == LM_BF16, &work);
    if (s == LM_OK) s = time_muon(e, row, &l, work, repeat);
    if (work) b->muon_release(row->device, work);
    lm_free(l.shapes);
    lm_free(l.matrices);
    lm_network_changed(row->network);
    return s;
}
