#include "train/trainer_internal.h"

#include "base/clock.h"
#include "base/memory.h"
#include "net/families/slots.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- setting up ----

static lm_status check_shape(lm_error *e, const lm_trainer *t) {
    const lm_run_config *c = t->cfg;
    int side = lm_unet_size_multiple(&t->net), frames = lm_unet_frame_multiple(&t->net);
    bool ssr = lm_trainer_is_ssr(t);
    if (lm_trainer_side(t) % side)
        return lm_fail(e, LM_USAGE, "%s %d: this network takes multiples of %d", ssr ? "crop" : "size",
                       lm_trainer_side(t), side);
    if (ssr && c->crop > c->size)
        return lm_fail(e, LM_USAGE, "crop %lld is larger than size %lld, the clips' side", (long long)c->crop,
                       (long long)c->size);
    if ((lm_trainer_is_video(t) || ssr) && (c->frames % frames || c->frames > t->net.max_frames))
        return lm_fail(e, LM_USAGE, "frames %lld: this network takes multiples of %d, at most %d", (long long)c->frames,
                       frames, t->net.max_frames);
    return LM_OK;
}

static lm_status read_network(lm_error *e, lm_trainer *t) {
    const lm_run_config *c = t->cfg;
    t->net = lm_trainer_is_ssr(t) ? lm_unet_config_ssr() : lm_unet_config_default();
    if (*c->init || *c->config) {
        char *path = *c->init ? lm_format("%s/config.json", c->init) : lm_strdup(c->config);
        if (!path) return lm_fail_memory(e, 1e3, "the configuration");
        lm_status s = lm_unet_config_read(e, path, &t->net);
        lm_free(path);
        LM_TRY(s);
    }
    if (lm_trainer_is_ssr(t)) {
        if (!lm_unet_is_ssr(&t->net))
            return lm_fail(e, LM_USAGE,
                           "%s is no super-resolution network: it needs 3 channels in, out and as condition, "
                           "noise_level_cond, residual_scale, video, and no temporal_down",
                           *c->init ? c->init : c->config);
        return check_shape(e, t);
    }
    if (t->net.noise_level_cond)
        return lm_fail(e, LM_USAGE, "%s is a super-resolution network; the stage ssr trains it",
                       *c->init ? c->init : c->config);
    if (!lm_trainer_is_video(t) && t->net.video) { // its image layers alone
        t->net.video = false;
        t->net.cond_channels = 0;
    }
    if (lm_trainer_is_image(t) && c->moment_share > 0) t->net.moment_cond = true;
    if (lm_trainer_is_video(t) && !t->net.video) { // inflate
        t->net.video = true;
        t->net.cond_channels = 4;
        if (t->net.max_frames < c->frames) t->net.max_frames = (int)c->frames;
    }
    return check_shape(e, t);
}

static lm_status open_data(lm_error *e, lm_trainer *t) {
    const lm_run_config *c = t->cfg;
    const char *paths[LM_RUN_LIST];
    for (int i = 0; i < c->data.count; i++) paths[i] = c->data.at[i];
    enum { ENOUGH_TO_SPLIT = 20 }; // a style's few pictures are all trained on
    lm_dataset_options o = {.paths = paths,
                            .path_count = c->data.count,
                            .style = c->style,
                            .size = (int)c->size,
                            .stills = lm_trainer_is_style(t),
                            .split_from = lm_trainer_is_style(t) ? ENOUGH_TO_SPLIT : 0};
    LM_TRY(lm_dataset_open(e, &o, &t->dataset));
    t->batch = (lm_batch_options){.split = LM_SPLIT_TRAIN,
                                  .clips = (int)c->batch,
                                  .frames = lm_trainer_is_video(t) || lm_trainer_is_ssr(t) ? (int)c->frames : 1,
                                  .motion_share = c->motion_share,
                                  .motion_caption_share = c->motion_caption_share,
                                  .moment_share = c->moment_share,
                                  .words = {c->wording_share, c->caption_share},
                                  .plain_share = c->plain_share,
                                  .condition_share = c->condition_share,
                                  .time_shift = c->time_shift,
                                  .color_share = c->color_share,
                                  .caption_dropout = c->caption_dropout,
                                  .condition = lm_trainer_is_video(t),
                                  .crop = lm_trainer_is_ssr(t) ? (int)c->crop : 0,
                                  .residual_scale = t->net.residual_scale,
                                  .seed = (uint64_t)c->seed};
    lm_trainer_log(t, "data: %d sprites to train on (%d animated), %d left out for validation",
                   lm_dataset_count(t->dataset, LM_SPLIT_TRAIN), lm_dataset_animated(t->dataset, LM_SPLIT_TRAIN),
                   lm_dataset_count(t->dataset, LM_SPLIT_VALIDATION));
    if (lm_dataset_count(t->dataset, LM_SPLIT_TRAIN) > 0) return LM_OK;
    return lm_fail(e, LM_MEDIA,
                   "nothing to train on: every subject of the data is left out for validation, as one in twenty is by "
                   "its name; add more subjects");
}

