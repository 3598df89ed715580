// Settings out of JSON and into it.
#include "settings/setting_values.h"

#include "base/memory.h"
#include "base/plain_text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static lm_status refuse(lm_error *e, const lumiere_setting *s, const char *name) {
    char wanted[120];
    const char *text = wanted;
    lm_setting_wanted(s, wanted, sizeof wanted);
    if (s->kind == LUMIERE_SEED) text = "a whole number of at least 0";
    if (s->kind == LUMIERE_FOUR) text = "a list of four whole numbers";
    if (s->kind == LUMIERE_CHOICE) text += strlen("one of ");
    return lm_fail(e, LM_USAGE, "\"%.40s\" must be %s", name, text);
}

// The same number as a text; false: it is none, or no whole one where that is needed.
static bool number_text(const lumiere_setting *s, const json_t *value, char *out, size_t size) {
    bool whole = s->kind == LUMIERE_WHOLE || s->kind == LUMIERE_SEED;
    if (json_is_integer(value)) {
        snprintf(out, size, "%lld", (long long)json_integer_value(value));
        return s->kind != LUMIERE_SEED || json_integer_value(value) >= 0;
    }
    lm_text_format(out, size, "%.17g", json_number_value(value));
    return json_is_number(value) && !whole;
}

static bool four_text(const json_t *value, char *out, size_t size) {
    size_t n = 0;
    bool ok = json_array_size(value) == 4;
    for (size_t i = 0; i < 4 && ok; i++) {
        const json_t *item = json_array_get(value, i);
        ok = json_is_integer(item);
        if (ok && n < size)
            n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? "," : "", (long long)json_integer_value(item));
    }
    return ok;
}

// What lm_value_read takes for a value of JSON; NULL: it is of another type. room holds it where it isn't in value.
static const char *text_of(const lumiere_setting *s, const json_t *value, char *room, size_t size) {
    switch (s->kind) {
    case LUMIERE_FLAG:
        return json_is_boolean(value) ? (json_is_true(value) ? "true" : "false") : NULL;
    case LUMIERE_WHOLE:
    case LUMIERE_NUMBER:
    case LUMIERE_SEED:
        return number_text(s, value, room, size) ? room : NULL;
    case LUMIERE_FOUR:
        return four_text(value, room, size) ? room : NULL;
    case LUMIERE_TEXT:
    case LUMIERE_CLIP:
    case LUMIERE_CHOICE:
    case LUMIERE_COLOUR:
        return json_string_value(value);
    }
    return NULL;
}

static lm_status set_one(lm_error *e, lm_settings *s, const lm_setting *row, const char *name, const json_t *value) {
    char room[100];
    lm_value read = {0};
    const char *text = text_of(&row->face, value, room, sizeof room);
    if (!text || !lm_value_read(&row->face, text, &read)) return refuse(e, &row->face, name);
    return lm_value_store(e, s, row, name, text, &read);
}

static lm_status set_list(lm_error *e, lm_settings *s, const lm_setting *row, const char *name, const json_t *value) {
    lm_settings_unset(s, row->id);
    if (!json_is_array(value)) return set_one(e, s, row, name, value);
    for (size_t i = 0; i < json_array_size(value); i++) LM_TRY(set_one(e, s, row, name, json_array_get(value, i)));
    return LM_OK;
}

// "styles": each with its alpha and the hash of its file, which only recipes must have.
static lm_status set_styles(lm_error *e, lm_settings *s, const json_t *list, bool recipe) {
    static const struct {
        const char *member;
        lm_key id;
    } parts[] = {{"style", LM_KEY_style}, {"alpha", LM_KEY_style_alpha}, {"hash", LM_KEY_style_hash}};
    const lm_setting *row;
    LM_TRY(lm_setting_expect(e, s->task, "style", &row));
    if (!json_is_array(list)) return lm_fail(e, LM_USAGE, "\"styles\" must be a list");
    for (int k = 0; k < 3; k++) lm_settings_unset(s, parts[k].id);
    for (size_t i = 0; i < json_array_size(list); i++)
        for (int k = 0; k < 3; k++) {
            const json_t *value = json_object_get(json_array_get(list, i), parts[k].member);
            if (!value && k == 2 && !recipe) continue;
            if (!value || (k == 1 ? !json_is_number(value) : !json_is_string(value)))
                return lm_fail(e, LM_USAGE, "\"styles\" must be a list of styles, each with a name, alpha and hash");
            LM_TRY(set_one(e, s, lm_setting_of(s->task, parts[k].id), parts[k].member, value));
        }
    return LM_OK;
}

static bool known(const char *name) {
    for (int t = 0; t < LM_TASKS; t++)
        if (lm_setting_find((lm_task_kind)t, name)) return true;
    return false;
}

