// The training data: sprites from tar shards or a folder, and batches of (clip, caption, condition) made from them.
#pragma once
#include "base/random.h"
#include "base/status.h"
#include "train/captions.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct lm_dataset lm_dataset;

typedef struct lm_dataset_options {
    const char *const *paths; // tar shards (WebDataset: KEY.webm|KEY.webp + KEY.json), or folders of such tars or of
    int path_count;           // NAME.mp4 (.webm .gif .webp .png) + NAME.txt
    const char *style;        // stills of this drawing style only: "3d"
    int size;                 // pixels of a side of the batches: 32 or 64 (sprites are area-reduced to it)
    int threads;              // for decoding; 0: all processors
    bool stills;              // leave clips of more than one frame out
    int split_from;           // with fewer sprites than this none is left out for validation
} lm_dataset_options;
lm_status lm_dataset_open(lm_error *e, const lm_dataset_options *o, lm_dataset **out);
void lm_dataset_free(lm_dataset **d);

typedef enum lm_split { LM_SPLIT_TRAIN, LM_SPLIT_VALIDATION } lm_split; // one subject in twenty, by crc32 of its name
int lm_dataset_count(const lm_dataset *d, lm_split split);
int lm_dataset_animated(const lm_dataset *d, lm_split split);

typedef enum lm_wording {
    LM_WORDING_RIGHT,    // the subject's caption
    LM_WORDING_REWORDED, // its first paraphrase, where it has one
    LM_WORDING_SHUFFLED, // another subject's caption
    LM_WORDINGS,
} lm_wording;

typedef struct lm_batch_options {
    lm_split split;
    int clips, frames;           // frames 1: the image stage
    double motion_share;         // share of pictures moved or scaled
    double motion_caption_share; // frames 1: share of those whose caption names the motion; they show early moments
                                 // more often than late ones, so that a motion and its reverse differ in a still too
    double moment_share;         // frames 1: share of those whose moment is told; moved ones then show all evenly
    double color_share;          // share on a coloured background
    lm_caption_shares words;
    double plain_share;     // frames above 1: share of the stills that stay unmoved
    double caption_dropout; // share of captions left empty (classifier-free guidance)
    bool condition;         // make the 4-channel condition as well
    int crop;               // super-resolution: cut squares of so many pixels out of the clips, a multiple of 16,
                            // with the noisy low-resolution clip as condition; 0: off
    double residual_scale;  // with a crop: x0 is the clip's residual to the condition times this
    double condition_share; // share of clips for which one is drawn; the others are given nothing
    double time_shift;      // for lm_time_shifted, where noise is added; 0 like 1: times are uniform
    uint64_t seed;
    int first; // number of the batch's first clip: what clip i is, is drawn from (seed, first + i, step)
} lm_batch_options;

typedef struct lm_batch {
    int clips, frames, size; // size: the crop's, where there is one
    int cond_channels;       // 4, or 3 with a crop; 0: no condition
    float *x0;               // [clips,frames,size,size,3] in [-1,1]; with a crop a residual
    float *cond; // [clips,frames,size,size,cond_channels]: masked clip and mask (1 = given), or the noisy clip enlarged
    float *moment;   // [clips,frames]: of each frame, from 0 to 1, or LM_MOMENT_UNKNOWN
    float *level;    // [clips] of the noise in cond, with a crop; else NULL
    char **captions; // [clips]
} lm_batch;
// A pure function of (dataset, options, step): the same whatever came before it and whichever thread calls it.
lm_status lm_dataset_batch(lm_error *e, const lm_dataset *d, const lm_batch_options *o, uint32_t step, lm_batch *out);
void lm_batch_free(lm_batch *b);

// Clips to measure by, the same whatever else is drawn: `subjects` of the split, spread evenly over them, each the
// first sprite of its subject, from its first frame, on white; clip i moves by motion 1 + i % 12 where they are moved.
// A batch holds clips first to first + clips - 1; past the last one it repeats that.
typedef struct lm_fixed_options {
    lm_split split;
    int subjects; // at most lm_dataset_subjects
    int first, clips, frames;
    lm_wording wording;
    bool moved, condition; // a condition gives nothing
} lm_fixed_options;
int lm_dataset_subjects(const lm_dataset *d, lm_split split); // different ones
lm_status lm_dataset_fixed(lm_error *e, const lm_dataset *d, const lm_fixed_options *o, lm_batch *out);