static lm_status device_floats(lm_error *e, const lm_trainer *t, int64_t n, float **out) {
    return t->d->backend->alloc(e, t->d, (size_t)n * sizeof(float), (void **)out);
}

static lm_status make_networks(lm_error *e, lm_trainer *t) {
    lm_plan *plan;
    lm_graph *graph;
    LM_TRY(lm_network_create(e, t->d, &lm_unet_family, &t->net, t->o.precision, &t->network));
    t->train = lm_trainer_use(t, t->batch.clips, LM_NET_TRAIN);
    t->eval = lm_trainer_use(t, t->batch.clips, LM_NET_LOSS);
    t->train.kept = t->eval.kept = true;
    LM_TRY(lm_network_plan(e, t->network, &t->train, &plan, &graph));
    LM_TRY(lm_network_prepare(e, t->network, &t->eval));
    const lm_graph *g = t->graph = graph;
    t->elements = lm_graph_param_count(g);
    t->grad_elements = lm_graph_grad_count(g);
    t->params = lm_graph_params(g);
    LM_TRY(lm_graph_slots(e, g, &t->slots));
    int64_t weights = 0, trained = 0;
    for (int i = 0; i < t->params; i++) {
        const lm_param_info *p = lm_graph_param(g, i);
        weights += lm_desc_count(&p->desc);
        trained += p->trainable ? lm_desc_count(&p->desc) : 0;
    }
    LM_TRY(device_floats(e, t, t->elements, &t->weights));
    LM_TRY(device_floats(e, t, t->elements, &t->average));
    LM_TRY(device_floats(e, t, t->grad_elements, &t->grads));
    LM_TRY(lm_trainer_optimiser_create(e, t));
    lm_trainer_log(t, "network: %.2f M parameters, %.2f M trained; %s; plan %.0f MB, %.1f GFLOP a step",
                   (double)weights / 1e6, (double)trained / 1e6, lm_dtype_name(t->o.precision),
                   (double)lm_plan_total_bytes(plan) / 1e6, lm_plan_flops(plan) / 1e9);
    return LM_OK;
}

static lm_status zero_gradients(lm_error *e, lm_trainer *t) { // what lies between parameters is never written to
    float *zero = lm_alloc_zero((size_t)t->grad_elements, sizeof(float));
    if (!zero) return lm_fail_memory(e, (double)t->grad_elements * 4, "the gradients");
    lm_status s = t->d->backend->upload(e, t->d, t->grads, zero, (size_t)t->grad_elements * sizeof(float));
    lm_free(zero);
    return s;
}

static lm_status set_up(lm_error *e, lm_trainer *t) {
    LM_TRY(read_network(e, t));
    LM_TRY(lm_text_encoder_open(e, t->d, t->cfg->text, t->net.text_tokens, &t->encoder));
    LM_TRY(lm_text_encoder_load(e, t->encoder));
    if (lm_text_encoder_width(t->encoder) != t->net.text_width)
        return lm_fail(e, LM_MODEL, "the text encoder's states have %d numbers, the network takes %d",
                       lm_text_encoder_width(t->encoder), t->net.text_width);
    LM_TRY(lm_text_cache_create(e, t->encoder, &t->texts));
    LM_TRY(open_data(e, t));
    LM_TRY(make_networks(e, t));
    size_t clips = (size_t)t->batch.clips;
    const size_t tokens = (size_t)t->net.text_tokens;
    t->states = lm_alloc(clips * tokens * (size_t)t->net.text_width, sizeof(float));
    t->mask = lm_alloc(clips * tokens, sizeof(float));
    if (!t->states || !t->mask) return lm_fail_memory(e, 1e6, "the text states");
    LM_TRY(zero_gradients(e, t));
    LM_TRY(t->o.resume ? lm_trainer_load(e, t) : lm_trainer_start(e, t));
    if (t->o.resume) lm_trainer_log(t, "resumed at step %lld", (long long)t->step);
    if (t->cfg->learning_rate == 0) lm_trainer_log(t, "learning_rate is 0: no weight will change");
    return t->o.dry_run ? lm_trainer_describe(e, t) : LM_OK;
}

