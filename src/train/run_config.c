// One table says every key's name, type and bounds, in the rows of settings/; libyaml's document tree is read against
// it. (libcyaml was considered: it offers neither defaults nor overrides, which need this table all the same.)
#include "train/run_config.h"

#include "base/files.h"
#include "base/memory.h"
#include "net/families/unet.h"
#include "settings/settings.h"
#include "store/style_file.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

// A key of a run file: a row of the same kind as the settings of the tasks have, and its place in lm_run_config.
typedef struct run_key {
    size_t at;
    lumiere_setting face;
} run_key;

#define KEY(name, of_kind, ...)                                                                                        \
    {                                                                                                                  \
        .at = offsetof(lm_run_config, name), .face = {.key = #name, .kind = of_kind, __VA_ARGS__ }                     \
    }
#define TEXT(name, initial, meaning) KEY(name, LUMIERE_TEXT, .preset = initial, .help = meaning)
#define LIST(name, meaning) KEY(name, LUMIERE_TEXT, .list = true, .help = meaning)
#define WHOLE(name, low, high, initial, meaning)                                                                       \
    KEY(name, LUMIERE_WHOLE, .least = low, .most = high, .preset = initial, .help = meaning)
#define NUMBER(name, low, high, initial, meaning)                                                                      \
    KEY(name, LUMIERE_NUMBER, .least = low, .most = high, .preset = initial, .help = meaning)

static const run_key keys[] = {
    TEXT(stage, "",
         "image (the text-to-image network), video (its inflation, image weights frozen), ssr (super-resolution) or "
         "style (the image weights of init, tuned to a drawing style)"),
    LIST(data, "tar shards, folders of them, or folders of clip.mp4 + clip.txt"),
    TEXT(text, "models/emoji/text", "folder of the text encoder"),
    TEXT(out, "", "folder of the run; made when missing"),
    TEXT(init, "", "folder with config.json and model.safetensors to start from"),
    TEXT(inflation, "", "video stage: folder of an earlier run whose inflation goes around init's image layers"),
    TEXT(config, "", "config.json of a network born anew; empty: the default network"),
    TEXT(style, "3d", "drawing style of the stills"),
    TEXT(style_name, "", "style stage: name of the style file, of a-z, 0-9, _ and -; empty: that of `style`"),
    TEXT(style_licence, "NOASSERTION", "style stage: licence of the style file, an SPDX expression"),
    WHOLE(style_rank, 0, 256, "64",
          "style stage: rank of the differences in the style file; 0: 8-bit rows, exact and large"),
    WHOLE(size, 8, 1024, "32", "pixels of a side"),
    WHOLE(frames, 1, 80, "80", "frames of a clip in the stages video and ssr"),
    WHOLE(crop, 16, 1024, "96", "ssr stage: pixels of the squares cut out, a multiple of 16"),
    WHOLE(batch, 1, 4096, "32", "clips in a step"),
    WHOLE(steps, 1, 1e9, "10000", "optimiser steps of the whole run"),
    WHOLE(warmup, 1, 1e9, "200", "steps over which the learning rate rises"),
    NUMBER(learning_rate, 0, 10, "1e-3", "AdamW's rate after the warm-up"),
    NUMBER(cooldown, 0, 1, "0.2", "share of the steps at whose end the rate falls to 0"),
    NUMBER(weight_decay, 0, 10, "0.01", "decoupled weight decay"),
    NUMBER(beta1, 0, 0.99999, "0.9", "AdamW's first moment"),
    NUMBER(beta2, 0, 0.999999, "0.99", "AdamW's second moment"),
    NUMBER(eps, 1e-16, 1, "1e-8", "AdamW's denominator"),
    TEXT(optimizer, "adamw",
         "adamw, or muon for the matrices of convolutions, attention and conditions and AdamW for the rest"),
    NUMBER(muon_rate, 0, 10, "0.02", "Muon's rate after the warm-up"),
    NUMBER(muon_momentum, 0, 0.99999, "0.95", "Muon's momentum"),
    NUMBER(muon_decay, 0, 10, "0.01", "Muon's decoupled weight decay"),
    WHOLE(muon_steps, 4, 5, "5",
          "steps of Muon's iteration: 5 as published, 4 chosen to come as near in less time where it is computed in "
          "fp32, as these 4 always are"),
    WHOLE(muon_parts, 0, 2, "1",
          "matrices stored as one that Muon takes one by one: 1 pairs (scale and shift; the text's keys and values), "
          "which costs less, 2 query, key and value as well, 0 none"),
    LIST(groups, "groups of parameters with an optimizer of their own: GROUP adamw, GROUP muon, or GROUP muon RATE"),
    NUMBER(clip, 1e-6, 1e9, "1", "bound of the gradient's norm"),
    NUMBER(average, 0, 0.999999, "0.9995", "largest decay of the moving average of the weights"),
    NUMBER(outlier, 1.5, 1e9, "20", "skip a step whose loss is this many times the running mean"),
    NUMBER(caption_dropout, 0, 1, "0.1", "share of captions left empty, for guidance"),
    NUMBER(motion_share, 0, 1, "0.5", "share of sprites moved or scaled; begin a training with 0"),
    NUMBER(motion_caption_share, 0, 1, "0", "image stage: share of the moved stills whose caption names the motion"),
    NUMBER(moment_share, 0, 1, "0",
           "image stage: share of the stills of which the network is told the moment within the clip; above 0 it gets "
           "an input for that"),
    NUMBER(wording_share, 0, 1, "0", "share of the captions told in other words and in any order"),
    NUMBER(caption_share, 0, 1, "0",
           "share of the captions that are a sprite's caption itself; the others are drawn evenly from it and its "
           "paraphrases"),
    NUMBER(plain_share, 0, 1, "0", "video stage: share of the stills that stay where they are, with plain captions"),
    NUMBER(condition_share, 0, 1, "1",
           "video stage: share of clips for which a condition is drawn; the others are given nothing"),
    NUMBER(time_shift, 0.01, 100, "1",
           "signal-to-noise amplitude of the drawn noise levels is divided by this; above 1: more noise"),
    NUMBER(color_share, 0, 1, "0.5", "share of sprites on a coloured background"),
    WHOLE(seed, 0, 9e15, "0", "of weights, data and noise"),
    NUMBER(checkpoint_minutes, 0.01, 1e6, "10", "minutes between checkpoints"),
    WHOLE(checkpoint_steps, 0, 1e9, "0", "steps between checkpoints; 0: by the clock only"),
    WHOLE(log_every, 1, 1e9, "50", "steps to a line of metrics.csv"),
    WHOLE(validate_every, 0, 1e9, "500", "steps between validations; 0: none"),
    WHOLE(validation_clips, 1, 1e6, "128",
          "fixed (clip, time, noise) triples of a validation, rounded up to whole batches"),
    WHOLE(explain_every, 0, 1e9, "0",
          "steps between measurements of the variance explained, into explained.csv; 0: none"),
    WHOLE(sample_every, 0, 1e9, "2000", "steps between sample sheets; 0: none"),
    WHOLE(sample_steps, 1, 1000, "20", "sampling steps of a sheet"),
    NUMBER(sample_cfg_scale, 0, 100, "4", "guidance of a sheet"),
    LIST(sample_prompts, "prompts of a sheet, up to 64"),
};
enum { KEYS = sizeof keys / sizeof keys[0] };

static void *field(lm_run_config *c, const run_key *k) {
    return (unsigned char *)c + k->at;
}

const char *lm_run_config_describe(int index, const char **type, const char **meaning) {
    if (index < 0 || index >= KEYS) return NULL;
    const lumiere_setting *s = &keys[index].face;
    *type = s->list                     ? "list of texts"
            : s->kind == LUMIERE_WHOLE  ? "whole number"
            : s->kind == LUMIERE_NUMBER ? "number"
                                        : "text";
    *meaning = s->help;
    return s->key;
}

static void free_list(lm_run_list *l) {
    for (int i = 0; i < l->count; i++) lm_free(l->at[i]);
    *l = (lm_run_list){0};
}

static bool is_one_text(const run_key *k) {
    return k->face.kind == LUMIERE_TEXT && !k->face.list;
}

void lm_run_config_free(lm_run_config *c) {
    for (int i = 0; i < KEYS; i++) {
        if (is_one_text(&keys[i])) {
            char **text = field(c, &keys[i]);
            lm_free(*text);
            *text = NULL;
        } else if (keys[i].face.list) {
            free_list(field(c, &keys[i]));
        }
    }
}

// false: the text is no such number.
static bool read_number(const run_key *k, const char *text, lm_run_config *c) {
    lm_value v = {0};
    if (!lm_value_read(&k->face, text, &v)) return false;
    if (k->face.kind == LUMIERE_WHOLE)
        *(int64_t *)field(c, k) = v.whole;
    else
        *(double *)field(c, k) = v.number;
    return true;
}

static lm_status set_defaults(lm_error *e, lm_run_config *c) {
    memset(c, 0, sizeof *c);
    for (int i = 0; i < KEYS; i++) {
        const run_key *k = &keys[i];
        if (k->face.list) continue;
        if (!is_one_text(k))
            read_number(k, k->face.preset, c);
        else if (!(*(char **)field(c, k) = lm_strdup(k->face.preset)))
            return lm_fail_memory(e, 64, "the run's settings");
    }
    return LM_OK;
}

// where: "run.yaml, line 3" or "--set".
static lm_status set_number(lm_error *e, const char *where, const run_key *k, const char *text, lm_run_config *c) {
    if (read_number(k, text, c)) return LM_OK;
    return lm_fail(e, LM_USAGE, "%s: %s must be a %snumber from %g to %g, not \"%.40s\"", where, k->face.key,
                   k->face.kind == LUMIERE_WHOLE ? "whole " : "", k->face.least, k->face.most, text);
}

static lm_status set_text(lm_error *e, char **to, const char *text) {
    char *copy = lm_strdup(text);
    if (!copy) return lm_fail_memory(e, (double)strlen(text), "the run's settings");
    lm_free(*to);
    *to = copy;
    return LM_OK;
}

static lm_status add_item(lm_error *e, const char *where, const run_key *k, const char *text, lm_run_list *l) {
    if (l->count == LM_RUN_LIST)
        return lm_fail(e, LM_USAGE, "%s: %s has more than %d entries", where, k->face.key, LM_RUN_LIST);
    LM_TRY(set_text(e, &l->at[l->count], text));
    l->count++;
    return LM_OK;
}

static const char *scalar(const yaml_node_t *n) {
    if (!n || n->type != YAML_SCALAR_NODE || strlen((const char *)n->data.scalar.value) != n->data.scalar.length)
        return NULL;
    return (const char *)n->data.scalar.value;
}

static lm_status set_value(lm_error *e, const char *where, const run_key *k, yaml_document_t *doc, const yaml_node_t *v,
                           lm_run_config *c) {
    const char *text = scalar(v);
    if (!k->face.list) {
        if (!text) return lm_fail(e, LM_USAGE, "%s: %s takes one value", where, k->face.key);
        return is_one_text(k) ? set_text(e, field(c, k), text) : set_number(e, where, k, text, c);
    }
    lm_run_list *l = field(c, k);
    free_list(l);
    if (text) return add_item(e, where, k, text, l);
    if (v->type != YAML_SEQUENCE_NODE) return lm_fail(e, LM_USAGE, "%s: %s takes a list", where, k->face.key);
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++) {
        text = scalar(yaml_document_get_node(doc, *i));
        if (!text) return lm_fail(e, LM_USAGE, "%s: %s takes a list of texts", where, k->face.key);
        LM_TRY(add_item(e, where, k, text, l));
    }
    return LM_OK;
}

