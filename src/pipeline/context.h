// What the public handles hold, and what the pipeline does with them.
#pragma once
#include "base/later.h"
#include "diffusion/multidiffusion.h"
#include "graph/plan.h"
#include "lumiere/lumiere.h"
#include "media/media.h"
#include "net/families/unet.h"
#include "net/network.h"
#include "net/text_encoder.h"
#include "pipeline/task_options.h"
#include "store/style_file.h"
#include "tasks/given.h"

#include <stdatomic.h>

struct json_t; // jansson.h

struct lumiere_context {
    lm_device *device; // NULL when it could not be opened
    int threads;
    lm_dtype compute; // LM_F32 or LM_BF16
    char precision[64];
    double flops_per_second; // of a convolution, measured when first asked for; 0: not yet
    lm_error error;          // of the last call
    void (*log)(void *user, lumiere_log_level level, const char *line);
    void *log_user;
};

struct lumiere_clip {
    lm_clip clip;        // RGB
    atomic_int borrowed; // holders beside the first: requests
};
lm_status lm_clip_read(lm_error *e, const char *path, const uint8_t background[3], double seconds, lumiere_clip **out);
lumiere_clip *lm_clip_hold(const lumiere_clip *clip); // the same clip, to be freed once more
void lm_held_clip_free(lumiere_clip **clip);
void lm_held_clip_hash(const lumiere_clip *clip, char out[17]); // lumiere_clip_hash

// A style that the model's weights have at present.
typedef struct applied_style {
    char *style; // as it was asked for
    char hash[LM_DIGEST_TEXT];
    double alpha;
} applied_style;

struct lumiere_model {
    lm_device *device; // that of the context it was opened in, held
    lm_dtype compute;
    lumiere_context own; // device, threads and precision as a context, without a hold of its own
    lm_model_folder *folder;
    lm_text_encoder *text;
    lm_network *base;
    lm_unet_config config; // base's
    lm_weights *weights;   // base's at present, with the model's styles
    char hash[17];         // "" until lm_model_hash
    lm_later *hashing;     // on its way into hash
    struct upscaler *ssr;  // upscale.h; NULL when the model has no such part
    applied_style styles[LM_MOST_STYLES];
    int style_count;
    uint64_t styles_of; // the request that they are those of; 0: none
};

// A run's options with the model's defaults filled in, checked.
typedef struct request {
    const char *prompt, *negative;
    uint64_t seed;
    uint32_t clip;
    int frames, width, height; // as asked for
    int run_frames, run_width, run_height;
    double fps;
    int steps;
    double cfg_scale;
    lm_sampler_kind sampler;
    double dynamic_threshold;
    bool loop;
    int sample_frames;  // of the clip that is sampled: run_frames, frames when it is a ring, more for a long clip
    lm_windows windows; // of the network in a long clip; one that is the clip otherwise
    int overlap;        // frames that these share at least
} request;

// A task made ready: all its defaults filled in, its input fitted.
typedef struct task {
    const lm_task_options *o;
    request r;
    lm_given_options given_options; // zeros when o->input is NULL
    lm_given given;                 // empty until lm_task_fit; and for text to video
    bool enlarges;                  // the model's super-resolution network follows
    double strength;                // noise level of the input that sampling starts from; 1: from noise alone
    double refine;                  // text to video in two passes: that of the second one's start; 0: one pass
} task;
lm_status lm_task_resolve(lm_error *e, const lumiere_model *m, const lm_task_options *o, task *out);
void lm_task_fill_given(task *t); // given_options, from the input and the resolved shape
lm_status lm_task_fit(lm_error *e, task *t);
void lm_task_free(task *t);
int lm_task_steps(const task *t);              // that are computed: fewer than r.steps below strength 1
bool lm_task_starts_from_input(const task *t); // made noisy

lm_status lm_context_device(lm_error *e, const lumiere_context *c); // LM_USAGE when the context has none

// loaded: with the weights of the text encoder and the base network. LM_MODEL: missing or wrong.
lm_status lm_model_open(lm_error *e, const lumiere_context *c, const char *folder, bool loaded, lumiere_model **out);
void lm_model_free(lumiere_model **m);
double lm_model_default(const lumiere_model *m, const char *key); // lumiere_model_default
// Loads the weights of the text encoder and the base network, unless they are.
lm_status lm_model_load(lm_error *e, lumiere_model *m);
// Waits for the hash of the model's files, m->hash.
lm_status lm_model_hash(lm_error *e, const lumiere_model *m);

// Sets the model's styles in place of those it had; count 0: none, and its weights are again the original ones, bit for
// bit. LM_MODEL: a style for another base network, or a damaged one; LM_USAGE: an unknown name, an alpha outside 0
// to 1. The model stays as it was when this fails.
lm_status lm_model_set_styles(lm_error *e, lumiere_model *m, const lm_style_asked *styles, int count);
// Adds "styles" where the model has any.
lm_status lm_styles_describe(lm_error *e, const lumiere_model *m, struct json_t *recipe);
void lm_styles_clear(lumiere_model *m); // the list, not the weights

lm_status lm_request_resolve(lm_error *e, const lumiere_model *m, const lm_generate_options *o, request *out);
void lm_request_resize(const lumiere_model *m, request *r, int width, int height); // the same of another size
int lm_evaluations_per_step(const request *r);                                     // of the network: 2 with guidance

lm_net_use lm_base_use(const lumiere_model *m, const request *r); // of the base network
// Whether it fits, without its plan; and its plan. LM_MEMORY names a size or number of frames that fits.
lm_status lm_base_check(lm_error *e, lumiere_model *m, const request *r);
lm_status lm_base_prepare(lm_error *e, lumiere_model *m, const request *r);
lm_status lm_base_cost(lm_error *e, lumiere_model *m, const request *r, lm_net_cost *out);
// Bytes of a run beside the plan's: the sampler's clips and the frames.
uint64_t lm_run_buffer_bytes(const lumiere_model *m, int frames, int width, int height);
uint64_t lm_task_buffer_bytes(const lumiere_model *m, const task *t); // all of a task's
// LM_MEMORY, naming a number of frames that fits, when the buffers beside the plan don't.
lm_status lm_task_check_buffers(lm_error *e, const lumiere_model *m, const task *t);

// LM_USAGE when a text is no UTF-8. lost_words: those past the encoder's tokens.
lm_status lm_prompt_check(lm_error *e, const lumiere_model *m, const char *text, char *lost_words, size_t size);

// Adds the members of the recipe that tell a task from text to video. false: no memory.
bool lm_task_describe(const task *t, struct json_t *recipe);
// Adds what a given clip is known by: the digest of its file as 64 hex digits, or 16 of its frames; key_of says which.
bool lm_describe_clip(struct json_t *recipe, const char *key, const lumiere_clip *clip, const char *digest);
// Of networks that take so many operations. NaN for a model that is not loaded while the machine was not measured.
lm_status lm_estimate_seconds(lm_error *e, lumiere_context *c, const lumiere_model *m, double flops, double *out);
// As lm_measure_speed, measured once.
lm_status lm_context_speed(lm_error *e, lumiere_context *c, double *out);

// What a network is told of a text; zeros before it is encoded.
typedef struct text_input {
    float *states, *mask; // [text_tokens, text_width], [text_tokens]
} text_input;
lm_status lm_text_input_encode(lm_error *e, lm_text_encoder *encoder, const char *text, text_input *out);
void lm_text_input_free(text_input *t);