static void tear_down(lm_trainer *t) {
    float *blocks[] = {t->weights, t->average, t->grads};
    for (int i = 0; i < 3; i++)
        if (blocks[i]) t->d->backend->release_memory(t->d, blocks[i]);
    lm_trainer_optimiser_free(t);
    lm_network_free(&t->network);
    lm_text_cache_free(&t->texts);
    lm_text_encoder_free(&t->encoder);
    lm_dataset_free(&t->dataset);
    lm_free(t->slots);
    lm_free(t->states);
    lm_free(t->mask);
}

// ---- one step ----

double lm_trainer_schedule(const lm_run_config *c, int64_t step) {
    double share = fmin(1.0, (double)(step + 1) / (double)c->warmup);
    double left = 1 - (double)step / (double)c->steps;
    return c->cooldown > 0 ? fmin(share, left / c->cooldown) : share;
}

static lm_status take_step(lm_error *e, lm_trainer *t, const lm_train_batch *b, metrics_row *row) {
    float loss;
    double squares;
    LM_TRY(lm_trainer_run(e, t, &t->train, t->weights, b, &loss, NULL));
    LM_TRY(t->d->backend->squares(e, t->d, t->grads, t->grad_elements, &squares));
    row->loss = (double)loss;
    row->grad_norm = sqrt(squares);
    const double schedule = lm_trainer_schedule(t->cfg, t->step);
    row->rate = t->cfg->learning_rate * schedule;
    bool keep;
    LM_TRY(lm_trainer_judge(e, t, row, &keep));
    if (keep) {
        LM_TRY(lm_trainer_update(e, t, schedule, row->grad_norm));
        t->loss_mean = t->step == t->skipped ? row->loss : 0.98 * t->loss_mean + 0.02 * row->loss;
    }
    t->step++;
    return LM_OK;
}

// What the steps that are left would take here. They are taken in earnest, and nothing of them is kept.
static lm_status time_steps(lm_error *e, lm_trainer *t) {
    enum { TIMED = 3 }; // after one that prepares kernels
    double fastest = INFINITY;
    const int64_t left = t->cfg->steps - t->step;
    for (int i = 0; i <= TIMED; i++) {
        lm_train_batch b;
        metrics_row row = {0};
        LM_TRY(lm_train_batch_make(e, t->dataset, &t->batch, (uint32_t)t->step, 0, &b));
        double start = lm_seconds();
        lm_status s = take_step(e, t, &b, &row);
        if (i > 0) fastest = fmin(fastest, lm_seconds() - start);
        lm_train_batch_free(&b);
        LM_TRY(s);
    }
    lm_trainer_log(t, "time: %.3f s a step here, the fastest of %d; %.1f h for the %lld steps left", fastest, TIMED,
                   fastest * (double)left / 3600, (long long)left);
    return LM_OK;
}

// ---- the loop ----

static bool every(int64_t step, int64_t n) {
    return n > 0 && step % n == 0;
}

static lm_status validate_and_say(lm_error *e, lm_trainer *t, metrics_row *row) {
    long long step = t->step;
    if (!row->validated) {
        lm_trainer_log(t, "step %lld: loss %.4f; no subject is left out for validation", step, row->loss);
        return LM_OK;
    }
    LM_TRY(lm_trainer_validate(e, t, &row->validation));
    if (isfinite(row->validation))
        lm_trainer_log(t, "step %lld: loss %.4f, validation %.4f", step, row->loss, row->validation);
    else
        lm_trainer_log(t, "step %lld: loss %.4f; the averaged weights' validation loss is not a finite number", step,
                       row->loss);
    return LM_OK;
}

