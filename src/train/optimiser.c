// The optimiser: AdamW on flat runs of parameters, Muon on matrices.
#include "train/trainer_internal.h"

#include "base/memory.h"

#include <math.h>

enum { MUON_LEAST = 9 }; // rows and columns; smaller matrices are AdamW's, as in reference/muon.py

// Matrices that a parameter is taken as. Two that stand one above the other (scale and shift, keys and values of the
// text) cost a fraction of what they do as one; three square ones (query, key and value) cost more.
static int64_t matrix_parts(const lm_trainer *t, const lm_param_info *p) {
    enum { PAIRS = 1, ALL };
    const bool apart = t->cfg->muon_parts == ALL || (t->cfg->muon_parts == PAIRS && p->parts == 2);
    return apart ? p->parts : 1;
}

// Of one of the matrices that the parameter stacks.
static lm_matrix_shape matrix_shape(const lm_trainer *t, const lm_param_info *p) {
    const int64_t rows = p->desc.dim[0];
    return (lm_matrix_shape){rows / matrix_parts(t, p), lm_desc_count(&p->desc) / rows};
}

// Elements that the parameter takes in a flat block, what lies between it and the next included.
static int64_t room_of(const lm_trainer *t, int i) {
    const int64_t end = i + 1 < t->params ? lm_graph_param(t->graph, i + 1)->offset : t->elements;
    return end - lm_graph_param(t->graph, i)->offset;
}

lm_status lm_trainer_choose_rules(lm_error *e, lm_trainer *t) {
    lm_group_rule groups[LM_UNET_GROUPS];
    LM_TRY(lm_run_config_rules(e, "the run file", t->cfg, groups));
    t->rules = lm_alloc_zero((size_t)t->params, sizeof *t->rules);
    if (!t->rules) return lm_fail_memory(e, (double)t->params * sizeof *t->rules, "the optimiser");
    t->second_elements = 0;
    t->matrix_count = 0;
    for (int i = 0; i < t->params; i++) {
        const lm_param_info *p = lm_graph_param(t->graph, i);
        if (!p->trainable) continue;
        const lm_matrix_shape s = matrix_shape(t, p);
        param_rule *r = &t->rules[i];
        r->muon = groups[p->group].muon && s.rows >= MUON_LEAST && s.columns >= MUON_LEAST;
        r->rate = groups[p->group].muon && !r->muon ? t->cfg->learning_rate : groups[p->group].rate;
        r->second = t->second_elements;
        if (r->muon)
            t->matrix_count += (int)matrix_parts(t, p);
        else
            t->second_elements += room_of(t, i);
    }
    return LM_OK;
}

// Shapes (and, where a matrix is to be filled in, places) of all matrices, in the order of parameters.
static void list_matrices(const lm_trainer *t, lm_matrix_shape *shapes) {
    int k = 0;
    for (int i = 0; i < t->params; i++) {
        if (!t->rules[i].muon) continue;
        const lm_param_info *p = lm_graph_param(t->graph, i);
        const lm_matrix_shape s = matrix_shape(t, p);
        for (int64_t j = 0; j < matrix_parts(t, p); j++, k++) {
            const int64_t at = p->offset + j * s.rows * s.columns, grad_at = p->grad_offset + j * s.rows * s.columns;
            shapes[k] = s;
            t->matrices[k] = (lm_muon_matrix){
                .w = t->weights + at, .m = t->moment1 + grad_at, .average = t->average + at, .g = t->grads + grad_at};
        }
    }
}

static lm_status prepare_muon(lm_error *e, lm_trainer *t) {
    if (!t->matrix_count) return LM_OK;
    lm_matrix_shape *shapes = lm_alloc((size_t)t->matrix_count, sizeof *shapes);
    t->matrices = lm_alloc((size_t)t->matrix_count, sizeof *t->matrices);
    lm_status s = shapes && t->matrices ? LM_OK : lm_fail_memory(e, (double)t->matrix_count * 64, "the optimiser");
    if (s == LM_OK) list_matrices(t, shapes);
    if (s == LM_OK)
        s = t->d->backend->muon_prepare(e, t->d, shapes, t->matrix_count,
                                        t->cfg->muon_steps == 4 ? LM_MUON_QUICK : LM_MUON_PUBLISHED,
                                        t->o.precision == LM_BF16, &t->muon);
    lm_free(shapes);
    return s;
}