static const run_key *find_key(const char *name) {
    for (int i = 0; i < KEYS; i++)
        if (!strcmp(keys[i].face.key, name)) return &keys[i];
    return NULL;
}

static lm_status read_mapping(lm_error *e, const char *name, yaml_document_t *doc, lm_run_config *c) {
    const yaml_node_t *root = yaml_document_get_root_node(doc);
    if (!root || root->type != YAML_MAPPING_NODE)
        return lm_fail(e, LM_USAGE, "%s: not a mapping of keys to values", name);
    bool seen[KEYS] = {false};
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
        const yaml_node_t *kn = yaml_document_get_node(doc, p->key), *vn = yaml_document_get_node(doc, p->value);
        char where[300];
        snprintf(where, sizeof where, "%.200s, line %zu", name, kn ? kn->start_mark.line + 1 : 0);
        const char *text = scalar(kn);
        const run_key *k = text ? find_key(text) : NULL;
        if (!k)
            return lm_fail(e, LM_USAGE, "%s: unknown key \"%.60s\"; docs/training.md lists the keys", where,
                           text ? text : "?");
        if (seen[k - keys]) return lm_fail(e, LM_USAGE, "%s: %s stands there twice", where, k->face.key);
        seen[k - keys] = true;
        LM_TRY(set_value(e, where, k, doc, vn, c));
    }
    return LM_OK;
}

