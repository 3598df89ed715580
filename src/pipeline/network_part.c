#include "pipeline/network_part.h"

#include "base/memory.h"
#include "model/slots.h"
#include "model/text_encoder.h"

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

static lm_status load(lm_error *e, const char *path, const lm_unet_config *c, part_block *b) {
    LM_TRY(smallest_graph(e, c, &b->graph));
    b->count = lm_graph_param_count(b->graph);
    size_t bytes = (size_t)b->count * sizeof(float);
    b->data = lm_alloc_aligned(bytes);
    if (!b->data) return lm_fail_memory(e, (double)bytes, "the weights");
    memset(b->data, 0, bytes); // what lies between parameters too
    b->slot_count = lm_graph_params(b->graph);
    LM_TRY(lm_graph_slots(e, b->graph, &b->slots));
    return lm_weights_load(e, path, b->slots, b->slot_count, b->data);
}

lm_status part_block_load(lm_error *e, const char *folder, const lm_unet_config *c, part_block *out) {
    *out = (part_block){0};
    char *path = lm_format("%s/model.safetensors", folder);
    lm_status status = path ? load(e, path, c, out) : lm_fail_memory(e, 4096, "a path");
    lm_free(path);
    return status;
}

void part_block_free(part_block *b) {
    lm_free(b->slots);
    lm_free(b->data);
    lm_graph_free(&b->graph);
}

lm_status part_weights(lm_error *e, lm_device *d, const char *folder, const lm_unet_config *c, float **weights,
                       int64_t *count) {
    part_block b;
    lm_status status = part_block_load(e, folder, c, &b);
    size_t bytes = (size_t)b.count * sizeof(float);
    *count = b.count;
    if (status == LM_OK) status = d->backend->alloc(e, d, bytes, (void **)weights);
    if (status == LM_OK) status = d->backend->upload(e, d, *weights, b.data, bytes);
    part_block_free(&b);
    return status;
}
