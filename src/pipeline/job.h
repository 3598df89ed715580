// One job: what is asked of a task with one model, resolved once into stages that run one after the other. Estimate,
// run and recipe read the resolved stages; progress and cancel are the job's.
#pragma once
#include "pipeline/context.h"
#include "pipeline/upscale.h"

#include <stdatomic.h>

// Samples a clip, from noise or from a noisy one, or enlarges one.
typedef enum lm_stage_kind { LM_STAGE_SAMPLE, LM_STAGE_ENLARGE } lm_stage_kind;

typedef struct lm_stage {
    lm_stage_kind kind;
    bool continues;          // its input is the clip that the stage before made
    lm_task_options options; // of LM_STAGE_SAMPLE, for task.o
    task task;               // of LM_STAGE_SAMPLE
    upscale_request enlarge; // of LM_STAGE_ENLARGE
    lm_net_cost cost;        // of one evaluation of its network, since the job was checked
} lm_stage;

// Callbacks; each may be NULL. Both stop the job by false.
typedef struct lm_watch {
    lumiere_progress progress;
    void *progress_user;
    int preview_every;                                  // steps; 0: no previews
    bool (*base)(void *user, const lumiere_clip *clip); // the clip before a last stage that enlarges it
    void *base_user;
} lm_watch;

enum { LM_MOST_STAGES = 3 };
typedef struct lm_job {
    lumiere_model *m;
    const lm_settings *settings; // what was asked, for recipes
    task task;                   // the whole as asked for; of no meaning where the job only enlarges
    const lumiere_clip *input;   // of the first stage; NULL: none
    const char *input_digest;    // of its file
    lumiere_clip between;        // the shape that the first of two passes makes
    lm_stage stages[LM_MOST_STAGES];
    int count;
    lm_watch watch;
    const atomic_bool *cancelled; // set from any thread; NULL: by nobody
    // while it runs
    int stage;
    double started, done, all; // work in operations: of the stages before, of all
} lm_job;

// The options, and all that they point to, outlive the job, which must not be moved.
lm_status lm_job_resolve(lm_error *e, lumiere_model *m, const lm_task_options *o, lm_job *out);
lm_status lm_job_resolve_upscale(lm_error *e, lumiere_model *m, const lumiere_clip *in, const lm_upscale_options *o,
                                 lm_job *out);
// Checks that every stage fits, and sums up what they take.
lm_status lm_job_estimate(lm_error *e, lm_job *j, lumiere_estimate *out);
// How such a job makes its clip, as JSON. extra: further members as a JSON object, or NULL. Free with lm_free.
lm_status lm_job_describe(lm_error *e, const lm_job *j, const char *extra, char **json);
// Free *out with lm_held_clip_free. LM_CANCELLED: a callback said so, or cancelled did, which is looked at between the
// nodes of a network.
lm_status lm_job_run(lm_error *e, lm_job *j, lumiere_clip **out);

// ---- for stages ----

double lm_stage_work(const lm_stage *s); // operations of all of it, once it was checked
// Tells progress that so many of the present stage's steps are done. false: stop.
bool lm_job_progress(const lm_job *j, int done, const lumiere_clip *preview);
lm_status lm_stage_prepare(lm_error *e, const lm_job *j, lm_stage *s); // weights and plan
// in: what the stage before made; NULL where it doesn't continue it.
lm_status lm_sample_run(lm_error *e, const lm_job *j, lm_stage *s, const lumiere_clip *in, lumiere_clip **out);
lm_status lm_enlarge_run(lm_error *e, const lm_job *j, const lm_stage *s, const lumiere_clip *in, lumiere_clip **out);
