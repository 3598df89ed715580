// config.json: the fields of lm_unet_config by name, strictly.
#include "base/files.h"
#include "base/memory.h"
#include "net/families/unet.h"
#include "store/json_text.h"

#include <stdlib.h>
#include <string.h>

lm_unet_config lm_unet_config_default(void) {
    return (lm_unet_config){.in_channels = 3,
                            .out_channels = 3,
                            .patch = 1,
                            .levels = 4,
                            .channels = {32, 96, 160, 256},
                            .res_blocks = 2,
                            .attention = {false, false, true, true},
                            .head_dim = 32,
                            .groups = 16,
                            .text_width = 384,
                            .embed_width = 512,
                            .temporal_down = {true, true, true},
                            .temporal_attention_blocks = 2,
                            .max_frames = 80,
                            .text_tokens = LM_TEXT_TOKENS,
                            .norm_eps = 1e-5,
                            .fourier_scale = 1000};
}

lm_unet_config lm_unet_config_ssr(void) {
    lm_unet_config c = lm_unet_config_default();
    c.cond_channels = 3;
    c.patch = 4;
    c.levels = 3;
    c.channels[0] = 64, c.channels[1] = 96, c.channels[2] = 160, c.channels[3] = 0;
    memset(c.attention, 0, sizeof c.attention);
    memset(c.temporal_down, 0, sizeof c.temporal_down);
    c.noise_level_cond = c.video = true;
    c.residual_scale = 8;
    c.temporal_attention_blocks = 1;
    c.max_frames = 16;
    return c;
}

int lm_unet_size_multiple(const lm_unet_config *c) {
    return c->patch << (c->levels - 1);
}

int lm_unet_frame_multiple(const lm_unet_config *c) {
    int n = 1;
    for (int i = 0; i + 1 < c->levels; i++) n <<= c->video && c->temporal_down[i];
    return n;
}

bool lm_unet_is_ssr(const lm_unet_config *c) {
    return c->in_channels == 3 && c->cond_channels == 3 && c->out_channels == 3 && c->noise_level_cond && c->video &&
           c->residual_scale > 0 && lm_unet_frame_multiple(c) == 1;
}

typedef enum field_kind { FIELD_INT, FIELD_BOOL, FIELD_NUMBER, FIELD_INTS, FIELD_BOOLS } field_kind;

// Who may leave a key out; it then is as in the default network.
typedef enum needed { ALWAYS, OF_VIDEO, NEVER } needed;

