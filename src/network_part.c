#include "network_part.h"

#include "base/memory.h"
#include "model/text_encoder.h"
#include "store/model_folder.h"

#include <string.h>

lm_status part_config(lm_error *e, const char *folder, int text_width, lm_unet_config *out) {
    char *path = lm_format("%s/config.json", folder);
    if (!path) return lm_fail_memory(e, 4096, "a path");
    lm_status status = lm_unet_config_read(e, path, out);
    if (status == LM_OK && out->text_width != text_width)
        status = lm_fail(e, LM_MODEL, "%s: text_width is %d, but the text encoder's width is %d", path, out->text_width,
                         text_width);
    lm_free(path);
    return status;
}

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
static lm_status load(lm_error *e, lm_device *d, const char *path, const lm_graph *g, float **weights, int64_t *count) {
    lm_slot *slots = NULL;
    *count = lm_graph_param_count(g);
    size_t bytes = (size_t)*count * sizeof(float);
    float *block = lm_alloc_aligned(bytes);
    lm_status status = block ? fill_slots(e, g, &slots) : lm_fail_memory(e, (double)bytes, "the weights");
    if (status == LM_OK) status = lm_weights_load(e, path, slots, lm_graph_params(g), block);
    if (status == LM_OK) status = d->backend->alloc(e, d, bytes, (void **)weights);
    if (status == LM_OK) status = d->backend->upload(e, d, *weights, block, bytes);
    lm_free(slots);
    lm_free(block);
    return status;
}

lm_status part_weights(lm_error *e, lm_device *d, const char *folder, const lm_unet_config *c, float **weights,
                       int64_t *count) {
    char *path = lm_format("%s/model.safetensors", folder);
    lm_graph *g = NULL;
    lm_status status = path ? smallest_graph(e, c, &g) : lm_fail_memory(e, 4096, "a path");
    if (status == LM_OK) status = load(e, d, path, g, weights, count);
    lm_graph_free(&g);
    lm_free(path);
    return status;
}
