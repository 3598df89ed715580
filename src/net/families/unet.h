// The text-to-image U-Net, its space-time inflation, and the super-resolution network: one configuration, one builder.
// Sources: Lumiere (arXiv 2401.12945), Imagen (arXiv 2205.11487). Weight names and shapes are in docs/model-format.md.
#pragma once
#include "net/families/family.h"

enum {
    LM_MAX_LEVELS = 8,
    LM_TEXT_TOKENS = 32, // of the default configuration
};

typedef struct lm_unet_config {
    int in_channels, cond_channels, out_channels; // cond: 4 = masked RGB + mask (Lumiere), 3 = upsampled low-res RGB
    int patch;                                    // space-to-depth factor of the stem
    int levels, channels[LM_MAX_LEVELS];
    int res_blocks;
    bool attention[LM_MAX_LEVELS];
    int head_dim, groups, text_width, embed_width;
    bool noise_level_cond;
    bool moment_cond;   // image layers are told where in the clip a frame stands
    int residual_scale; // super-resolution: what is diffused is this times the clip's difference to cond; else 0
    bool video, temporal_down[LM_MAX_LEVELS];
    int temporal_attention_blocks, max_frames;
    int text_tokens;      // of a prompt
    double norm_eps;      // of all normalisations
    double fourier_scale; // of diffusion times, noise levels and moments before their sinusoids
} lm_unet_config;

lm_unet_config lm_unet_config_default(void);  // the image model of the default configuration
lm_unet_config lm_unet_config_ssr(void);      // super-resolution's: 16 frames, fourfold
bool lm_unet_is_ssr(const lm_unet_config *c); // a super-resolution network, of this shape or another
// config.json: unknown keys, wrong types and impossible values are LM_MODEL errors naming the key and what would be
// right.
lm_status lm_unet_config_read(lm_error *e, const char *path, lm_unet_config *out);
lm_status lm_unet_config_parse(lm_error *e, const char *name, const char *json, size_t size, lm_unet_config *out);
char *lm_unet_config_json(const lm_unet_config *c); // free with lm_free; NULL when memory is short
lm_status lm_unet_config_check(lm_error *e, const lm_unet_config *c);
// What every width, height (and frame count, when video) must be a multiple of.
int lm_unet_size_multiple(const lm_unet_config *c);
int lm_unet_frame_multiple(const lm_unet_config *c);

#define LM_MOMENT_UNKNOWN 2.0f // of a still

typedef struct lm_unet {
    lm_tensor x;           // [B,T,H,W,in] F32: noisy clip in [-1,1] units
    lm_tensor cond;        // [B,T,H,W,cond] F32, or LM_NONE
    lm_tensor t;           // [B] F32: diffusion time in [0,1]
    lm_tensor text, mask;  // [B,L,E] F32 token states, [B,L] F32: 1 = real token
    lm_tensor noise_level; // [B] F32, or LM_NONE
    lm_tensor moment;      // [B,T] F32: a frame's place in its clip, 0 to 1, or LM_MOMENT_UNKNOWN; or LM_NONE
    lm_tensor v;           // [B,T,H,W,out] F32: v prediction, marked as an output
} lm_unet;
// As a family: inputs and output are the tensors above by name.
extern const lm_family lm_unet_family;
lm_unet lm_unet_build(lm_graph *g, const lm_unet_config *c, int64_t clips, int64_t frames, int64_t height,
                      int64_t width, int64_t tokens);

// What a parameter is to the optimiser (lm_param_info.group).
typedef enum lm_unet_group {
    LM_UNET_VECTORS,
    LM_UNET_ENDS,
    LM_UNET_CONVOLUTIONS,
    LM_UNET_ATTENTION,
    LM_UNET_CONDITIONS,
    LM_UNET_PROJECTIONS,
    LM_UNET_TEMPORAL,
    LM_UNET_POSITIONS,
    LM_UNET_GROUPS
} lm_unet_group;
typedef struct lm_unet_group_info {
    const char *name, *holds;
    bool matrices; // may be trained by Muon
    bool muon;     // is, where Muon is asked for without naming groups
} lm_unet_group_info;
lm_unet_group_info lm_unet_group_describe(lm_unet_group group);

// A parameter that inflation adds (trained with the image weights frozen): name contains "temporal" or begins with
// "cond_in".
bool lm_unet_is_inflation(const char *name);
// A parameter of the moments' embedding; born, it changes nothing. Its name begins with "moment_mlp".
bool lm_unet_is_moment(const char *name);
