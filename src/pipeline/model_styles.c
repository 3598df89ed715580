// Styles of a model: the differences that style files hold, added to the base network's image layers.
#include "pipeline/context.h"

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

static lm_status check_style(lm_error *e, const lm_style_asked *s) {
    if (!s->style || !*s->style) return lm_fail(e, LM_USAGE, "a style without a name; give a name or a file");
    if (s->alpha >= 0 && s->alpha <= 1) return LM_OK;
    return lm_fail(e, LM_USAGE, "the alpha of the style %.60s is %g; 0 (none of it) to 1 are possible", s->style,
                   s->alpha);
}

// Opens one, and says of it what a recipe does.
static lm_status open_style(lm_error *e, const lumiere_model *m, const lm_style_asked *asked, lm_style **out,
                            applied_style *applied) {
    const char *path = asked->style;
    LM_TRY(check_style(e, asked));
    if (!is_path(path)) {
        const lm_model_style *own = lm_model_folder_find_style(m->folder, path);
        if (!own) return unknown_style(e, m, path);
        path = own->file;
    }
    LM_TRY(lm_style_open(e, path, out));
    memcpy(applied->hash, lm_style_hash(*out), sizeof applied->hash);
    applied->alpha = asked->alpha;
    if (asked->hash && strcmp(asked->hash, applied->hash) != 0)
        return lm_fail(e, LM_MODEL, "'%.200s' is not the style file that was asked for: its hash is %s, not %.40s",
                       path, applied->hash, asked->hash);
    applied->style = lm_strdup(asked->style);
    return applied->style ? LM_OK : lm_fail_memory(e, 100, "a style");
}

typedef struct styling {
    lm_style *styles[LM_MOST_STYLES];
    const applied_style *applied;
    int count;
} styling;

// The base network's weights as its file has them -> with the styles added.
static lm_status add_styles(lm_error *e, void *user, const lm_param_block *b) {
    const styling *s = user;
    char base[LM_DIGEST_TEXT];
    LM_TRY(lm_style_base_hash(e, b->slots, b->slot_count, lm_unet_is_inflation, b->data, base));
    for (int i = 0; i < s->count; i++)
        LM_TRY(lm_style_add(e, s->styles[i], b->slots, b->slot_count, lm_unet_is_inflation, base, s->applied[i].alpha,
                            b->data));
    return LM_OK;
}

// Names a set of styled weights: their files' hashes and alphas, in order. "": no styles.
static void name_weights(const styling *s, char *key, size_t size) {
    *key = 0;
    for (int i = 0; i < s->count; i++) {
        const size_t n = strlen(key);
        snprintf(key + n, size - n, "%s %a;", s->applied[i].hash, s->applied[i].alpha);
    }
}

static lm_status check_files(lm_error *e, const lumiere_model *m) {
    char now[17];
    LM_TRY(lm_model_hash(e, m));
    LM_TRY(lm_model_folder_hash(e, m->folder, now));
    if (!strcmp(now, m->hash)) return LM_OK;
    return lm_fail(e, LM_MODEL, "the files of the model %s have changed since it was opened; open it again",
                   lm_model_folder_path(m->folder));
}

static lm_status apply_styles(lm_error *e, lumiere_model *m, const lm_style_asked *styles, int count,
                              applied_style *applied) {
    enum { KEY = LM_MOST_STYLES * (LM_DIGEST_TEXT + 40) };
    char key[KEY];
    lm_weights *styled = NULL;
    if (count < 0 || count > LM_MOST_STYLES)
        return lm_fail(e, LM_USAGE, "%d styles; 0 to %d are possible", count, LM_MOST_STYLES);
    LM_TRY(check_files(e, m));
    styling s = {.applied = applied, .count = count};
    lm_status status = LM_OK;
    for (int i = 0; i < count && status == LM_OK; i++) status = open_style(e, m, &styles[i], &s.styles[i], &applied[i]);
    name_weights(&s, key, sizeof key);
    if (status == LM_OK) status = lm_network_weights(e, m->base, key, count ? add_styles : NULL, &s, &styled);
    for (int i = 0; i < count; i++) lm_style_free(&s.styles[i]);
    LM_TRY(status);
    lm_weights_let_go(&m->weights);
    m->weights = styled;
    return LM_OK;
}

lm_status lm_model_set_styles(lm_error *e, lumiere_model *m, const lm_style_asked *styles, int count) {
    applied_style applied[LM_MOST_STYLES] = {0};
    lm_status status = apply_styles(e, m, styles, count, applied);
    if (status != LM_OK) {
        for (int i = 0; i < LM_MOST_STYLES; i++) lm_free(applied[i].style);
        return status;
    }
    lm_styles_clear(m);
    memcpy(m->styles, applied, sizeof applied);
    m->style_count = count;
    m->styles_of = 0;
    return LM_OK;
}

lm_status lm_styles_describe(lm_error *e, const lumiere_model *m, json_t *recipe) {
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