// The row, validation and sample sheet that are due after this step. row->loss becomes the running mean, where there is
// one.
static lm_status report(lm_error *e, lm_trainer *t, metrics_row *row) {
    const lm_run_config *c = t->cfg;
    bool last = t->step == c->steps, validate = every(t->step, c->validate_every) || (last && c->validate_every);
    row->step = t->step;
    row->samples = t->step * c->batch;
    row->skipped = t->skipped;
    row->validated = validate && lm_dataset_count(t->dataset, LM_SPLIT_VALIDATION) > 0;
    if (t->step > t->skipped) row->loss = t->loss_mean;
    if (validate) LM_TRY(validate_and_say(e, t, row));
    if (validate || last || every(t->step, c->log_every)) LM_TRY(lm_metrics_append(e, t, row));
    if (!lm_trainer_is_ssr(t) && (every(t->step, c->explain_every) || (last && c->explain_every)))
        LM_TRY(lm_trainer_explain(e, t));
    if (!every(t->step, c->sample_every) && !(last && c->sample_every)) return LM_OK;
    return lm_trainer_is_ssr(t) ? lm_trainer_ssr_sheet(e, t) : lm_trainer_sample_sheet(e, t);
}

// A run that has all its steps: it may have been killed while it wrote its last files, so these are written again.
static lm_status finish_again(lm_error *e, lm_trainer *t) {
    lm_trainer_log(t, "the run has all of its %lld steps; to go on, raise steps", (long long)t->cfg->steps);
    LM_TRY(lm_metrics_cut(e, t));
    return lm_trainer_save(e, t);
}

// While steps are skipped a checkpoint that is due waits: the weights that led there may be the cause, and the one that
// lies there is from before.
static lm_status loop(lm_error *e, lm_trainer *t, lm_prefetch *data) {
    const lm_run_config *c = t->cfg;
    double start = lm_seconds() - t->seconds, saved = lm_seconds(), begun = lm_seconds();
    int64_t first = t->step;
    bool go = true, due = false;
    while (go && t->step < c->steps) {
        lm_train_batch b;
        metrics_row row = {0};
        LM_TRY(lm_prefetch_next(e, data, &b));
        lm_status s = t->step == first ? lm_metrics_cut(e, t) : LM_OK;
        if (s == LM_OK) s = take_step(e, t, &b, &row);
        lm_train_batch_free(&b);
        LM_TRY(s);
        row.seconds = t->seconds = lm_seconds() - start;
        LM_TRY(report(e, t, &row));
        double left = (lm_seconds() - begun) / (double)(t->step - first) * (double)(c->steps - t->step);
        if (t->o.progress) go = t->o.progress(t->o.user, t->step, c->steps, row.loss, left);
        bool ends = t->step == c->steps;
        if (ends) LM_TRY(lm_trainer_judge_run(e, t));
        due |= every(t->step, c->checkpoint_steps) || lm_seconds() - saved > 60 * c->checkpoint_minutes;
        if (!go || ends || (due && !t->skipped_in_row)) {
            t->seconds = lm_seconds() - start;
            LM_TRY(lm_trainer_save(e, t));
            saved = lm_seconds();
            due = false;
        }
    }
    if (go) return LM_OK;
    return lm_fail(e, LM_CANCELLED, "stopped after step %lld; go on with --resume", (long long)t->step);
}

lm_status lm_train(lm_error *e, lm_device *d, const lm_run_config *cfg, const lm_trainer_options *o) {
    lm_trainer t = {.cfg = cfg, .o = *o, .d = d};
    lm_prefetch *data = NULL;
    lm_status s = o->dry_run ? LM_OK : lm_trainer_take_folder(e, &t);
    if (s == LM_OK) s = set_up(e, &t);
    bool finished = s == LM_OK && t.step >= cfg->steps;
    if (finished && !o->dry_run) s = finish_again(e, &t);
    if (o->dry_run && s == LM_OK && !finished) s = time_steps(e, &t);
    bool go = s == LM_OK && !finished && !o->dry_run;
    if (go) s = lm_prefetch_create(e, t.dataset, &t.batch, (uint32_t)t.step, &data);
    if (go && s == LM_OK) s = loop(e, &t, data);
    lm_prefetch_free(&data);
    tear_down(&t);
    lm_trainer_leave_folder(&t);
    return s;
}
