// Lumiere: text to video by space-time diffusion. The whole public interface (C11, callable from C++).
//
// Functions that can fail return a lumiere_status; lumiere_error_message gives the reason in one line, in English, with
// what would be right. Status and message belong to the context that the call was given, or the request
// (lumiere_request_error).
//
// Lifetimes. Nothing must outlive anything: handles are freed in any order, on any thread, but not while a call uses
// them. A model keeps the device of the context it was opened in, so that this context may be freed first; a request
// keeps the clips it is given; a clip, a string and measures depend on nothing. What else a call is given (options,
// texts, other handles) is only read until it returns. What a function returns to be read (a name, a hash, pixels, a
// summary) lives as long as its handle.
//
// Threads. A context has a device: a pool of so many threads as it was created with, the caller's own among them, which
// sleep between calls and end when the context and all models opened in it are freed. Any thread may call, but calls
// must not run at the same time that are given the same context or request, or models that were opened in the same
// context. All others may: contexts share nothing, and each computes with all of its own threads. Any number of calls
// may read a clip at the same time. Functions that return no status and free nothing only read their handle and may be
// called at any time, but for lumiere_error_message and those of a request.
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

typedef struct lumiere_context lumiere_context; // device with its threads, settings, last error
typedef struct lumiere_model lumiere_model;     // weights in memory
typedef struct lumiere_clip lumiere_clip;       // frames

// Of this header: 1000000 x major + 1000 x minor + patch. lumiere_version_number is that of the library which runs.
#define LUMIERE_VERSION_NUMBER 2000
LUMIERE_API int lumiere_version_number(void);
LUMIERE_API const char *lumiere_version(void); // "0.2.0"

typedef struct lumiere_context_options {
    const char *device;    // "cpu" (default when NULL), "reference"
    const char *precision; // "auto" (default when NULL), "fp32", "bf16"
    int threads;           // 0: all processors this process may use; no more than those are used
} lumiere_context_options;
// options may be NULL. On failure *out is still a context, good for its message; NULL only when memory is short.
LUMIERE_API lumiere_status lumiere_context_create(const lumiere_context_options *options, lumiere_context **out);
// Models opened in it stay whole, and its threads with them. *c becomes NULL, as with all that free.
LUMIERE_API void lumiere_context_free(lumiere_context **c);
LUMIERE_API int lumiere_threads(const lumiere_context *c); // that it computes with
// "" when the last call succeeded. Valid until the next call that is given c.
LUMIERE_API const char *lumiere_error_message(const lumiere_context *c);
LUMIERE_API const char *
lumiere_device_summary(const lumiere_context *c); // one line: processor, instructions, threads, libraries
LUMIERE_API const char *
lumiere_precision(const lumiere_context *c); // what "auto" chose, and whether bf16 is only storage

// What c's device and the models opened in it do is told in lines, each for the length of the call and on the thread
// that calls the library. The library itself prints nothing.
typedef enum lumiere_log_level {
    LUMIERE_LOG_NONE,
    LUMIERE_LOG_STEPS,   // some lines a call: what is planned, packed, stopped
    LUMIERE_LOG_DETAILS, // a line a node of a network as well
} lumiere_log_level;
// log NULL: nobody is told. Not while something runs.
LUMIERE_API void lumiere_context_log(lumiere_context *c, lumiere_log_level most,
                                     void (*log)(void *user, lumiere_log_level level, const char *line), void *user);

// *out computes on c's device and in c's precision from now on.
LUMIERE_API lumiere_status lumiere_model_open(lumiere_context *c, const char *folder, lumiere_model **out);
// The same without its weights, which are read when something is first made: requests are checked, resolved and
// estimated in some milliseconds, without seconds (NaN) while c has not measured the machine.
LUMIERE_API lumiere_status lumiere_model_open_unloaded(lumiere_context *c, const char *folder, lumiere_model **out);
LUMIERE_API void lumiere_model_free(lumiere_model **m);
LUMIERE_API const char *lumiere_model_name(const lumiere_model *m);
// 16 hex digits over all its files; "" when they can't be read any more.
LUMIERE_API const char *lumiere_model_hash(const lumiere_model *m);
// A number of the model's defaults: "frames", "fps", "width", "height", "steps", "cfg_scale", "refine"; 0 for other
// keys.
LUMIERE_API double lumiere_model_default(const lumiere_model *m, const char *key);
LUMIERE_API bool lumiere_model_upscales(const lumiere_model *m); // has a super-resolution network