static lm_status yaml_failed(lm_error *e, const char *name, const yaml_parser_t *p) {
    if (p->error == YAML_MEMORY_ERROR) return lm_fail_memory(e, 1e4, "the run's settings");
    return lm_fail(e, LM_USAGE, "%s, line %zu, column %zu: not YAML: %s", name, p->problem_mark.line + 1,
                   p->problem_mark.column + 1, p->problem ? p->problem : "unreadable");
}

static lm_status expect_end(lm_error *e, const char *name, yaml_parser_t *parser) {
    yaml_document_t doc;
    if (!yaml_parser_load(parser, &doc)) return yaml_failed(e, name, parser);
    const yaml_node_t *more = yaml_document_get_root_node(&doc);
    size_t line = more ? more->start_mark.line + 1 : 0;
    yaml_document_delete(&doc);
    return more ? lm_fail(e, LM_USAGE, "%s, line %zu: a second document; one is read", name, line) : LM_OK;
}

static lm_status load(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_run_config *c) {
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser)) return lm_fail_memory(e, sizeof parser, "the YAML parser");
    yaml_parser_set_input_string(&parser, bytes, size);
    lm_status s;
    if (!yaml_parser_load(&parser, &doc)) {
        s = yaml_failed(e, name, &parser);
    } else {
        s = read_mapping(e, name, &doc, c);
        yaml_document_delete(&doc);
        if (s == LM_OK) s = expect_end(e, name, &parser);
    }
    yaml_parser_delete(&parser);
    return s;
}

