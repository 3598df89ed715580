// What a request holds. Private to the files beside this one.
#pragma once
#include "pipeline/job.h"

// A run's options, read from the request while both live.
typedef struct request_options {
    lm_task_options task; // but for upscale
    lm_upscale_options upscale;
    lm_box box;
    lm_style_asked styles[LM_MOST_STYLES];
    int style_count;
} request_options;
struct lumiere_request {
    lm_error error; // of the last call
    lm_settings asked;
    lm_settings resolved; // what was asked and what was filled in, where is_resolved
    bool is_resolved;
    request_options options; // of the job
    lm_job job;              // where is_resolved and it has a model
    int resolutions;         // how often settings were resolved, for tests
    atomic_bool cancelled;
    int64_t chance; // the seed where none is given; negative: not chosen yet
    // By which a model knows that its styles are these: never 0, another one for other styles, and no other request's
    // but by one chance in 2^63.
    uint64_t number;
    lumiere_clip *input, *mask;
    char input_digest[LM_DIGEST_HEX], mask_digest[LM_DIGEST_HEX]; // of the files they were read from; "": of none
    lm_watch watch;
    char *text; // that lumiere_request_get returned
};

// Ends a public call: the request holds e's message from now on, or none.
lumiere_status lm_request_done(lumiere_request *r, lm_status status, const lm_error *e);
// What was resolved no longer holds.
void lm_request_changed(lumiere_request *r);

// Checks what can be checked without a model, chooses the seed, fills *out.
lm_status lm_request_fill(lm_error *e, lumiere_request *r, request_options *out);
