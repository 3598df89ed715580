// What every part of the trainer needs: where things go, what is said, and the network for a batch.
#include "train/trainer_internal.h"

#include "base/memory.h"
#include "base/plain_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool lm_trainer_is_image(const lm_trainer *t) {
    return !strcmp(t->cfg->stage, "image");
}

bool lm_trainer_is_video(const lm_trainer *t) {
    return !strcmp(t->cfg->stage, "video");
}

bool lm_trainer_is_ssr(const lm_trainer *t) {
    return !strcmp(t->cfg->stage, "ssr");
}

bool lm_trainer_is_style(const lm_trainer *t) {
    return !strcmp(t->cfg->stage, "style");
}

int lm_trainer_side(const lm_trainer *t) {
    return (int)(lm_trainer_is_ssr(t) ? t->cfg->crop : t->cfg->size);
}

char *lm_trainer_path(const lm_trainer *t, const char *name) {
    return lm_format("%s/%s", t->cfg->out, name);
}

void lm_trainer_log(const lm_trainer *t, const char *format, ...) {
    if (!t->o.log) return;
    char line[512];
    va_list args;
    va_start(args, format);
    lm_text_vline(line, sizeof line, format, args);
    va_end(args);
    t->o.log(t->o.user, line);
}

lm_net_use lm_trainer_use(const lm_trainer *t, int clips, lm_net_purpose purpose) {
    const int64_t side = lm_trainer_side(t);
    return (lm_net_use){.shape = {clips, t->batch.frames, side, side, t->net.text_tokens},
                        .purpose = purpose,
                        .trained = lm_trainer_is_video(t) ? lm_unet_is_inflation : NULL};
}

lm_status lm_trainer_run(lm_error *e, lm_trainer *t, const lm_net_use *u, const float *weights, const lm_train_batch *b,
                         float *loss, float *v) {
    LM_TRY(
        lm_text_cache_get_many(e, t->texts, (const char *const *)b->data.captions, b->data.clips, t->states, t->mask));
    const lm_feed feeds[] = {{"x", b->xt},
                             {"t", b->t},
                             {"text", t->states},
                             {"mask", t->mask},
                             {"cond", b->data.cond},
                             {"noise_level", b->data.level},
                             {"moment", b->data.moment},
                             {"target", b->v},
                             {NULL, NULL}};
    lm_fetch fetches[3] = {{NULL, NULL}};
    int n = 0;
    if (loss) fetches[n++] = (lm_fetch){"loss", loss};
    if (v) fetches[n++] = (lm_fetch){"v", v};
    return lm_network_run(e, t->network, u, weights, u->purpose == LM_NET_TRAIN ? t->grads : NULL, feeds, fetches);
}