// Settings: what can be asked of a task. One table has them all; the command's options and help, recipes and requests
// come from it.
typedef enum lumiere_kind {
    LUMIERE_TEXT,
    LUMIERE_FLAG,   // "true" or "false"
    LUMIERE_WHOLE,  // a whole number from least to most
    LUMIERE_NUMBER, // a number from least to most, with a decimal point
    LUMIERE_SEED,   // a whole number from 0 to 2^63 - 1; negative, where source is LUMIERE_FROM_CHANCE: choose one
    LUMIERE_CHOICE, // one of choices
    LUMIERE_FOUR,   // four whole numbers, "8,8,32,16"; in JSON a list
    LUMIERE_COLOUR, // "#rrggbb", "white" or "black"
    LUMIERE_CLIP,   // a picture or clip, given as one; as a text it is the name that a recipe has for it
} lumiere_kind;
// Where a value comes from that isn't given.
typedef enum lumiere_source {
    LUMIERE_FROM_NOTHING, // there is none, off
    LUMIERE_FROM_VALUE,   // preset
    LUMIERE_FROM_MODEL,
    LUMIERE_FROM_INPUT,
    LUMIERE_FROM_TASK,   // the task and other settings decide
    LUMIERE_FROM_CHANCE, // a random one, chosen when the request is resolved
} lumiere_source;
typedef struct lumiere_setting {
    const char *key;     // as in recipes: "cfg_scale"
    const char *option;  // the command's: "cfg-scale"
    char letter;         // its short form; 0: none
    const char *aliases; // other programs' names, taken in place of key: separated by spaces; NULL: none
    lumiere_kind kind;
    bool list;          // every value that is set is one more
    double least, most; // bounds of numbers; of a text its most bytes (0: no bound)
    double step;        // of a form's knob; 0: none
    const char *const *choices;
    int choice_count;
    const char *unit;        // "pixels"; NULL: none
    const char *placeholder; // of its value, in help: "N"
    lumiere_source source;
    const char *preset;       // as a text, where source is LUMIERE_FROM_VALUE
    const char *preset_words; // what people are told of the default; NULL: what source and preset say; "": help says it
    bool basic;               // among the first that are shown; others are for the advanced
    const char *help;         // one line
    bool in_recipe;           // recipes have it
} lumiere_setting;
// Names of the tasks, from 0; NULL past the last: "generate", "animate", "inpaint", "outpaint", "cinemagraph", "edit",
// "stylize", "upscale".
LUMIERE_API const char *lumiere_task_name(int index);
// Settings of a task, from 0 in the order of its help; NULL past the last, and for an unknown task.
LUMIERE_API const lumiere_setting *lumiere_setting_at(const char *task, int index);
// By key, alias, or option ("--cfg-scale"); NULL: the task takes none of that name.
LUMIERE_API const lumiere_setting *lumiere_setting_find(const char *task, const char *name);

// Requests: what is asked of a task, its settings and inputs. A request belongs to no context and no model: it may be
// resolved, estimated, described and run with one model and then with another, each time on that model's device and in
// its precision. Its calls, but for lumiere_request_cancel, must not run at the same time, and a call that is given a
// model counts as one with the model. Status and message of a call that is given a request are the request's.
typedef struct lumiere_request lumiere_request;
// task: "generate", "animate" ... On failure *out is still a request, good for its message; NULL only when memory is
// short.
LUMIERE_API lumiere_status lumiere_request_create(const char *task, lumiere_request **out);
// For the run that a recipe (a JSON object) tells of: of its task, with all its settings; what else it holds is left
// aside. Inputs are to be given again.
LUMIERE_API lumiere_status lumiere_request_create_from(const char *recipe, lumiere_request **out);
LUMIERE_API void lumiere_request_free(lumiere_request **r);
LUMIERE_API const char *lumiere_request_task(const lumiere_request *r);
// "" when the last call succeeded. Valid until the next call that is given r.
LUMIERE_API const char *lumiere_request_error(const lumiere_request *r);