static const struct field {
    const char *name;
    field_kind kind;
    size_t at;
    double low, high;
    needed needed;
} fields[] = {
#define FIELD(name, kind, low, high, needed)                                                                           \
    { #name, kind, offsetof(lm_unet_config, name), low, high, needed }
    FIELD(in_channels, FIELD_INT, 1, 64, ALWAYS),
    FIELD(cond_channels, FIELD_INT, 0, 64, ALWAYS),
    FIELD(out_channels, FIELD_INT, 1, 64, ALWAYS),
    FIELD(patch, FIELD_INT, 1, 16, ALWAYS),
    FIELD(channels, FIELD_INTS, 1, 8192, ALWAYS),
    FIELD(res_blocks, FIELD_INT, 1, 8, ALWAYS),
    FIELD(attention, FIELD_BOOLS, 0, 1, ALWAYS),
    FIELD(head_dim, FIELD_INT, 1, 1024, ALWAYS),
    FIELD(groups, FIELD_INT, 1, 1024, ALWAYS),
    FIELD(text_width, FIELD_INT, 1, 8192, ALWAYS),
    FIELD(embed_width, FIELD_INT, 1, 8192, ALWAYS),
    FIELD(noise_level_cond, FIELD_BOOL, 0, 1, ALWAYS),
    FIELD(moment_cond, FIELD_BOOL, 0, 1, NEVER),     // models older than it have none
    FIELD(residual_scale, FIELD_INT, 0, 256, NEVER), // models older than it have none
    FIELD(video, FIELD_BOOL, 0, 1, ALWAYS),
    FIELD(temporal_down, FIELD_BOOLS, 0, 1, OF_VIDEO),
    FIELD(temporal_attention_blocks, FIELD_INT, 1, 16, OF_VIDEO),
    FIELD(max_frames, FIELD_INT, 1, 4096, OF_VIDEO),
    FIELD(text_tokens, FIELD_INT, 8, 512, NEVER),
    FIELD(norm_eps, FIELD_NUMBER, 1e-9, 1e-3, NEVER),
    FIELD(fourier_scale, FIELD_NUMBER, 1, 1e5, NEVER),
};
enum { FIELDS = sizeof fields / sizeof fields[0] };

static const char *kind_name(field_kind k) {
    static const char *const names[] = {"a whole number", "true or false", "a number", "a list of whole numbers",
                                        "a list of true and false"};
    return names[k];
}

static bool read_scalar(const struct field *f, const json_t *v, void *to) {
    if (f->kind == FIELD_BOOL || f->kind == FIELD_BOOLS) {
        if (!json_is_boolean(v)) return false;
        *(bool *)to = json_is_true(v);
        return true;
    }
    if (!(f->kind == FIELD_NUMBER ? json_is_number(v) : json_is_integer(v))) return false;
    const double number = json_number_value(v);
    if (!(number >= f->low && number <= f->high)) return false;
    if (f->kind == FIELD_NUMBER) {
        *(double *)to = number;
        return true;
    }
    *(int *)to = (int)json_integer_value(v);
    return true;
}

static lm_status read_field(lm_error *e, const char *name, const struct field *f, const json_t *v, lm_unet_config *c,
                            int *length) {
    unsigned char *to = (unsigned char *)c + f->at;
    if (f->kind != FIELD_INTS && f->kind != FIELD_BOOLS) {
        if (read_scalar(f, v, to)) return LM_OK;
        return lm_fail(e, LM_MODEL, "%s: %s must be %s from %g to %g", name, f->name, kind_name(f->kind), f->low,
                       f->high);
    }
    size_t n = json_is_array(v) ? json_array_size(v) : LM_MAX_LEVELS + 1;
    bool ok = n <= LM_MAX_LEVELS;
    size_t width = f->kind == FIELD_INTS ? sizeof(int) : sizeof(bool);
    for (size_t i = 0; i < n && ok; i++) ok = read_scalar(f, json_array_get(v, i), to + i * width);
    *length = (int)n;
    if (ok) return LM_OK;
    return lm_fail(e, LM_MODEL, "%s: %s must be %s from %g to %g, %d of them at most", name, f->name,
                   kind_name(f->kind), f->low, f->high, LM_MAX_LEVELS);
}

lm_status lm_unet_config_check(lm_error *e, const lm_unet_config *c) {
    for (int i = 0; i < c->levels; i++) {
        int heads = c->channels[i] > c->head_dim ? c->channels[i] / c->head_dim : 1;
        if (c->channels[i] % c->groups || c->channels[i] % heads)
            return lm_fail(e, LM_MODEL, "%d channels can't be divided into %d groups and %d heads", c->channels[i],
                           c->groups, heads);
    }
    return LM_OK;
}

// Lists: attention and temporal_down must fit channels; where temporal_down was left out its length is -1.
static lm_status check_lengths(lm_error *e, const char *name, const int length[FIELDS], lm_unet_config *c) {
    for (int i = 0; i < FIELDS; i++)
        if (fields[i].kind == FIELD_INTS) c->levels = length[i]; // channels
    if (c->levels < 1) return lm_fail(e, LM_MODEL, "%s: channels is empty; a network has a level at least", name);
    for (int i = 0; i < FIELDS; i++) {
        if (fields[i].kind != FIELD_BOOLS || length[i] < 0) continue;
        int want = strcmp(fields[i].name, "attention") ? c->levels - 1 : c->levels;
        if (length[i] != want)
            return lm_fail(e, LM_MODEL, "%s: %s has %d entries; %d channels need %d", name, fields[i].name, length[i],
                           c->levels, want);
    }
    for (int i = c->levels - 1; i < LM_MAX_LEVELS; i++) c->temporal_down[i] = false;
    return LM_OK;
}

// A key that was left out: the default network's value, unless it is needed.
static lm_status fill_field(lm_error *e, const char *name, const struct field *f, lm_unet_config *c) {
    static const size_t sizes[] = {sizeof(int), sizeof(bool), sizeof(double), LM_MAX_LEVELS * sizeof(int),
                                   LM_MAX_LEVELS * sizeof(bool)};
    if (f->needed == ALWAYS || (f->needed == OF_VIDEO && c->video))
        return lm_fail(e, LM_MODEL, "%s: %s is missing; it must be %s", name, f->name, kind_name(f->kind));
    const lm_unet_config usual = lm_unet_config_default();
    memcpy((unsigned char *)c + f->at, (const unsigned char *)&usual + f->at, sizes[f->kind]);
    return LM_OK;
}

static lm_status read_object(lm_error *e, const char *name, json_t *root, lm_unet_config *c) {
    int length[FIELDS] = {0};
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        int i = 0;
        while (i < FIELDS && strcmp(fields[i].name, key)) i++;
        if (i == FIELDS) return lm_fail(e, LM_MODEL, "%s: unknown key \"%.100s\"", name, key);
        LM_TRY(read_field(e, name, &fields[i], value, c, &length[i]));
    }
    for (int i = 0; i < FIELDS; i++) {
        if (json_object_get(root, fields[i].name)) continue;
        LM_TRY(fill_field(e, name, &fields[i], c));
        length[i] = -1;
    }
    LM_TRY(check_lengths(e, name, length, c));
    return lm_unet_config_check(e, c);
}

