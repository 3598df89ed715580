// What a run would do, in words.
#include "train/trainer_internal.h"

#include "base/memory.h"

// The parameters of a group that are trained, by one optimiser.
typedef struct group_total {
    int64_t parameters;
    int tensors;
    double rate;
} group_total;

static void count_groups(const lm_trainer *t, group_total totals[LM_UNET_GROUPS][2]) {
    for (int i = 0; i < t->params; i++) {
        const lm_param_info *p = lm_graph_param(t->graph, i);
        if (!p->trainable) continue;
        group_total *total = &totals[p->group][t->rules[i].muon];
        total->parameters += lm_desc_count(&p->desc);
        total->tensors++;
        total->rate = t->rules[i].rate;
    }
}

lm_status lm_trainer_describe(lm_error *e, const lm_trainer *t) {
    lm_net_cost train, validation;
    LM_TRY(lm_network_cost(e, t->network, &t->train, &train));
    LM_TRY(lm_network_cost(e, t->network, &t->eval, &validation));
    const lm_run_config *c = t->cfg;
    group_total totals[LM_UNET_GROUPS][2] = {0};
    count_groups(t, totals);
    for (int i = 0; i < LM_UNET_GROUPS; i++)
        for (int muon = 1; muon >= 0; muon--) {
            const group_total *g = &totals[i][muon];
            const lm_unet_group_info info = lm_unet_group_describe((lm_unet_group)i);
            if (g->tensors)
                lm_trainer_log(t, "group %-12s %9lld parameters in %3d tensors by %s at %g (%s)", info.name,
                               (long long)g->parameters, g->tensors, muon ? "Muon" : "AdamW", g->rate, info.holds);
        }
    lm_trainer_log(
        t, "steps: %lld of %lld clips, from step %lld; the rates rise over %lld and fall over the last %g %%",
        (long long)c->steps, (long long)c->batch, (long long)t->step, (long long)c->warmup, 100 * c->cooldown);
    const double state = 4.0 * (double)(2 * t->elements + 2 * t->grad_elements + t->second_elements);
    const double held = t->muon ? (double)t->muon->held : 0, plan = (double)train.bytes,
                 eval = (double)validation.bytes;
    lm_trainer_log(
        t, "memory: %.0f MB: weights, average, gradients and moments %.0f, training %.0f, validation %.0f, Muon %.0f",
        (state + held + plan + eval) / 1e6, state / 1e6, plan / 1e6, eval / 1e6, held / 1e6);
    const double network = train.flops, muon = t->muon ? t->muon->flops : 0;
    lm_trainer_log(t, "work: %.1f GFLOP a step: network %.1f, Muon %.1f (%.0f %% of it; %d matrices, %s)",
                   (network + muon) / 1e9, network / 1e9, muon / 1e9, 100 * muon / (network + muon), t->matrix_count,
                   t->muon ? t->muon->name : "none");
    return LM_OK;
}
