// What the parts of the trainer share. Private to train/.
#pragma once
#include "net/network.h"
#include "store/model_folder.h"
#include "train/prefetch.h"
#include "train/text_cache.h"
#include "train/trainer.h"

// How a parameter is trained; nothing of a frozen one.
typedef struct param_rule {
    bool muon;
    double rate;    // after the warm-up
    int64_t second; // AdamW: elements before it in the block of second moments
} param_rule;

struct lm_trainer {
    const lm_run_config *cfg;
    lm_trainer_options o;
    lm_device *d;
    lm_unet_config net;
    lm_text_encoder *encoder;
    lm_text_cache *texts;
    lm_dataset *dataset;
    lm_batch_options batch;
    lm_network *network;
    lm_net_use train, eval;           // its uses for a batch; eval: forward only
    const lm_graph *graph;            // of train, whose parameters the weights and gradients are laid out as
    int64_t elements, grad_elements;  // of the parameter and gradient blocks
    float *weights, *average, *grads; // device memory
    float *moment1, *moment2;         // moment1: also Muon's momentum, in the gradients' layout; moment2: AdamW's only
    int64_t second_elements;          // of moment2
    param_rule *rules;                // one a parameter
    lm_muon_work *muon;               // NULL: no matrix is Muon's
    lm_muon_matrix *matrices;         // its matrices
    int matrix_count;
    float *states, *mask;                  // one batch's text
    int64_t step, skipped, skipped_in_row; // steps done; of which skipped; of these the last ones
    int64_t saved;                         // step of the checkpoint; 0: there is none
    double loss_mean;                      // running mean over kept steps, what an outlier is measured by
    double seconds;                        // spent in this run, resumed parts included
    lm_slot *slots;                        // one a parameter, at its offset
    int params;
    int lock; // the run's folder held for this process; -1: not
    int made; // folders that were not there before
};

bool lm_trainer_is_image(const lm_trainer *t); // stage "image"
bool lm_trainer_is_video(const lm_trainer *t); // stage "video"
bool lm_trainer_is_ssr(const lm_trainer *t);   // stage "ssr"
bool lm_trainer_is_style(const lm_trainer *t); // stage "style"
int lm_trainer_side(const lm_trainer *t);      // pixels of a side of what the network sees
void lm_trainer_log(const lm_trainer *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *lm_trainer_path(const lm_trainer *t, const char *name); // in the run's folder; heap, NULL when memory is short

// The network's use for clips of the run's shape.
lm_net_use lm_trainer_use(const lm_trainer *t, int clips, lm_net_purpose purpose);
// Runs a batch (its text through the cache) with these weights; loss and v (all of the batch's) may be NULL.
lm_status lm_trainer_run(lm_error *e, lm_trainer *t, const lm_net_use *u, const float *weights, const lm_train_batch *b,
                         float *loss, float *v);

// The run's folder, made where it is missing, for this process alone; LM_MEDIA while another training has it. leave,
// for whatever came of it, takes folders away again that were made and are empty.
lm_status lm_trainer_take_folder(lm_error *e, lm_trainer *t);
void lm_trainer_leave_folder(lm_trainer *t);

// Share of the rates at a step (from 0): warm-up, then 1, then linearly to 0 over the last `cooldown` of the steps.
double lm_trainer_schedule(const lm_run_config *c, int64_t step);
// Which optimiser takes which parameter, from the graph and the run's settings.
lm_status lm_trainer_choose_rules(lm_error *e, lm_trainer *t);
// The same, the moments' memory (not written to) and what Muon needs; weights, average and gradients must be there.
lm_status lm_trainer_optimiser_create(lm_error *e, lm_trainer *t);
void lm_trainer_optimiser_free(lm_trainer *t);
// One update from the gradients of step t->step.
lm_status lm_trainer_update(lm_error *e, lm_trainer *t, double schedule, double grad_norm);

// Logs the groups of parameters, the steps, the memory and the work of a step.
lm_status lm_trainer_describe(lm_error *e, const lm_trainer *t);

// Mean loss of the averaged weights over the fixed validation triples; there must be a validation subject.
lm_status lm_trainer_validate(lm_error *e, lm_trainer *t, double *out);
// Rows of explained.csv from the averaged weights: by split (training or left-out subjects), caption (right, reworded,
// another's) and diffusion time, the share of x0's variance explained by its prediction: 1 - sum of squares of x0 - x0
// predicted / that of x0 - the mean clip, at full size and pooled to 8x8. Not in the ssr stage.
lm_status lm_trainer_explain(lm_error *e, lm_trainer *t);
// One row a prompt, from the averaged weights, into sample-STEP.png.
lm_status lm_trainer_sample_sheet(lm_error *e, lm_trainer *t);
// In the ssr stage: one row a validation clip, its middle frame as given, as made and as it is.
lm_status lm_trainer_ssr_sheet(lm_error *e, lm_trainer *t);

lm_status lm_trainer_save(lm_error *e, lm_trainer *t);  // checkpoint, then the averaged weights
lm_status lm_trainer_load(lm_error *e, lm_trainer *t);  // the checkpoint
lm_status lm_trainer_start(lm_error *e, lm_trainer *t); // init's weights, or newborn ones
// init's weights -> block, which the slots describe; what the inflation adds is born.
lm_status lm_trainer_load_init(lm_error *e, lm_trainer *t, float *block);
// In the style stage: the averaged weights' difference to init's, as a style file; says how large and how exact it is.
lm_status lm_trainer_save_style(lm_error *e, lm_trainer *t, const float *average);

typedef struct metrics_row {
    int64_t step, samples, skipped;
    double seconds, loss, rate, grad_norm, validation;
    bool validated; // at this step
} metrics_row;
// Whether a step's loss and gradient, in row, are fit for an update; else it is counted and said. LM_FAILED after 20 in
// a row that are not: no weight changes any more, so that going on would only take time.
lm_status lm_trainer_judge(lm_error *e, lm_trainer *t, const metrics_row *row, bool *keep);
// At the run's last step: says how many were skipped; LM_FAILED when all were.
lm_status lm_trainer_judge_run(lm_error *e, const lm_trainer *t);

typedef struct explained_row {
    const char *subjects, *caption;
    double time, full, pooled;
} explained_row;
lm_status lm_explained_append(lm_error *e, const lm_trainer *t, const explained_row *row);
lm_status lm_metrics_append(lm_error *e, const lm_trainer *t, const metrics_row *row);
// Drops the tables' rows past the trainer's step; makes those that are missing.
lm_status lm_metrics_cut(lm_error *e, const lm_trainer *t);