// name: a setting's key, one of its aliases, or its option ("--steps"); messages call it so. LUMIERE_USAGE: the task
// takes none of that name, or not this value. Of a list ("style") every value is one more.
LUMIERE_API lumiere_status lumiere_request_set(lumiere_request *r, const char *name, const char *text);
// As if it had not been set, or given as a clip.
LUMIERE_API lumiere_status lumiere_request_unset(lumiere_request *r, const char *name);
// The members of a JSON object, by keys or aliases: numbers, texts, true and false, lists; null unsets. "styles" may be
// there as recipes have it. Those before one that is refused are set.
LUMIERE_API lumiere_status lumiere_request_set_json(lumiere_request *r, const char *json);
// "input" or "mask": any size, length and rate. The request holds the clip, which may be freed (no
// preview, which ends with its callback). NULL: none any more.
LUMIERE_API lumiere_status lumiere_request_set_clip(lumiere_request *r, const char *name, const lumiere_clip *clip);
// The clip that was given, NULL: none. Valid until another is given.
LUMIERE_API const lumiere_clip *lumiere_request_clip(const lumiere_request *r, const char *name);
// What a recipe says that clip is known by: 64 hex digits, the SHA-256 of the file it was read from; or, for one from
// memory or a folder of frames, or where like has 16 digits as older recipes do, lumiere_clip_hash of what was read.
LUMIERE_API lumiere_status lumiere_request_clip_hash(lumiere_request *r, const char *name, const char *like,
                                                     char out[65]);
// A clip from a file, whose name recipes then have: of an input so much as the task can use (with m's defaults; m
// NULL: all), what is transparent over the setting "background".
LUMIERE_API lumiere_status lumiere_request_read_clip(lumiere_request *r, const lumiere_model *m, const char *name,
                                                     const char *path);
// Called after every step, on the caller's thread. seconds_left is an estimate (negative while unknown). preview is the
// clip as predicted so far, valid during the call, only made when the setting "preview_every" is set and due, otherwise
// NULL. Return false to stop: the call then ends with LUMIERE_CANCELLED. May itself call what doesn't use a model or
// train, such as lumiere_clip_write, and frees nothing that the running call was given. The steps of "upscale" are
// evaluations of the network: steps x windows x tiles; those of a clip made in two passes count both.
typedef bool (*lumiere_progress)(void *user, int step, int steps, double seconds_left, const lumiere_clip *preview);
LUMIERE_API void lumiere_request_on_progress(lumiere_request *r, lumiere_progress progress, void *user);
// Where a clip is enlarged: called with it as it was made, before that begins, so that it can be kept while the longest
// part of the run may still be stopped. It is valid during the call; the task "upscale" with the same prompt, seed and
// clip number goes on from it. Return false to stop.
LUMIERE_API void lumiere_request_on_base(lumiere_request *r, bool (*base)(void *user, const lumiere_clip *clip),
                                         void *user);

// Checks all settings, and fills in what is left open: from the model, the input, the task, by chance. m NULL: checks
// what can be checked without a model. estimate, run and describe resolve too.
LUMIERE_API lumiere_status lumiere_request_resolve(lumiere_request *r, lumiere_model *m);
// Whether a setting was set, or given as a clip.
LUMIERE_API bool lumiere_request_has(const lumiere_request *r, const char *name);
// A setting as a text: as resolved, else as it was set, else its preset; NULL: there is none, or no memory. A list is a
// JSON array. Valid until the next call that is given r.
LUMIERE_API const char *lumiere_request_get(lumiere_request *r, const char *name);
// All settings that are set or resolved, as a JSON object that lumiere_request_set_json takes. Free with
// lumiere_string_free.
LUMIERE_API lumiere_status lumiere_request_json(lumiere_request *r, char **json);

typedef struct lumiere_estimate {
    uint64_t bytes; // beyond the weights
    double flops;
    double seconds;                   // from a short measurement of this machine
    int steps, frames, width, height; // as they will be, defaults filled in; the clip's, after it is enlarged
    double fps;
    char lost_words[256]; // the words of the prompt that fall past the encoder's 32 tokens; "" when none do
    char fit[256];        // how a task's input was fitted: cut, scaled, resampled in time; "" where there is none
    int base_width, base_height; // before the clip is enlarged; 0 where it isn't
} lumiere_estimate;
// Checks everything that can be checked before a run. LUMIERE_MEMORY names a setting that fits.
LUMIERE_API lumiere_status lumiere_request_estimate(lumiere_request *r, lumiere_model *m, lumiere_estimate *out);
// *out is NULL on failure. Styles are mixed into m's weights for this run and stay there until a request with others,
// or none, runs. LUMIERE_MODEL: a style for another base network, a damaged one, or m lacks what the task needs;
// LUMIERE_MEDIA: a mask of another size or length than the input, and no "fit" that would change it.
LUMIERE_API lumiere_status lumiere_request_run(lumiere_request *r, lumiere_model *m, lumiere_clip **out);
// Ends a run in progress, or else the next one, with LUMIERE_CANCELLED: within one layer of a network. From any thread,
// and from a signal handler.
LUMIERE_API void lumiere_request_cancel(lumiere_request *r);
// The recipe of such a run, a compact JSON object: prompt, seed, settings, model name and hash, version, precision.
// extra: further members as a JSON object, or NULL. Free with lumiere_string_free.
LUMIERE_API lumiere_status lumiere_request_describe(lumiere_request *r, lumiere_model *m, const char *extra,
                                                    char **json);
