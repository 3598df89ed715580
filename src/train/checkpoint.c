// A run's weights on disk: the checkpoint that holds everything, and the averaged weights for use.
#include "train/trainer_internal.h"

#include "base/files.h"
#include "base/memory.h"
#include "base/plain_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The checkpoint's tensors: weights, average and the two moments, in one host block. Of what Muon trains there is one
// moment, called momentum.
enum { SETS = 4, FIRST_MOMENT = 2, SECOND_MOMENT = 3 };

// NULL: the parameter has nothing in this set.
static const char *set_name(const lm_trainer *t, int set, int param) {
    static const char *const names[SETS] = {"weights", "average", "moment1", "moment2"};
    const bool trained = lm_graph_param(t->graph, param)->trainable, muon = t->rules[param].muon;
    if (set >= FIRST_MOMENT && !trained) return NULL;
    if (set == FIRST_MOMENT && muon) return "momentum";
    return set == SECOND_MOMENT && muon ? NULL : names[set];
}

typedef struct state_block {
    float *data;
    int64_t count, at[SETS]; // where each set begins
    lm_slot *slots;
    int slot_count;
    lm_arena names;
} state_block;

static void state_free(state_block *b) {
    lm_free(b->data);
    lm_free(b->slots);
    lm_arena_free(&b->names);
}

static lm_status state_create(lm_error *e, const lm_trainer *t, state_block *b) {
    *b = (state_block){0};
    const lm_graph *g = t->graph;
    for (int s = 0; s < SETS; s++) {
        b->at[s] = b->count;
        b->count += s < FIRST_MOMENT ? t->elements : s == FIRST_MOMENT ? t->grad_elements : t->second_elements;
    }
    b->data = lm_alloc_zero((size_t)b->count, sizeof(float));
    b->slots = lm_alloc((size_t)(SETS * t->params), sizeof *b->slots);
    if (!b->data || !b->slots) return lm_fail_memory(e, (double)b->count * 4, "the checkpoint");
    for (int s = 0; s < SETS; s++)
        for (int i = 0; i < t->params; i++) {
            const lm_param_info *p = lm_graph_param(g, i);
            const char *set = set_name(t, s, i);
            if (!set) continue;
            lm_slot *slot = &b->slots[b->slot_count++];
            *slot = t->slots[i];
            slot->offset = b->at[s] + (s < FIRST_MOMENT    ? p->offset
                                       : s == FIRST_MOMENT ? p->grad_offset
                                                           : t->rules[i].second);
            size_t n = strlen(p->name) + 16;
            char *name = lm_arena_alloc(&b->names, n);
            if (!name) return lm_fail_memory(e, (double)n, "the checkpoint");
            snprintf(name, n, "%s/%s", set, p->name);
            slot->name = name;
        }
    return LM_OK;
}

// Moves the four sets between the device and the block.
static lm_status state_transfer(lm_error *e, lm_trainer *t, state_block *b, bool to_device) {
    float *device[SETS] = {t->weights, t->average, t->moment1, t->moment2};
    const lm_backend *k = t->d->backend;
    for (int s = 0; s < SETS; s++) {
        size_t bytes = (size_t)((s + 1 < SETS ? b->at[s + 1] : b->count) - b->at[s]) * sizeof(float);
        float *host = b->data + b->at[s];
        LM_TRY(to_device ? k->upload(e, t->d, device[s], host, bytes) : k->download(e, t->d, host, device[s], bytes));
    }
    return LM_OK;
}

// Neither what is not finite nor an average that half precision can't hold could be read again: a run that has come to
// that ends here, and the checkpoint before it stays.
static lm_status check_state(lm_error *e, const lm_trainer *t, const state_block *b) {
    const float beyond_half = 65520; // rounds to infinity
    for (int i = 0; i < b->slot_count; i++) {
        const lm_slot *slot = &b->slots[i];
        float bound = slot->offset >= b->at[1] && slot->offset < b->at[2] ? beyond_half : INFINITY;
        int64_t n = 1;
        for (int k = 0; k < slot->rank; k++) n *= slot->dim[k];
        for (int64_t k = 0; k < n; k++)
            if (!(fabsf(b->data[slot->offset + k]) < bound))
                return lm_fail(e, LM_FAILED,
                               "step %lld: the training has diverged: %.100s holds %g; nothing was saved, an earlier "
                               "checkpoint stays; try a lower learning_rate",
                               (long long)t->step, slot->name, (double)b->data[slot->offset + k]);
    }
    return LM_OK;
}

static lm_status save_checkpoint(lm_error *e, lm_trainer *t, state_block *b) {
    char step[32], mean[48], seconds[48], skipped[32], in_row[32];
    snprintf(step, sizeof step, "%lld", (long long)t->step);
    snprintf(skipped, sizeof skipped, "%lld", (long long)t->skipped);
    snprintf(in_row, sizeof in_row, "%lld", (long long)t->skipped_in_row);
    lm_text_format(mean, sizeof mean, "%a", t->loss_mean);
    lm_text_format(seconds, sizeof seconds, "%a", t->seconds);
    char *config = lm_unet_config_json(&t->net), *path = lm_trainer_path(t, "checkpoint.safetensors");
    const char *keys[] = {"step", "skipped", "loss_mean", "seconds", "stage", "config", "skipped_in_row"};
    const char *values[] = {step, skipped, mean, seconds, t->cfg->stage, config, in_row};
    lm_status s = config && path ? state_transfer(e, t, b, false) : lm_fail_memory(e, 1e4, "the checkpoint");
    if (s == LM_OK) s = check_state(e, t, b);
    if (s == LM_OK) s = lm_weights_save(e, path, b->slots, b->slot_count, b->data, LM_ST_F32, keys, values, 7);
    if (s == LM_OK) t->saved = t->step;
    lm_free(config);
    lm_free(path);
    return s;
}

