// A network's part of a model folder: config.json and model.safetensors.
#pragma once
#include "device/device.h"
#include "model/unet.h"

// LM_MODEL when the file is missing or wrong, or text_width is not the text encoder's.
lm_status part_config(lm_error *e, const char *folder, int text_width, lm_unet_config *out);
// The weights on the device: free with its backend's release_memory, also after a failure.
lm_status part_weights(lm_error *e, lm_device *d, const char *folder, const lm_unet_config *c, float **weights,
                       int64_t *count);
