// Styles of a model: the differences that style files hold, added to the base network's image layers.
#include "pipeline/context.h"
#include "pipeline/network_part.h"

#include "base/memory.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static bool is_path(const char *style) {
    static const char ending[] = ".safetensors";
    size_t n = strlen(style), m = sizeof ending - 1;
    return strchr(style, '/') || (n > m && !strcmp(style + n - m, ending));
}

static lm_status unknown_style(lm_error *e, const lumiere_model *m, const char *style) {
    const lm_model_folder *f = m->folder;
    char names[200] = "";
    for (int i = 0; i < lm_model_folder_styles(f); i++) {
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", lm_model_folder_style(f, i)->name);
    }
    return lm_fail(e, LM_USAGE, "the model %s has no style \"%.60s\"; %s%s", lm_model_folder_name(f), style,
                   *names ? "it has " : "name a style file, such as flat.safetensors", names);
}

static lm_status check_style(lm_error *e, const lumiere_style *s) {
    if (!s->style || !*s->style) return lm_fail(e, LM_USAGE, "a style without a name; give a name or a file");
    if (s->alpha >= 0 && s->alpha <= 1) return LM_OK;
    return lm_fail(e, LM_USAGE, "the alpha of the style %.60s is %g; 0 (none of it) to 1 are possible", s->style,
                   s->alpha);
}

static lm_status add_style(lm_error *e, const lumiere_model *m, const lumiere_style *asked, const part_block *b,
                           const char *base, applied_style *out) {
    const char *path = asked->style;
    LM_TRY(check_style(e, asked));
    if (!is_path(path)) {
        const lm_model_style *own = lm_model_folder_find_style(m->folder, path);
        if (!own) return unknown_style(e, m, path);
        path = own->file;
    }
    lm_style *s;
    LM_TRY(lm_style_open(e, path, &s));
    memcpy(out->hash, lm_style_hash(s), sizeof out->hash);
    out->alpha = asked->alpha;
    lm_status status = LM_OK;
    if (asked->hash && strcmp(asked->hash, out->hash) != 0)
        status = lm_fail(e, LM_MODEL, "'%.200s' is not the style file that was asked for: its hash is %s, not %.40s",
                         path, out->hash, asked->hash);
    if (status == LM_OK)
        status = lm_style_add(e, s, b->slots, b->slot_count, lm_unet_is_inflation, base, asked->alpha, b->data);
    lm_style_free(&s);
    if (status == LM_OK && !(out->style = lm_strdup(asked->style))) status = lm_fail_memory(e, 100, "a style");
    return status;
}

void styles_clear(lumiere_model *m) {
    for (int i = 0; i < m->style_count; i++) lm_free(m->styles[i].style);
    memset(m->styles, 0, sizeof m->styles);
    m->style_count = 0;
}

// The base network's weights as its file has them, and the styles added: those of the file again when there are none.
static lm_status set_styles(lm_error *e, lumiere_model *m, const lumiere_style *styles, int count,
                            applied_style *applied) {
    if (count < 0 || count > LUMIERE_MOST_STYLES)
        return lm_fail(e, LM_USAGE, "%d styles; 0 to %d are possible", count, LUMIERE_MOST_STYLES);
    part_block b;
    char base[LM_DIGEST_TEXT], now[17];
    LM_TRY(lm_model_folder_hash(e, m->folder, now));
    if (strcmp(now, m->hash) != 0)
        return lm_fail(e, LM_MODEL, "the files of the model %s have changed since it was opened; open it again",
                       lm_model_folder_path(m->folder));
    lm_status status = part_block_load(e, lm_model_folder_part(m->folder, "base"), &m->config, &b);
    if (status == LM_OK && count)
        status = lm_style_base_hash(e, b.slots, b.slot_count, lm_unet_is_inflation, b.data, base);
    for (int i = 0; i < count && status == LM_OK; i++) status = add_style(e, m, &styles[i], &b, base, &applied[i]);
    size_t bytes = (size_t)b.count * sizeof(float);
    if (status == LM_OK) status = m->device->backend->upload(e, m->device, m->weights, b.data, bytes);
    if (status == LM_OK && m->plan.plan) lm_plan_weights_changed(m->plan.plan);
    part_block_free(&b);
    return status;
}

lumiere_status lumiere_model_set_styles(lumiere_context *c, lumiere_model *m, const lumiere_style *styles, int count) {
    lm_error e = {0};
    applied_style applied[LUMIERE_MOST_STYLES] = {0};
    lm_status status = set_styles(&e, m, styles, count, applied);
    if (status == LM_OK) {
        styles_clear(m);
        memcpy(m->styles, applied, sizeof applied);
        m->style_count = count;
    } else {
        for (int i = 0; i < LUMIERE_MOST_STYLES; i++) lm_free(applied[i].style);
    }
    return api_done(c, status, &e);
}

lm_status styles_describe(lm_error *e, const lumiere_model *m, json_t *recipe) {
    if (!m->style_count) return LM_OK;
    json_t *list = json_array();
    int failed = !list;
    for (int i = 0; i < m->style_count; i++) {
        const applied_style *s = &m->styles[i];
        failed |= json_array_append_new(
            list, json_pack("{s:s, s:f, s:s}", "style", s->style, "alpha", s->alpha, "hash", s->hash));
    }
    failed |= json_object_set_new(recipe, "styles", list);
    return failed ? lm_fail_memory(e, 4096, "the recipe") : LM_OK;
}