static lm_status write_text(lm_error *e, const char *path, const char *text) {
    lm_file_writer *w = NULL;
    lm_status s = lm_file_create(e, path, LM_MEDIA, &w);
    if (s == LM_OK) s = lm_file_append(e, w, text, strlen(text));
    if (s == LM_OK) return lm_file_commit(e, &w);
    lm_file_discard(&w);
    return s;
}

static lm_status save_average(lm_error *e, lm_trainer *t, const float *average) {
    char step[32];
    snprintf(step, sizeof step, "%lld", (long long)t->step);
    char *config = lm_unet_config_json(&t->net), *config_path = lm_trainer_path(t, "config.json");
    char *path = lm_trainer_path(t, "model.safetensors");
    lm_status s = config && path && config_path ? LM_OK : lm_fail_memory(e, 1e4, "the averaged weights");
    const char *keys[] = {"stage", "step"}, *values[] = {t->cfg->stage, step};
    if (s == LM_OK) s = lm_weights_save(e, path, t->slots, t->params, average, LM_ST_F16, keys, values, 2);
    if (s == LM_OK) s = write_text(e, config_path, config);
    lm_free(config);
    lm_free(config_path);
    lm_free(path);
    return s;
}

lm_status lm_trainer_save(lm_error *e, lm_trainer *t) {
    state_block b;
    lm_status s = state_create(e, t, &b);
    if (s == LM_OK) s = save_checkpoint(e, t, &b);
    if (s == LM_OK) s = save_average(e, t, b.data + b.at[1]);
    if (s == LM_OK && lm_trainer_is_style(t)) s = lm_trainer_save_style(e, t, b.data + b.at[1]);
    state_free(&b);
    return s;
}

static bool parse_count(const char *text, int64_t low, int64_t high, int64_t *out) {
    char *end;
    *out = strtoll(text, &end, 10);
    return *text && !*end && *out >= low && *out <= high;
}

static bool parse_number(const char *text, double *out) {
    char *end;
    *out = lm_text_number(text, &end);
    return *text && !*end && isfinite(*out);
}

// Each parameter must have been trained by what trains it now.
static lm_status check_optimiser(lm_error *e, const lm_trainer *t, const lm_safetensors *f, const char *path) {
    static const char *const found[] = {"momentum", "moment1"};
    for (int i = 0; i < t->params; i++) {
        const lm_param_info *p = lm_graph_param(t->graph, i);
        const bool muon = t->rules[i].muon;
        if (!p->trainable) continue;
        char *other = lm_format("%s/%s", found[muon], p->name);
        if (!other) return lm_fail_memory(e, 1e3, "the checkpoint");
        const bool wrong = lm_safetensors_find(f, other) != NULL;
        lm_free(other);
        if (wrong)
            return lm_fail(e, LM_USAGE,
                           "%s: %s (group %s) was trained by %s, the run file says %s; leave the optimizer as it was, "
                           "or start another run with init",
                           path, p->name, lm_unet_group_describe((lm_unet_group)p->group).name, muon ? "adamw" : "muon",
                           muon ? "muon" : "adamw");
    }
    return LM_OK;
}

static lm_status read_metadata(lm_error *e, lm_trainer *t, const char *path) {
    lm_safetensors *f = NULL;
    LM_TRY(lm_safetensors_open(e, path, &f));
    const char *keys[] = {"step", "skipped", "loss_mean", "seconds", "stage", "config"}, *values[6];
    lm_status s = LM_OK;
    for (int i = 0; i < 6 && s == LM_OK; i++) {
        values[i] = lm_safetensors_metadata(f, keys[i]);
        if (!values[i]) s = lm_fail(e, LM_MODEL, "%s is not a checkpoint: it has no \"%s\"", path, keys[i]);
    }
    const char *in_row = lm_safetensors_metadata(f, "skipped_in_row"); // checkpoints were written without it
    char *config = lm_unet_config_json(&t->net);
    if (s == LM_OK && !config) s = lm_fail_memory(e, 1e4, "the checkpoint");
    if (s == LM_OK && (strcmp(values[4], t->cfg->stage) || strcmp(values[5], config)))
        s = lm_fail(e, LM_MODEL, "%s belongs to another stage or network; give the run another folder", path);
    if (s == LM_OK &&
        !(parse_count(values[0], 1, UINT32_MAX, &t->step) && parse_count(values[1], 0, t->step, &t->skipped) &&
          parse_number(values[2], &t->loss_mean) && parse_number(values[3], &t->seconds) &&
          (!in_row || parse_count(in_row, 0, t->skipped, &t->skipped_in_row))))
        s = lm_fail(e, LM_MODEL, "%s is damaged: its step, skipped, loss_mean or seconds is not a number", path);
    if (s == LM_OK) s = check_optimiser(e, t, f, path);
    t->saved = t->step;
    lm_free(config);
    lm_safetensors_free(&f);
    return s;
}

lm_status lm_trainer_load(lm_error *e, lm_trainer *t) {
    char *path = lm_trainer_path(t, "checkpoint.safetensors");
    if (!path) return lm_fail_memory(e, 1e3, "the checkpoint");
    state_block b = {0};
    lm_status s = access(path, F_OK)
                      ? lm_fail(e, LM_MODEL, "there is no %s to go on from; start the run without --resume", path)
                      : read_metadata(e, t, path);
    if (s == LM_OK) s = state_create(e, t, &b);
    if (s == LM_OK) s = lm_weights_load(e, path, b.slots, b.slot_count, b.data);
    if (s == LM_OK) s = state_transfer(e, t, &b, true);
    state_free(&b);
    lm_free(path);
    return s;
}