static lm_status moment(lm_error *e, const lm_trainer *t, int64_t n, float **out) {
    return t->d->backend->alloc(e, t->d, (size_t)(n ? n : 1) * sizeof(float), (void **)out);
}

lm_status lm_trainer_optimiser_create(lm_error *e, lm_trainer *t) {
    LM_TRY(lm_trainer_choose_rules(e, t));
    LM_TRY(moment(e, t, t->grad_elements, &t->moment1));
    LM_TRY(moment(e, t, t->second_elements, &t->moment2));
    return prepare_muon(e, t);
}

void lm_trainer_optimiser_free(lm_trainer *t) {
    if (t->moment1) t->d->backend->release_memory(t->d, t->moment1);
    if (t->moment2) t->d->backend->release_memory(t->d, t->moment2);
    if (t->muon) t->d->backend->muon_release(t->d, t->muon);
    lm_free(t->matrices);
    lm_free(t->rules);
}

static bool same_rule(const lm_trainer *t, int i, int j) {
    return lm_graph_param(t->graph, i)->trainable == lm_graph_param(t->graph, j)->trainable &&
           t->rules[i].muon == t->rules[j].muon && t->rules[i].rate == t->rules[j].rate;
}

// AdamW over every run of its parameters that lie side by side and have one rate.
static lm_status update_adamw(lm_error *e, lm_trainer *t, lm_adamw *p, double schedule) {
    const lm_graph *g = t->graph;
    for (int i = 0, j; i < t->params; i = j) {
        int64_t n = 0;
        for (j = i; j < t->params && same_rule(t, i, j); j++) n += room_of(t, j);
        const lm_param_info *first = lm_graph_param(g, i);
        if (!first->trainable || t->rules[i].muon) continue;
        p->rate = (float)(t->rules[i].rate * schedule);
        LM_TRY(t->d->backend->adamw(e, t->d, p, t->weights + first->offset, t->grads + first->grad_offset,
                                    t->moment1 + first->grad_offset, t->moment2 + t->rules[i].second,
                                    t->average + first->offset, n));
    }
    return LM_OK;
}

static lm_status update_muon(lm_error *e, lm_trainer *t, const lm_muon *p, double schedule) {
    if (!t->muon) return LM_OK;
    int k = 0;
    for (int i = 0; i < t->params; i++)
        for (int64_t j = t->rules[i].muon ? matrix_parts(t, lm_graph_param(t->graph, i)) : 0; j > 0; j--)
            t->matrices[k++].rate = (float)(t->rules[i].rate * schedule);
    return t->d->backend->muon(e, t->d, t->muon, p, t->matrices);
}

lm_status lm_trainer_update(lm_error *e, lm_trainer *t, double schedule, double grad_norm) {
    const lm_run_config *c = t->cfg;
    const int64_t done = t->step + 1 - t->skipped; // updates with this one
    lm_adamw adamw = {.beta1 = (float)c->beta1,
                      .beta2 = (float)c->beta2,
                      .eps = (float)c->eps,
                      .decay = (float)c->weight_decay,
                      .clip = (float)fmin(1.0, c->clip / (grad_norm + 1e-6)),
                      .average = (float)fmin(c->average, (1.0 + (double)done) / (10.0 + (double)done)),
                      .step = done};
    const lm_muon muon = {.momentum = (float)c->muon_momentum,
                          .decay = (float)c->muon_decay,
                          .clip = adamw.clip,
                          .average = adamw.average};
    LM_TRY(update_adamw(e, t, &adamw, schedule));
    LM_TRY(update_muon(e, t, &muon, schedule));
    lm_network_changed(t->network);
    return LM_OK;
}
