// The training loop: batches, loss, optimiser, moving average, validation, checkpoints.
#pragma once
#include "device/device.h"
#include "net/families/unet.h"
#include "train/run_config.h"

typedef struct lm_trainer lm_trainer;

typedef struct lm_trainer_options {
    lm_dtype precision; // LM_F32 or LM_BF16 (activations; weights and optimiser stay fp32)
    bool resume;        // from the checkpoint in the run's folder, which must exist
    void (*log)(void *user, const char *line);
    // After every step; false ends the run with a checkpoint and LM_CANCELLED.
    bool (*progress)(void *user, int64_t step, int64_t steps, double loss, double seconds_left);
    void *user;
    bool dry_run; // sets everything up, logs what would be done, times some steps, writes nothing
} lm_trainer_options;

// Runs to cfg->steps. Leaves in cfg->out: checkpoint.safetensors (everything, fp32), model.safetensors and config.json
// (the averaged weights in half precision: a model part), metrics.csv, sample-STEP.png. A step whose loss or gradient
// is not finite, or whose loss is an outlier, is skipped and logged. LM_FAILED: 20 such steps in a row, none but such
// steps, or weights that are not finite when they should be saved; the checkpoint before stays. LM_MEDIA, also: another
// training has the folder.
lm_status lm_train(lm_error *e, lm_device *d, const lm_run_config *cfg, const lm_trainer_options *o);
