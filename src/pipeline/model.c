// A model in memory: its folder, the text encoder, and the base network's weights on the device.
#include "pipeline/context.h"
#include "pipeline/upscale.h"

#include "base/memory.h"

#include <string.h>

// A part's network is told texts as long and wide as the base network's.
static lm_status check_text(lm_error *e, const lumiere_model *m, const char *folder, const lm_unet_config *c) {
    const int width = lm_text_encoder_width(m->text), tokens = lm_text_encoder_tokens(m->text);
    if (c->text_width != width)
        return lm_fail(e, LM_MODEL, "%s/config.json: text_width is %d, but the text encoder's width is %d", folder,
                       c->text_width, width);
    if (c->text_tokens != tokens)
        return lm_fail(e, LM_MODEL, "%s/config.json: text_tokens is %d, but the base network's are %d", folder,
                       c->text_tokens, tokens);
    return LM_OK;
}

static lm_status open_base(lm_error *e, lumiere_model *m, const char *folder, const char *text) {
    LM_TRY(lm_network_open(e, m->device, &lm_unet_family, folder, m->compute, &m->base));
    m->config = *(const lm_unet_config *)lm_network_config(m->base);
    LM_TRY(lm_text_encoder_open(e, m->device, text, m->config.text_tokens, &m->text));
    LM_TRY(check_text(e, m, folder, &m->config));
    if (m->config.noise_level_cond || m->config.in_channels != 3 || m->config.out_channels != 3)
        return lm_fail(e, LM_MODEL,
                       "%s/config.json is not a base network: 3 channels in and out and no noise_level_cond are needed",
                       folder);
    return LM_OK;
}

// The weights are loaded when they are first used.
static lm_status open_upscaler(lm_error *e, lumiere_model *m, const char *folder) {
    upscaler *u = m->ssr = lm_alloc_zero(1, sizeof *u);
    if (!u) return lm_fail_memory(e, sizeof *u, "the super-resolution network");
    LM_TRY(lm_network_open(e, m->device, &lm_unet_family, folder, m->compute, &u->network));
    u->config = *(const lm_unet_config *)lm_network_config(u->network);
    LM_TRY(check_text(e, m, folder, &u->config));
    if (lm_unet_is_ssr(&u->config)) return LM_OK;
    return lm_fail(e, LM_MODEL,
                   "%s/config.json is not a super-resolution network: 3 channels in, out and as condition, "
                   "noise_level_cond, residual_scale, video and no temporal_down are needed",
                   folder);
}

static lm_status required_part(lm_error *e, const lm_model_folder *f, const char *name, const char **out) {
    *out = lm_model_folder_part(f, name);
    return *out ? LM_OK : lm_fail(e, LM_MODEL, "%s/model.json names no part \"%s\"", lm_model_folder_path(f), name);
}

static lm_status open_model(lm_error *e, const lumiere_context *c, const char *folder, lumiere_model *m) {
    LM_TRY(lm_context_device(e, c));
    m->device = lm_device_hold(c->device);
    m->compute = c->compute;
    m->own = *c;
    lm_error_clear(&m->own.error);
    LM_TRY(lm_model_folder_open(e, folder, &m->folder));
    const char *text, *base;
    LM_TRY(required_part(e, m->folder, "text", &text));
    LM_TRY(required_part(e, m->folder, "base", &base));
    LM_TRY(open_base(e, m, base, text));
    const char *ssr = lm_model_folder_part(m->folder, "ssr");
    if (ssr) LM_TRY(open_upscaler(e, m, ssr));
    return LM_OK;
}

static lm_status hash_files(lm_error *e, void *user) {
    lumiere_model *m = user;
    return lm_model_folder_hash(e, m->folder, m->hash);
}

lm_status lm_model_hash(lm_error *e, const lumiere_model *model) {
    lumiere_model *m = (lumiere_model *)model; // only what is known of it changes
    if (m->hashing) return lm_later_end(e, &m->hashing);
    return *m->hash ? LM_OK : hash_files(e, m);
}

// The files are hashed meanwhile, by a thread of its own.
lm_status lm_model_load(lm_error *e, lumiere_model *m) {
    if (m->weights) return LM_OK;
    if (!*m->hash && !m->hashing) m->hashing = lm_later_begin(hash_files, m);
    LM_TRY(lm_text_encoder_load(e, m->text));
    return lm_network_weights(e, m->base, "", NULL, NULL, &m->weights);
}

lm_status lm_model_open(lm_error *e, const lumiere_context *c, const char *folder, bool loaded, lumiere_model **out) {
    lumiere_model *m = *out = lm_alloc_zero(1, sizeof *m);
    lm_status status = m ? open_model(e, c, folder, m) : lm_fail_memory(e, sizeof *m, "a model");
    if (status == LM_OK && loaded) status = lm_model_load(e, m);
    if (status != LM_OK) lm_model_free(out);
    return status;
}

void lm_styles_clear(lumiere_model *m) {
    for (int i = 0; i < m->style_count; i++) lm_free(m->styles[i].style);
    memset(m->styles, 0, sizeof m->styles);
    m->style_count = 0;
}

void lm_model_free(lumiere_model **model) {
    lumiere_model *m = *model;
    if (!m) return;
    lm_later_end(NULL, &m->hashing);
    lm_styles_clear(m);
    lm_weights_let_go(&m->weights);
    lm_network_free(&m->base);
    lm_upscaler_free(&m->ssr);
    lm_text_encoder_free(&m->text);
    lm_model_folder_free(&m->folder);
    lm_device_close(&m->device);
    lm_free(m);
    *model = NULL;
}
