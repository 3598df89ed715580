// What a run is asked for, as the pipeline takes it. A request fills these from its settings (api/request_options.c).
#pragma once
#include "lumiere/lumiere.h"
#include "settings/settings.h"
#include "tasks/given.h"

// Whether a clip is made four times larger by the model's super-resolution network.
typedef enum lm_enlargement {
    LM_ENLARGE_DEFAULT, // text to video is, where the model has one; tasks on a given input are not
    LM_ENLARGE,
    LM_ENLARGE_NOT,
} lm_enlargement;

// Zero means "the model's default" for every number but seed, and for strings NULL does.
typedef struct lm_generate_options {
    const lm_settings *settings; // all that was asked, for the stages that read it there; NULL: nothing
    const char *prompt, *negative_prompt;
    uint64_t seed;
    uint32_t clip;
    int frames, width, height;
    double fps;
    int steps;
    double cfg_scale;
    bool cfg_scale_set; // so that 0 can be asked for
    lm_sampler_kind sampler;
    bool sampler_set;
    double dynamic_threshold;
    int preview_every; // steps between previews; 0: none
    lumiere_progress progress;
    void *user; // of both callbacks
    int overlap;
    bool overlap_set;
    lm_enlargement enlarge;
    bool loop;
    double refine; // unless set or above 0 the model's, for clips of 64 pixels a side or more
    bool refine_set;
    bool (*base)(void *user, const lumiere_clip *clip); // lumiere_request_on_base
} lm_generate_options;

typedef struct lm_sides {
    int left, top, right, bottom;
} lm_sides;

typedef struct lm_task_options {
    // frames 0: as many as the input lasts for, at most the model's; the model's for a picture. width and height 0: the
    // model's; of the same area in the input's proportions for outpainting.
    lm_generate_options generate;
    lm_task_kind task; // but stylize and upscale
    const lumiere_clip *input, *mask;
    const char *input_digest, *mask_digest; // SHA-256 of the files they were read from; "" or NULL: of none
    const lm_box *box;                      // in place of a mask, in pixels of the input
    lm_sides pad;                           // outpaint: pixels of the input
    double feather;
    double strength; // for edit, animate and cinemagraph
    bool strength_set;
    lm_fit_kind fit;
    bool fit_set; // a mask is fitted too, and may have another size and length than the input
    bool no_composite;
    bool background_given; // otherwise white
    uint8_t background[3]; // RGB
} lm_task_options;

typedef struct lm_upscale_options {
    const lm_settings *settings; // as above
    const char *prompt;          // NULL: nothing is said
    uint64_t seed;
    uint32_t clip;
    int steps;
    double noise_level;
    bool noise_level_set;
    int window, overlap; // frames
    bool overlap_set;
    int tile, tile_overlap; // pixels of the output
    bool tile_overlap_set;
    int preview_every;
    lumiere_progress progress;
    void *user;
    double fps;               // of what is made
    const char *input_digest; // as above
} lm_upscale_options;

enum { LM_MOST_STYLES = 8 };
typedef struct lm_style_asked {
    const char *style; // one of the model's own by name, or a style file (its path holds a '/' or ends in .safetensors)
    double alpha;
    const char *hash; // 16 hex digits that the file must have, or NULL
} lm_style_asked;
