// A training run's settings: RUN.yaml and key=value overrides. docs/training.md describes each key.
#pragma once
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LM_RUN_LIST = 64 };

typedef struct lm_run_list {
    char *at[LM_RUN_LIST];
    int count;
} lm_run_list;

typedef struct lm_run_config {
    char *stage;      // "image", "video", "ssr" or "style"
    lm_run_list data; // tar shards or folders
    char *text;       // folder of the text encoder
    char *out;        // folder of the run: checkpoint, weights, metrics.csv, sample sheets
    char *init;       // folder with config.json and model.safetensors to start from; video: image weights are inflated
    char *inflation;  // video: folder whose inflation goes around init's image layers; "" = init's, or a newborn one
    char *config;     // config.json of a network born anew; "" = the default configuration
    char *style;      // stills of this drawing style
    char *style_name, *style_licence; // style: of the style file; name "" = style
    int64_t style_rank;               // style: of the differences in it; 0: 8-bit rows
    int64_t size, frames;             // pixels of a side; frames of a clip (video, ssr)
    int64_t crop;                     // pixels of the squares cut out (ssr)
    int64_t batch, steps, warmup;
    double learning_rate, cooldown; // cooldown: share of the steps at whose end the rate falls to 0
    double weight_decay, beta1, beta2, eps;
    char *optimizer; // "adamw" or "muon"
    double muon_rate, muon_momentum, muon_decay;
    int64_t muon_steps; // 5: as published; 4: quicker
    int64_t muon_parts; // stacked matrices one by one: 0 none, 1 pairs, 2 all
    lm_run_list groups; // "GROUP OPTIMIZER [RATE]"
    double clip;        // bound of the gradient's norm
    double average;     // largest decay of the moving average
    double outlier;     // a loss this many times its running mean is skipped
    double caption_dropout, motion_share, motion_caption_share, moment_share, wording_share, caption_share, plain_share,
        condition_share, time_shift, color_share;
    int64_t seed;
    double checkpoint_minutes;
    int64_t checkpoint_steps; // 0: by the clock only
    int64_t log_every, validate_every, validation_clips;
    int64_t explain_every;              // 0: explained variance isn't measured
    int64_t sample_every, sample_steps; // 0: no sample sheets
    double sample_cfg_scale;
    lm_run_list sample_prompts;
} lm_run_config;

// Reads path and applies overrides ("key=value") in order. Relative paths stay relative to the working folder.
// LM_USAGE: unknown key, wrong type or value (with line and column), a missing one. Free also after a failure.
lm_status lm_run_config_read(lm_error *e, const char *path, const char *const *overrides, int count,
                             lm_run_config *out);
lm_status lm_run_config_parse(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_run_config *out);
void lm_run_config_free(lm_run_config *c);
// By what and how fast the parameters of a group (lm_unet_group) are trained.
typedef struct lm_group_rule {
    bool muon;
    double rate; // after the warm-up
} lm_group_rule;
// The rules that optimizer and groups ask for, one for each of LM_UNET_GROUPS. name: of the run file, for messages.
lm_status lm_run_config_rules(lm_error *e, const char *name, const lm_run_config *c, lm_group_rule *out);
const char *lm_run_config_style_name(const lm_run_config *c);
// A key's name, type, default and meaning, for documentation: NULL past the last.
const char *lm_run_config_describe(int index, const char **type, const char **meaning);
