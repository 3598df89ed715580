// A model in memory: its folder, the text encoder, and the base network's weights on the device.
#include "pipeline/context.h"
#include "pipeline/network_part.h"
#include "pipeline/upscale.h"

#include "base/memory.h"

static lm_status load_base(lm_error *e, lumiere_model *m, const char *folder) {
    LM_TRY(part_config(e, folder, lm_text_encoder_width(m->text), &m->config));
    if (m->config.noise_level_cond || m->config.in_channels != 3 || m->config.out_channels != 3)
        return lm_fail(e, LM_MODEL,
                       "%s/config.json is not a base network: 3 channels in and out and no noise_level_cond are needed",
                       folder);
    return part_weights(e, m->device, folder, &m->config, &m->weights, &m->weight_count);
}

// The configuration alone; the weights are loaded when they are first used.
static lm_status open_upscaler(lm_error *e, lumiere_model *m, const char *folder) {
    upscaler *u = m->ssr = lm_alloc_zero(1, sizeof *u);
    if (!u) return lm_fail_memory(e, sizeof *u, "the super-resolution network");
    u->folder = folder;
    LM_TRY(part_config(e, folder, lm_text_encoder_width(m->text), &u->config));
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

static lm_status open_model(lm_error *e, lumiere_context *c, const char *folder, lumiere_model *m) {
    LM_TRY(api_device(e, c));
    m->device = lm_device_hold(c->device);
    m->compute = c->compute;
    LM_TRY(lm_model_folder_open(e, folder, &m->folder));
    const char *text, *base;
    LM_TRY(required_part(e, m->folder, "text", &text));
    LM_TRY(required_part(e, m->folder, "base", &base));
    LM_TRY(lm_text_encoder_open(e, m->device, text, &m->text));
    LM_TRY(load_base(e, m, base));
    const char *ssr = lm_model_folder_part(m->folder, "ssr");
    if (ssr) LM_TRY(open_upscaler(e, m, ssr));
    return lm_model_folder_hash(e, m->folder, m->hash);
}

lumiere_status lumiere_model_open(lumiere_context *c, const char *folder, lumiere_model **out) {
    lm_error e = {0};
    lumiere_model *m = *out = lm_alloc_zero(1, sizeof *m);
    lm_status status = m ? open_model(&e, c, folder, m) : lm_fail_memory(&e, sizeof *m, "a model");
    if (status != LM_OK) lumiere_model_free(out);
    return api_done(c, status, &e);
}

void lumiere_model_free(lumiere_model **model) {
    lumiere_model *m = *model;
    if (!m) return;
    video_plan_free(&m->plan);
    styles_clear(m);
    if (m->weights) m->device->backend->release_memory(m->device, m->weights);
    upscaler_free(&m->ssr, m->device);
    lm_text_encoder_free(&m->text);
    lm_model_folder_free(&m->folder);
    lm_device_close(&m->device);
    lm_free(m);
    *model = NULL;
}

const char *lumiere_model_name(const lumiere_model *m) {
    return lm_model_folder_name(m->folder);
}

const char *lumiere_model_hash(const lumiere_model *m) {
    return m->hash;
}