LUMIERE_API void lumiere_string_free(char **s);
// Texts of files and users come back as they are (names, recipes, descriptions). This makes one fit to be shown: one
// line of valid UTF-8 in which control characters, and those that are invisible and change how others are shown, are
// written as in JSON (\n, \u001b, \u202e), and bytes that are no UTF-8 as \xNN. JSON stays the same JSON. Messages and
// log lines of this library are so already. As snprintf: returns the length of the whole, cuts between characters.
LUMIERE_API size_t lumiere_text_escape(char *out, size_t size, const char *text);

// FFmpeg, which reads and writes files here, says things about them on stderr, above all about damaged ones. How much
// depends on its log level, which is the whole process's and left alone by all other functions. For programs that have
// no use for its messages beside this library's: sets the level to AV_LOG_QUIET.
LUMIERE_API void lumiere_ffmpeg_silence(void);

// A clip of the caller's pixels, frames x height x width x 3 bytes, copied. fps 0: without a rate.
LUMIERE_API lumiere_status lumiere_clip_create(lumiere_context *c, int frames, int width, int height, double fps,
                                               const uint8_t *pixels, lumiere_clip **out);
// 16 hex digits of shape and pixels; empty when memory is short.
LUMIERE_API void lumiere_clip_hash(const lumiere_clip *clip, char out[17]);
LUMIERE_API void lumiere_clip_free(lumiere_clip **clip);
LUMIERE_API int lumiere_clip_frames(const lumiere_clip *clip);
LUMIERE_API int lumiere_clip_width(const lumiere_clip *clip);
LUMIERE_API int lumiere_clip_height(const lumiere_clip *clip);
LUMIERE_API double lumiere_clip_fps(const lumiere_clip *clip);
LUMIERE_API const uint8_t *lumiere_clip_data(const lumiere_clip *clip); // frames x height x width x 3, RGB

// Files by their ending: .mp4 .webm .gif .png .apng .webp .npy, or a folder of PNG frames (path ends in '/').
// Any picture or video is read, turned as it says; what is transparent lies over black.
LUMIERE_API lumiere_status lumiere_clip_read(lumiere_context *c, const char *path, lumiere_clip **out);
// What is transparent lies over a background (RGB); the rest of a video after so many seconds is left out (0: nothing).
LUMIERE_API lumiere_status lumiere_clip_read_over(lumiere_context *c, const char *path, const uint8_t background[3],
                                                  double seconds, lumiere_clip **out);
LUMIERE_API lumiere_status lumiere_clip_write(lumiere_context *c, const lumiere_clip *clip, const char *path,
                                              const char *recipe);
// What lumiere_clip_write would refuse, asked before a long run. What is 0 isn't known yet.
typedef struct lumiere_output_shape {
    int frames, width, height;
    double fps;
    bool alpha;
    bool recipe; // one is written beside it
    bool again;  // it is written more than once, as previews are
} lumiere_output_shape;
// LUMIERE_USAGE: what the ending can't hold; LUMIERE_MEDIA: where nothing can be written. shape may be NULL.
LUMIERE_API lumiere_status lumiere_output_check_for(lumiere_context *c, const char *path,
                                                    const lumiere_output_shape *shape);
LUMIERE_API lumiere_status lumiere_output_check(lumiere_context *c, const char *path); // of no known shape

// The files of a run, of which none may be lost to another.
typedef struct lumiere_file {
    const char *what; // for the message: "--output"
    const char *path;
    bool written; // replaced, or else read
    bool recipe;  // with the recipe beside it
} lumiere_file;
// LUMIERE_USAGE when what is written is another file of the list, whatever names and links lead there, or lies in a
// folder of frames that is one.
LUMIERE_API lumiere_status lumiere_files_check(lumiere_context *c, const lumiere_file *files, int count);

LUMIERE_API lumiere_status lumiere_recipe_read(lumiere_context *c, const char *path, char **json); // *json NULL: none
// What a path holds, as a compact JSON object whose "kind" is "model" (a model folder: name, licence, parts, styles),
// "weights" or "style" (a .safetensors file: tensors; name, licence, base, origin) or "clip" (frames, size, rate,
// recipe). Free with lumiere_string_free.
LUMIERE_API lumiere_status lumiere_describe(lumiere_context *c, const char *path, char **json);

