// A network's part of a model folder: config.json and model.safetensors.
#pragma once
#include "device/device.h"
#include "model/unet.h"
#include "store/model_folder.h"

// LM_MODEL when the file is missing or wrong, or text_width is not the text encoder's.
lm_status part_config(lm_error *e, const char *folder, int text_width, lm_unet_config *out);
// The weights in memory of this process, with where each stands in the block.
typedef struct part_block {
    lm_graph *graph; // holds the slots' names
    lm_slot *slots;
    int slot_count;
    float *data;
    int64_t count; // floats
} part_block;
lm_status part_block_load(lm_error *e, const char *folder, const lm_unet_config *c, part_block *out);
void part_block_free(part_block *b); // also after a failure
// The weights on the device: free with its backend's release_memory, also after a failure.
lm_status part_weights(lm_error *e, lm_device *d, const char *folder, const lm_unet_config *c, float **weights,
                       int64_t *count);