lm_status lm_unet_config_parse(lm_error *e, const char *name, const char *json, size_t size, lm_unet_config *out) {
    *out = (lm_unet_config){0};
    json_error_t why;
    json_t *root;
    lm_status s = lm_json_parse(json, size, &root, &why);
    if (s == LM_MEMORY) return lm_fail_memory(e, (double)size, name);
    if (s != LM_OK)
        return lm_fail(e, LM_MODEL, "%s: not JSON: %s at line %d, column %d", name, why.text, why.line, why.column);
    s = json_is_object(root) ? read_object(e, name, root, out) : lm_fail(e, LM_MODEL, "%s: not a JSON object", name);
    json_decref(root);
    return s;
}

lm_status lm_unet_config_read(lm_error *e, const char *path, lm_unet_config *out) {
    uint8_t *bytes;
    size_t size;
    LM_TRY(lm_file_read(e, path, 1 << 20, LM_MODEL, &bytes, &size));
    lm_status s = lm_unet_config_parse(e, path, (const char *)bytes, size, out);
    lm_free(bytes);
    return s;
}

// Whether a key that may be left out has its default: older programs, which don't know it, then read the file.
static bool is_usual(const struct field *f, const lm_unet_config *c) {
    const lm_unet_config usual = lm_unet_config_default();
    const unsigned char *now = (const unsigned char *)c + f->at, *then = (const unsigned char *)&usual + f->at;
    if (f->needed != NEVER || f->at == offsetof(lm_unet_config, residual_scale)) return false;
    if (f->kind == FIELD_INT) return *(const int *)now == *(const int *)then;
    if (f->kind == FIELD_BOOL) return *(const bool *)now == *(const bool *)then;
    return *(const double *)now == *(const double *)then;
}

static json_t *field_value(const struct field *f, const lm_unet_config *c) {
    const unsigned char *from = (const unsigned char *)c + f->at;
    if (f->kind == FIELD_INT) return json_integer(*(const int *)from);
    if (f->kind == FIELD_BOOL) return json_boolean(*(const bool *)from);
    if (f->kind == FIELD_NUMBER) return json_real(*(const double *)from);
    json_t *list = json_array();
    const int n = f->kind == FIELD_INTS || !strcmp(f->name, "attention") ? c->levels : c->levels - 1;
    for (int k = 0; k < n; k++)
        json_array_append_new(list, f->kind == FIELD_INTS ? json_integer(((const int *)from)[k])
                                                          : json_boolean(((const bool *)from)[k]));
    return list;
}

char *lm_unet_config_json(const lm_unet_config *c) {
    json_t *root = json_object();
    for (int i = 0; i < FIELDS; i++)
        if (!is_usual(&fields[i], c)) json_object_set_new(root, fields[i].name, field_value(&fields[i], c));
    char *text = json_dumps(root, JSON_INDENT(1));
    char *copy = text ? lm_strdup(text) : NULL;
    free(text);
    json_decref(root);
    return copy;
}