// Figures of a clip's coherence; docs/measure.md has the formulas. A difference is a mean of absolute differences over
// pixels and channels, in units of 0 to 255.
typedef struct lumiere_measure_options {
    int window, overlap; // frames of the windows that made the clip and that neighbours share; window 0: none
    const lumiere_clip
        *reference; // of as many frames, such as what was upscaled: windows' gains are against it; or NULL
    bool no_flow;   // leaves out the optical flow, which takes most of the time
} lumiere_measure_options;

// NaN: this clip has no such figure (a clip of one frame has no difference). The arrays hold a value a frame, or a pair
// or triple of neighbouring frames, and lie in one block.
typedef struct lumiere_measures {
    int frames, width, height;
    double fps;
    double difference, *differences;      // of neighbouring frames: mean, and frames - 1 values
    double flicker, *flickers;            // second difference: mean, and frames - 2 values
    double level_flicker;                 // the same of the frames' mean levels: of brightness alone, not of motion
    double loop_difference, loop_ratio;   // of the last frame and the first; divided by difference
    int borders;                          // pairs of neighbouring frames that different windows made
    double border_difference, seam_ratio; // mean difference at these; divided by that of all other pairs
    double border_gain, rest_gain;        // mean difference divided by the reference's: at borders, at the others
    double warp_error, *warp_errors;      // frame against the one before moved along the flow: mean, frames - 1 values
    double warp_covered, speed;           // share of pixels that count there; their mean motion in pixels a frame
    double *path_x, *path_y;              // centre of the foreground, in widths: frames values
    double moved_x, moved_y;              // mean of its last fifth less mean of its first fifth
    double range_x, range_y;              // greatest less smallest
} lumiere_measures;
// options may be NULL. LUMIERE_USAGE: an overlap that isn't less than the window, a reference of another length.
LUMIERE_API lumiere_status lumiere_measure(lumiere_context *c, const lumiere_clip *clip,
                                           const lumiere_measure_options *options, lumiere_measures *out);
LUMIERE_API void lumiere_measures_free(lumiere_measures *m); // the arrays

typedef enum lumiere_slice { LUMIERE_SLICE_XT, LUMIERE_SLICE_YT } lumiere_slice;
// A picture whose rows are frames, the first on top: of each frame row number at (XT), or column number at (YT, its top
// on the left).
LUMIERE_API lumiere_status lumiere_clip_slice(lumiere_context *c, const lumiere_clip *clip, lumiere_slice axis, int at,
                                              lumiere_clip **out);

typedef struct lumiere_compare_options {
    int gap;       // gray pixels between the two; 0: none
    bool shortest; // end with the shorter clip; otherwise it stays on its last frame
    double fps;    // 0: a's rate, or b's where a has none, or 16
} lumiere_compare_options;
typedef struct lumiere_comparison {
    int frames;        // that both have, over which the figures are
    double psnr;       // dB, peak 255; infinite for equal clips; NaN when width or height differ
    double difference; // NaN likewise
} lumiere_comparison;
// Both clips side by side, the lower one enlarged to the other's height by repeating pixels, and how far they are
// apart. options, side_by_side and figures may be NULL. LUMIERE_USAGE: wider than 8192 pixels.
LUMIERE_API lumiere_status lumiere_compare(lumiere_context *c, const lumiere_clip *a, const lumiere_clip *b,
                                           const lumiere_compare_options *options, lumiere_clip **side_by_side,
                                           lumiere_comparison *figures);

// Training. run: a YAML file, see docs/training.md; set: "key=value" overrides. resume: go on from the checkpoint of
// the run's folder. log receives one line of text at a time, without a newline. Both are called on the caller's thread.
// A shortage of memory in the middle of a step ends training with LUMIERE_MEMORY; the last checkpoint stays as it is.
typedef struct lumiere_train_options {
    const char *run;
    const char *const *set;
    int set_count;
    bool resume;
    void (*log)(void *user, const char *line);
    // After every step; return false to write a checkpoint and stop (LUMIERE_CANCELLED).
    bool (*progress)(void *user, int64_t step, int64_t steps, double loss, double seconds_left);
    void *user;
    bool dry_run; // log what would be trained, by what, with which memory and work a step; writes nothing
} lumiere_train_options;
LUMIERE_API lumiere_status lumiere_train(lumiere_context *c, const lumiere_train_options *o);

// Benchmark of one row of a model's work, as text on out (a C stream) or JSON.
typedef struct lumiere_bench_options {
    const char *rows; // "forward,image,video"
    int repeat;
    bool json, nodes; // nodes: a line a node
    bool trace_plan;  // the memory plan as well: a line a node with its operands' shapes and places
    int batch;        // pictures in the row image; 0: 64
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
