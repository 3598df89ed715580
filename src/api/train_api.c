// Training through the public interface: reads the run file and leaves the rest to the train room.
#include "api/done.h"

#include "train/trainer.h"

static lm_status train(lm_error *e, lumiere_context *c, const lumiere_train_options *o) {
    LM_TRY(lm_context_device(e, c));
    if (!o->run) return lm_fail(e, LM_USAGE, "no run file; name a YAML file, see docs/training.md");
    lm_run_config config = {0};
    lm_status status = lm_run_config_read(e, o->run, o->set, o->set_count, &config);
    const lm_trainer_options options = {.precision = c->compute,
                                        .resume = o->resume,
                                        .log = o->log,
                                        .progress = o->progress,
                                        .user = o->user,
                                        .dry_run = o->dry_run};
    if (status == LM_OK) status = lm_train(e, c->device, &config, &options);
    lm_run_config_free(&config);
    return status;
}

lumiere_status lumiere_train(lumiere_context *c, const lumiere_train_options *o) {
    lm_error e = {0};
    return lm_api_done(c, train(&e, c, o), &e);
}
