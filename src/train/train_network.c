// What every part of the trainer needs: where things go, what is said, and the network for a batch.
#include "train/trainer_internal.h"

#include "base/memory.h"
#include "base/plain_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool trainer_is_image(const lm_trainer *t) {
    return !strcmp(t->cfg->stage, "image");
}

bool trainer_is_video(const lm_trainer *t) {
    return !strcmp(t->cfg->stage, "video");
}

bool trainer_is_ssr(const lm_trainer *t) {
    return !strcmp(t->cfg->stage, "ssr");
}

bool trainer_is_style(const lm_trainer *t) {
    return !strcmp(t->cfg->stage, "style");
}

int trainer_side(const lm_trainer *t) {
    return (int)(trainer_is_ssr(t) ? t->cfg->crop : t->cfg->size);
}

char *trainer_path(const lm_trainer *t, const char *name) {
    return lm_format("%s/%s", t->cfg->out, name);
}

void trainer_log(const lm_trainer *t, const char *format, ...) {
    if (!t->o.log) return;
    char line[512];
    va_list args;
    va_start(args, format);
    lm_text_vline(line, sizeof line, format, args);
    va_end(args);
    t->o.log(t->o.user, line);
}

lm_status trainer_network(lm_error *e, const lm_trainer *t, int clips, bool with_loss, bool train, train_network *out) {
    *out = (train_network){.target = LM_NONE, .loss = LM_NONE};
    lm_graph *g = out->graph = lm_graph_create(t->o.precision);
    if (!g) return lm_fail_memory(e, 1e6, "the network");
    if (train) lm_graph_train(g, trainer_is_video(t) ? lm_unet_is_inflation : NULL);
    int64_t size = trainer_side(t), frames = t->batch.frames;
    out->io = lm_unet_build(g, &t->net, clips, frames, size, size, LM_TEXT_TOKENS);
    if (with_loss) {
        out->target = lm_input(g, "target", LM_F32, clips, frames, size, size, t->net.out_channels);
        out->loss = lm_mse(g, out->io.v, out->target);
        lm_output(g, out->loss);
    }
    if (train) lm_graph_backward(g, out->loss);
    return lm_plan_create(e, g, t->d, &out->plan);
}

void trainer_network_free(train_network *n) {
    lm_plan_free(&n->plan);
    lm_graph_free(&n->graph);
}

lm_status trainer_feed(lm_error *e, lm_trainer *t, train_network *n, const lm_train_batch *b) {
    size_t clips = (size_t)b->data.clips, width = (size_t)t->net.text_width;
    size_t pixels = clips * (size_t)b->data.frames * (size_t)b->data.size * (size_t)b->data.size;
    LM_TRY(
        lm_text_cache_get_many(e, t->texts, (const char *const *)b->data.captions, b->data.clips, t->states, t->mask));
    LM_TRY(lm_plan_write(e, n->plan, n->io.text, t->states, clips * LM_TEXT_TOKENS * width * sizeof(float)));
    LM_TRY(lm_plan_write(e, n->plan, n->io.mask, t->mask, clips * LM_TEXT_TOKENS * sizeof(float)));
    LM_TRY(lm_plan_write(e, n->plan, n->io.t, b->t, clips * sizeof(float)));
    LM_TRY(lm_plan_write(e, n->plan, n->io.x, b->xt, pixels * 3 * sizeof(float)));
    if (n->io.cond.id >= 0)
        LM_TRY(lm_plan_write(e, n->plan, n->io.cond, b->data.cond,
                             pixels * (size_t)b->data.cond_channels * sizeof(float)));
    if (n->io.noise_level.id >= 0)
        LM_TRY(lm_plan_write(e, n->plan, n->io.noise_level, b->data.level, clips * sizeof(float)));
    if (n->io.moment.id >= 0)
        LM_TRY(lm_plan_write(e, n->plan, n->io.moment, b->data.moment, clips * (size_t)b->data.frames * sizeof(float)));
    if (n->target.id < 0) return LM_OK;
    return lm_plan_write(e, n->plan, n->target, b->v, pixels * 3 * sizeof(float));
}
