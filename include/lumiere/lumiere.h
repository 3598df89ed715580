// Lumiere: text to video by space-time diffusion. The whole public interface (C11, callable from C++).
//
// Functions that can fail return a lumiere_status; lumiere_error_message gives the reason in one line, in English, with
// what would be right. A context may be used by one thread at a time; several contexts are independent.
#ifndef LUMIERE_H
#define LUMIERE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LUMIERE_API __attribute__((visibility("default")))
#else
#define LUMIERE_API
#endif

// Negated: the command's exit code, but for LUMIERE_CANCELLED (130).
typedef enum lumiere_status {
    LUMIERE_OK = 0,
    LUMIERE_FAILED = -1,
    LUMIERE_USAGE = -2,
    LUMIERE_MODEL = -3,
    LUMIERE_MEMORY = -4,
    LUMIERE_MEDIA = -5,
    LUMIERE_CANCELLED = -6,
} lumiere_status;

typedef struct lumiere_context lumiere_context; // device, settings, last error
typedef struct lumiere_model lumiere_model;     // weights in memory
typedef struct lumiere_clip lumiere_clip;       // frames

LUMIERE_API const char *lumiere_version(void); // "0.1.0"

typedef struct lumiere_context_options {
    const char *device;    // "cpu" (default when NULL), "reference"
    const char *precision; // "auto" (default when NULL), "fp32", "bf16"
    int threads;           // 0: all processors this process may use
} lumiere_context_options;
// options may be NULL. On failure *out is still a context, good for its message; NULL only when memory is short.
LUMIERE_API lumiere_status lumiere_context_create(const lumiere_context_options *options, lumiere_context **out);
LUMIERE_API void lumiere_context_free(lumiere_context **c);
LUMIERE_API const char *lumiere_error_message(const lumiere_context *c); // "" when the last call succeeded
LUMIERE_API const char *
lumiere_device_summary(const lumiere_context *c); // one line: processor, instructions, threads, libraries
LUMIERE_API const char *
lumiere_precision(const lumiere_context *c); // what "auto" chose, and whether bf16 is only storage

LUMIERE_API lumiere_status lumiere_model_open(lumiere_context *c, const char *folder, lumiere_model **out);
LUMIERE_API void lumiere_model_free(lumiere_model **m);
LUMIERE_API const char *lumiere_model_name(const lumiere_model *m);
LUMIERE_API const char *lumiere_model_hash(const lumiere_model *m); // 16 hex digits

typedef enum lumiere_sampler { LUMIERE_DPMPP_2M, LUMIERE_DDIM } lumiere_sampler;

// Called after every step. fraction in [0,1]; seconds_left is an estimate (negative while unknown). preview is the clip
// as predicted so far, valid during the call, only made when preview_every is set and due, otherwise NULL. Return false
// to stop: the call then ends with LUMIERE_CANCELLED.
typedef bool (*lumiere_progress)(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview);

// Zero means "the model's default" for every number but seed, and for strings NULL does.
typedef struct lumiere_generate_options {
    const char *prompt, *negative_prompt; // UTF-8
    uint64_t seed;
    uint32_t clip;             // which clip of a batch: noise is keyed by (seed, clip, frame, step)
    int frames, width, height; // 1 to 80 frames; any size (computed at the next multiple of 8, then cropped)
    double fps;
    int steps;
    double cfg_scale;   // classifier-free guidance; 1 turns it off
    bool cfg_scale_set; // so that 0 can be asked for
    lumiere_sampler sampler;
    bool sampler_set;
    double dynamic_threshold; // percentile in (0,1) of Imagen's dynamic thresholding; 0: clamp to [-1,1]
    int preview_every;        // steps between previews; 0: none
    lumiere_progress progress;
    void *user;
} lumiere_generate_options;