lm_status lm_run_config_parse(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_run_config *out) {
    LM_TRY(set_defaults(e, out));
    return load(e, name, bytes, size, out);
}

// The value is YAML too, so that a list can be given: --set 'data=[a.tar, b.tar]'.
static lm_status apply_override(lm_error *e, const char *text, lm_run_config *c) {
    const char *equals = strchr(text, '=');
    if (!equals || equals == text) return lm_fail(e, LM_USAGE, "--set %.60s: must be key=value", text);
    char *line = lm_format("%.*s: %s\n", (int)(equals - text), text, equals + 1);
    if (!line) return lm_fail_memory(e, (double)strlen(text), "the run's settings");
    lm_status s = load(e, "--set", (const uint8_t *)line, strlen(line), c);
    lm_free(line);
    return s;
}

const char *lm_run_config_style_name(const lm_run_config *c) {
    return *c->style_name ? c->style_name : c->style;
}

static lm_status check_style(lm_error *e, const char *name, const lm_run_config *c) {
    const char *style = lm_run_config_style_name(c);
    if (!*c->init)
        return lm_fail(e, LM_USAGE, "%s: the style stage needs init: the folder of the weights that the style is for",
                       name);
    if (!lm_style_name_ok(style) || !strcmp(style, "model") || !strcmp(style, "checkpoint"))
        return lm_fail(e, LM_USAGE,
                       "%s: a style can't be called \"%.40s\"; style_name takes a-z, 0-9, _ and -, but not model and "
                       "checkpoint",
                       name, style);
    if (!*c->style_licence) return lm_fail(e, LM_USAGE, "%s: style_licence is empty; name a licence", name);
    return LM_OK;
}

static lm_status check(lm_error *e, const char *name, const lm_run_config *c) {
    static const char *const stages[] = {"image", "video", "ssr", "style"};
    bool known = false;
    for (int i = 0; i < 4; i++) known |= !strcmp(c->stage, stages[i]);
    if (!known)
        return lm_fail(e, LM_USAGE, "%s: stage must be image, video, ssr or style, not \"%.40s\"", name, c->stage);
    for (int i = 0; i < c->data.count; i++)
        if (!*c->data.at[i]) return lm_fail(e, LM_USAGE, "%s: data has an empty entry; name a tar or a folder", name);
    if (!c->data.count) return lm_fail(e, LM_USAGE, "%s: data is missing: the tar shards or folders to train on", name);
    if (!*c->out) return lm_fail(e, LM_USAGE, "%s: out is missing: the folder of the run", name);
    if (!strcmp(c->stage, "video") && !*c->init)
        return lm_fail(e, LM_USAGE, "%s: the video stage needs init: the folder of the image stage's weights", name);
    if (*c->inflation && strcmp(c->stage, "video") != 0)
        return lm_fail(e, LM_USAGE, "%s: inflation is of the video stage, not of %s", name, c->stage);
    if (!strcmp(c->stage, "style")) LM_TRY(check_style(e, name, c));
    lm_group_rule rules[LM_UNET_GROUPS];
    LM_TRY(lm_run_config_rules(e, name, c, rules));
    if (c->crop % 16) return lm_fail(e, LM_USAGE, "%s: crop is %d; it must be a multiple of 16", name, (int)c->crop);
    if (*c->init && *c->config) return lm_fail(e, LM_USAGE, "%s: give init or config, not both", name);
    return LM_OK;
}

lm_status lm_run_config_read(lm_error *e, const char *path, const char *const *overrides, int count,
                             lm_run_config *out) {
    memset(out, 0, sizeof *out);
    uint8_t *bytes;
    size_t size;
    LM_TRY(lm_file_read(e, path, 1 << 20, LM_MEDIA, &bytes, &size));
    lm_status s = lm_run_config_parse(e, path, bytes, size, out);
    lm_free(bytes);
    for (int i = 0; i < count && s == LM_OK; i++) s = apply_override(e, overrides[i], out);
    return s == LM_OK ? check(e, path, out) : s;
}
