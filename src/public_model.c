// A model in memory: its folder, the text encoder, and the base network's weights on the device.
#include "context.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

// A graph of the smallest shape, for its list of parameters.
static lm_status smallest_graph(lm_error *e, const lm_unet_config *c, lm_graph **out) {
    *out = lm_graph_create(LM_F32);
    if (!*out) return lm_fail_memory(e, 4096, "the network");
    int side = lm_unet_size_multiple(c), frames = c->video ? lm_unet_frame_multiple(c) : 1;
    lm_unet_build(*out, c, 1, frames, side, side, LM_TEXT_TOKENS);
    return lm_graph_status(*out, e);
}

static lm_status fill_slots(lm_error *e, const lm_graph *g, lm_slot **out) {
    int n = lm_graph_params(g);
    lm_slot *slots = *out = lm_alloc_zero((size_t)n, sizeof *slots);
    if (!slots) return lm_fail_memory(e, (double)n * sizeof *slots, "the list of weights");
    for (int i = 0; i < n; i++) {
        const lm_param_info *p = lm_graph_param(g, i);
        slots[i] = (lm_slot){.name = p->name, .rank = p->desc.rank, .offset = p->offset};
        memcpy(slots[i].dim, p->desc.dim, sizeof p->desc.dim);
    }
    return LM_OK;
}

// Reads the file into memory of this process and from there to the device.
static lm_status load_weights(lm_error *e, lumiere_model *m, const lm_graph *g, const char *path) {
    lm_slot *slots = NULL;
    m->weight_count = lm_graph_param_count(g);
    size_t bytes = (size_t)m->weight_count * sizeof(float);
    float *block = lm_alloc_aligned(bytes);
    lm_status status = block ? fill_slots(e, g, &slots) : lm_fail_memory(e, (double)bytes, "the weights");
    if (status == LM_OK) status = lm_weights_load(e, path, slots, lm_graph_params(g), block);
    const lm_backend *b = m->device->backend;
    if (status == LM_OK) status = b->alloc(e, m->device, bytes, (void **)&m->weights);
    if (status == LM_OK) status = b->upload(e, m->device, m->weights, block, bytes);
    lm_free(slots);
    lm_free(block);
    return status;
}

static lm_status load_part(lm_error *e, lumiere_model *m, const char *folder) {
    char *config = lm_format("%s/config.json", folder), *weights = lm_format("%s/model.safetensors", folder);
    lm_graph *g = NULL;
    lm_status status = config && weights ? LM_OK : lm_fail_memory(e, 4096, "a path");
    if (status == LM_OK) status = lm_unet_config_read(e, config, &m->config);
    if (status == LM_OK && (m->config.noise_level_cond || m->config.in_channels != 3 || m->config.out_channels != 3))
        status = lm_fail(e, LM_MODEL,
                         "%s is not a base network: 3 channels in and out and no noise_level_cond are needed", config);
    if (status == LM_OK && m->config.text_width != lm_text_encoder_width(m->text))
        status = lm_fail(e, LM_MODEL, "%s: text_width is %d, but the text encoder's width is %d", config,
                         m->config.text_width, lm_text_encoder_width(m->text));
    if (status == LM_OK) status = smallest_graph(e, &m->config, &g);
    if (status == LM_OK) status = load_weights(e, m, g, weights);
    lm_graph_free(&g);
    lm_free(config);
    lm_free(weights);
    return status;
}

static lm_status required_part(lm_error *e, const lm_model_folder *f, const char *name, const char **out) {
    *out = lm_model_folder_part(f, name);
    return *out ? LM_OK : lm_fail(e, LM_MODEL, "%s/model.json names no part \"%s\"", lm_model_folder_path(f), name);
}

static lm_status open_model(lm_error *e, lumiere_context *c, const char *folder, lumiere_model *m) {
    LM_TRY(api_device(e, c));
    m->device = c->device;
    m->compute = c->compute;
    LM_TRY(lm_model_folder_open(e, folder, &m->folder));
    const char *text, *base;
    LM_TRY(required_part(e, m->folder, "text", &text));
    LM_TRY(required_part(e, m->folder, "base", &base));
    LM_TRY(lm_text_encoder_open(e, m->device, text, &m->text));
    LM_TRY(load_part(e, m, base));
    return lm_model_folder_hash(e, m->folder, m->hash);
}

lumiere_status lumiere_model_open(lumiere_context *c, const char *folder, lumiere_model **out) {
    lm_error e = {0};
    lumiere_model *m = *out = lm_alloc_zero(1, sizeof *m);
    lm_status status = m ? open_model(&e, c, folder, m) : lm_fail_memory(&e, sizeof *m, "a model");
    if (status != LM_OK) lumiere_model_free(out);
    return api_done(c, status, &e);
}

void lumiere_model_free(lumiere_model **model) {
    lumiere_model *m = *model;
    if (!m) return;
    video_plan_free(&m->plan);
    if (m->weights) m->device->backend->release_memory(m->device, m->weights);
    lm_text_encoder_free(&m->text);
    lm_model_folder_free(&m->folder);
    lm_free(m);
    *model = NULL;
}

const char *lumiere_model_name(const lumiere_model *m) {
    return lm_model_folder_name(m->folder);
}

const char *lumiere_model_hash(const lumiere_model *m) {
    return m->hash;
}