typedef struct lumiere_estimate {
    uint64_t bytes; // beyond the weights
    double flops;
    double seconds;                   // from a short measurement of this machine
    int steps, frames, width, height; // as they will be, defaults filled in
    double cfg_scale, fps;
    lumiere_sampler sampler;
    char lost_words[256]; // the words of the prompt that fall past the encoder's 32 tokens; "" when none do
} lumiere_estimate;
// Checks everything that can be checked before a run. LUMIERE_MEMORY names a setting that fits.
LUMIERE_API lumiere_status lumiere_estimate_generate(lumiere_context *c, lumiere_model *m,
                                                     const lumiere_generate_options *o, lumiere_estimate *out);
LUMIERE_API lumiere_status lumiere_generate(lumiere_context *c, lumiere_model *m, const lumiere_generate_options *o,
                                            lumiere_clip **out);
// The recipe of such a run, a compact JSON object: prompt, seed, settings, model name and hash, version, precision.
// extra: further members as a JSON object, or NULL. Free with lumiere_string_free.
LUMIERE_API lumiere_status lumiere_generate_recipe(lumiere_context *c, lumiere_model *m,
                                                   const lumiere_generate_options *o, const char *extra, char **json);
LUMIERE_API void lumiere_string_free(char **s);

LUMIERE_API void lumiere_clip_free(lumiere_clip **clip);
LUMIERE_API int lumiere_clip_frames(const lumiere_clip *clip);
LUMIERE_API int lumiere_clip_width(const lumiere_clip *clip);
LUMIERE_API int lumiere_clip_height(const lumiere_clip *clip);
LUMIERE_API double lumiere_clip_fps(const lumiere_clip *clip);
LUMIERE_API const uint8_t *lumiere_clip_data(const lumiere_clip *clip); // frames x height x width x 3, RGB

// Files by their ending: .mp4 .webm .gif .png .apng .webp .npy, or a folder of PNG frames (path ends in '/').
LUMIERE_API lumiere_status lumiere_clip_read(lumiere_context *c, const char *path, lumiere_clip **out);
LUMIERE_API lumiere_status lumiere_clip_write(lumiere_context *c, const lumiere_clip *clip, const char *path,
                                              const char *recipe);
LUMIERE_API lumiere_status lumiere_output_check(lumiere_context *c, const char *path); // asked before a long run
LUMIERE_API lumiere_status lumiere_recipe_read(lumiere_context *c, const char *path, char **json); // *json NULL: none
// What a path holds, as a compact JSON object whose "kind" is "model" (a model folder: name, licence, parts), "weights"
// (a .safetensors file: tensors, metadata) or "clip" (frames, size, rate, recipe). Free with lumiere_string_free.
LUMIERE_API lumiere_status lumiere_describe(lumiere_context *c, const char *path, char **json);

// Training. run: a YAML file, see docs/training.md; set: "key=value" overrides. resume: go on from the checkpoint of
// the run's folder. log receives one line of text at a time, without a newline.
typedef struct lumiere_train_options {
    const char *run;
    const char *const *set;
    int set_count;
    bool resume;
    void (*log)(void *user, const char *line);
    // After every step; return false to write a checkpoint and stop (LUMIERE_CANCELLED).
    bool (*progress)(void *user, int64_t step, int64_t steps, double loss, double seconds_left);
    void *user;
} lumiere_train_options;
LUMIERE_API lumiere_status lumiere_train(lumiere_context *c, const lumiere_train_options *o);

// Benchmark of one row of a model's work, as text on out (a C stream) or JSON.
typedef struct lumiere_bench_options {
    const char *rows; // "forward,image,video"
    int repeat;
    bool json, nodes; // nodes: a line a node
    bool trace_plan;  // the memory plan as well: a line a node with its operands' shapes and places
} lumiere_bench_options;
LUMIERE_API lumiere_status lumiere_bench(lumiere_context *c, const lumiere_bench_options *o,
                                         void (*line)(void *user, const char *text), void *user);

// Checks of the installation and of a model folder: a line each through line(user, ok, text). model may be NULL.
LUMIERE_API lumiere_status lumiere_doctor(lumiere_context *c, const char *model,
                                          void (*line)(void *user, bool ok, const char *text), void *user);

#ifdef __cplusplus
}
#endif
#endif