static lm_status set_member(lm_error *e, lm_settings *s, const char *name, const json_t *value, bool recipe) {
    const lm_setting *row;
    if (!strcmp(name, "styles")) return set_styles(e, s, value, recipe);
    if (recipe && !known(name)) return LM_OK; // what else a recipe tells
    LM_TRY(lm_setting_expect(e, s->task, name, &row));
    if (json_is_null(value) && !recipe) {
        lm_settings_unset(s, row->id);
        return LM_OK;
    }
    return row->face.list ? set_list(e, s, row, name, value) : set_one(e, s, row, name, value);
}

lm_status lm_settings_set_json(lm_error *e, lm_settings *s, const json_t *object, bool recipe) {
    const char *name;
    json_t *value;
    if (!json_is_object(object)) return lm_fail(e, LM_USAGE, "settings must be a JSON object");
    json_object_foreach((json_t *)object, name, value) LM_TRY(set_member(e, s, name, value, recipe));
    return LM_OK;
}

// With as few digits as give the same number again.
static void print_number(double v, char *out, size_t size) {
    lm_text_format(out, size, "%.15g", v);
    if (lm_text_number(out, NULL) != v) lm_text_format(out, size, "%.17g", v);
}

static json_t *list_json(const lumiere_setting *s, const lm_value *v) {
    json_t *list = json_array();
    int failed = !list;
    for (int i = 0; i < v->count; i++)
        failed |= json_array_append_new(list, s->kind == LUMIERE_NUMBER ? json_real(lm_text_number(v->items[i], NULL))
                                                                        : json_string(v->items[i]));
    if (!failed) return list;
    json_decref(list);
    return NULL;
}

json_t *lm_settings_json(const lm_settings *s, lm_key id) {
    const lm_value *v = &s->values[id];
    const lm_setting *row = lm_setting_of(s->task, id);
    if (!v->given || !row) return NULL;
    if (row->face.list) return list_json(&row->face, v);
    switch (row->face.kind) {
    case LUMIERE_FLAG:
        return json_boolean(v->flag);
    case LUMIERE_WHOLE:
    case LUMIERE_SEED:
        return json_integer(v->whole);
    case LUMIERE_NUMBER:
        return json_real(v->number);
    case LUMIERE_FOUR:
        return json_pack("[i,i,i,i]", v->four[0], v->four[1], v->four[2], v->four[3]);
    default:
        break;
    }
    char *text = lm_settings_print(s, id);
    json_t *out = text ? json_string(text) : NULL;
    lm_free(text);
    return out;
}

static char *print_list(const lm_settings *s, lm_key id) {
    json_t *list = lm_settings_json(s, id);
    char *text = list ? json_dumps(list, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    char *copy = text ? lm_strdup(text) : NULL;
    free(text);
    json_decref(list);
    return copy;
}

char *lm_settings_print(const lm_settings *s, lm_key id) {
    const lm_value *v = &s->values[id];
    const lm_setting *row = lm_setting_of(s->task, id);
    char number[40];
    if (!v->given || !row) return NULL;
    if (row->face.list) return print_list(s, id);
    switch (row->face.kind) {
    case LUMIERE_TEXT:
    case LUMIERE_CLIP:
        return lm_strdup(v->text);
    case LUMIERE_FLAG:
        return lm_strdup(v->flag ? "true" : "false");
    case LUMIERE_WHOLE:
    case LUMIERE_SEED:
        return lm_format("%lld", (long long)v->whole);
    case LUMIERE_NUMBER:
        print_number(v->number, number, sizeof number);
        return lm_strdup(number);
    case LUMIERE_CHOICE:
        return lm_strdup(row->face.choices[v->choice]);
    case LUMIERE_FOUR:
        return lm_format("%d,%d,%d,%d", v->four[0], v->four[1], v->four[2], v->four[3]);
    case LUMIERE_COLOUR:
        return lm_format("#%02x%02x%02x", v->colour[0], v->colour[1], v->colour[2]);
    }
    return NULL;
}

// Whether JSON can hold it: the name of a file may be no UTF-8.
static bool is_json(const lm_settings *s, lm_key id) {
    const char *text = lm_settings_text(s, id);
    json_t *checked = text ? json_string(text) : NULL, *any = text ? json_string_nocheck(text) : NULL;
    bool ok = !text || checked || !any;
    json_decref(checked);
    json_decref(any);
    return ok;
}

bool lm_settings_note(const lm_settings *s, json_t *recipe) {
    int failed = 0;
    for (int i = 0; s && i < lm_setting_count(); i++) {
        const lm_setting *row = lm_setting_row(i);
        if (row->noting != LM_NOTED || !lm_setting_takes(row, s->task) || !lm_settings_given(s, row->id)) continue;
        if (json_object_get(recipe, row->face.key) || !is_json(s, row->id)) continue;
        failed |= json_object_set_new(recipe, row->face.key, lm_settings_json(s, row->id));
    }
    return !failed;
}
