// Values of settings: what is given, as texts, and how it is read.
#include "settings/setting_values.h"

#include "base/memory.h"
#include "base/plain_text.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void clear(lm_value *v) {
    lm_free(v->text);
    for (int i = 0; i < v->count; i++) lm_free(v->items[i]);
    lm_free(v->items);
    *v = (lm_value){0};
}

void lm_settings_free(lm_settings *s) {
    for (int i = 0; i < LM_KEYS; i++) clear(&s->values[i]);
}

void lm_settings_unset(lm_settings *s, lm_key id) {
    clear(&s->values[id]);
}

static bool add_item(lm_value *v, const char *text) {
    char **items = lm_realloc(v->items, (size_t)v->count + 1, sizeof *items);
    if (items) v->items = items;
    char *copy = items ? lm_strdup(text) : NULL;
    if (copy) v->items[v->count++] = copy;
    return copy != NULL;
}

lm_status lm_settings_copy(lm_error *e, const lm_settings *from, lm_settings *to) {
    *to = (lm_settings){.task = from->task, .options = from->options};
    bool ok = true;
    for (int i = 0; i < LM_KEYS && ok; i++) {
        const lm_value *v = &from->values[i];
        lm_value *w = &to->values[i];
        *w = *v;
        w->items = NULL;
        w->count = 0;
        w->text = v->text ? lm_strdup(v->text) : NULL;
        ok = !v->text || w->text;
        for (int k = 0; k < v->count && ok; k++) ok = add_item(w, v->items[k]);
    }
    return ok ? LM_OK : lm_fail_memory(e, 4096, "settings");
}

static void wanted_number(const lumiere_setting *s, char *out, int size) {
    const char *whole = s->kind == LUMIERE_WHOLE ? "whole " : "";
    if (s->most < INT_MAX)
        lm_text_format(out, (size_t)size, "a %snumber from %.10g to %.10g", whole, s->least, s->most);
    else
        lm_text_format(out, (size_t)size, "a %snumber of at least %.10g", whole, s->least);
}

static void wanted_choice(const lumiere_setting *s, char *out, int size) {
    int n = snprintf(out, (size_t)size, "one of ");
    for (int i = 0; i < s->choice_count && n < size; i++)
        n += snprintf(out + n, (size_t)(size - n), "%s%s", i ? "|" : "", s->choices[i]);
}

void lm_setting_wanted(const lumiere_setting *s, char *out, int size) {
    static const char *const others[] = {[LUMIERE_TEXT] = "a text",
                                         [LUMIERE_CLIP] = "a text",
                                         [LUMIERE_FLAG] = "true or false",
                                         [LUMIERE_SEED] = "a whole number below 2^63",
                                         [LUMIERE_FOUR] = "four whole numbers, such as 8,8,32,16",
                                         [LUMIERE_COLOUR] = "#rrggbb, white or black"};
    if (s->kind == LUMIERE_WHOLE || s->kind == LUMIERE_NUMBER)
        wanted_number(s, out, size);
    else if (s->kind == LUMIERE_CHOICE)
        wanted_choice(s, out, size);
    else
        snprintf(out, (size_t)size, "%s", others[s->kind]);
}

const char *lm_settings_name(const lm_settings *s, lm_key id, char *room, int size) {
    const lumiere_setting *f = &lm_setting_of(s->task, id)->face;
    if (!s->options) return f->key;
    snprintf(room, (size_t)size, "--%s", f->option);
    return room;
}

static bool read_number(const lumiere_setting *s, const char *text, lm_value *out) {
    char *end;
    errno = 0;
    double v = lm_text_number(text, &end);
    bool whole = s->kind == LUMIERE_WHOLE;
    if (!*text || *end || errno || !(v >= s->least && v <= s->most) || (whole && v != floor(v))) return false;
    out->number = v;
    out->whole = whole ? (int64_t)v : 0;
    return true;
}

static bool read_seed(const char *text, lm_value *out) {
    char *end;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    out->whole = v;
    return *text && !*end && !errno;
}

static bool read_flag(const char *text, lm_value *out) {
    out->flag = !strcmp(text, "true");
    return out->flag || !strcmp(text, "false");
}

static bool read_choice(const lumiere_setting *s, const char *text, lm_value *out) {
    for (int i = 0; i < s->choice_count; i++)
        if (!strcmp(text, s->choices[i])) {
            out->choice = i;
            return true;
        }
    return false;
}

static bool read_four(const lumiere_setting *s, const char *text, lm_value *out) {
    for (int i = 0; i < 4; i++) {
        char *end;
        errno = 0;
        long v = strtol(text, &end, 10);
        if (end == text || errno || (double)v < s->least || (double)v > s->most || *end != (i < 3 ? ',' : 0))
            return false;
        out->four[i] = (int)v;
        text = end + 1;
    }
    return true;
}

static bool read_colour(const char *text, lm_value *out) {
    if (!strcasecmp(text, "white")) text = "#ffffff";
    if (!strcasecmp(text, "black")) text = "#000000";
    const char *digits = text + (*text == '#');
    if (strlen(digits) != 6 || strspn(digits, "0123456789abcdefABCDEF") != 6) return false;
    unsigned long rgb = strtoul(digits, NULL, 16);
    for (int i = 0; i < 3; i++) out->colour[i] = (unsigned char)(rgb >> (16 - 8 * i));
    return true;
}

// The text as a value; false: it is none of the setting's.
bool lm_value_read(const lumiere_setting *s, const char *text, lm_value *out) {
    switch (s->kind) {
    case LUMIERE_TEXT:
    case LUMIERE_CLIP:
        return true;
    case LUMIERE_FLAG:
        return read_flag(text, out);
    case LUMIERE_WHOLE:
    case LUMIERE_NUMBER:
        return read_number(s, text, out);
    case LUMIERE_SEED:
        return read_seed(text, out);
    case LUMIERE_CHOICE:
        return read_choice(s, text, out);
    case LUMIERE_FOUR:
        return read_four(s, text, out);
    case LUMIERE_COLOUR:
        return read_colour(text, out);
    }
    return false;
}

// Names of a task's settings, for a message.
static lm_status unknown(lm_error *e, lm_task_kind task, const char *name) {
    char names[400] = "";
    size_t n = 0;
    for (int i = 0; i < lm_setting_count() && n < sizeof names; i++) {
        const lm_setting *s = lm_setting_row(i);
        if (!lm_setting_takes(s, task)) continue;
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", s->face.key);
    }
    return lm_fail(e, LM_USAGE, "%s has no setting \"%.40s\"; it has %s", lm_task_name(task), name, names);
}

lm_status lm_setting_expect(lm_error *e, lm_task_kind task, const char *name, const lm_setting **out) {
    *out = lm_setting_find(task, name);
    if (*out) return LM_OK;
    for (int t = 0; t < LM_TASKS; t++)
        if (lm_setting_find((lm_task_kind)t, name))
            return lm_fail(e, LM_USAGE, "%s takes no \"%.40s\"; %s does", lm_task_name(task), name,
                           lm_task_name((lm_task_kind)t));
    return unknown(e, task, name);
}

static lm_status refuse(lm_error *e, const lumiere_setting *s, const char *name, const char *text) {
    char wanted[120];
    lm_setting_wanted(s, wanted, sizeof wanted);
    return lm_fail(e, LM_USAGE, "%s is \"%.40s\"; it must be %s", name, text, wanted);
}

lm_status lm_value_store(lm_error *e, lm_settings *s, const lm_setting *row, const char *name, const char *text,
                         const lm_value *read) {
    lm_value *v = &s->values[row->id];
    if (row->face.list && v->count == LM_MOST_ITEMS)
        return lm_fail(e, LM_USAGE, "%s is given more than %d times", name, LM_MOST_ITEMS);
    bool texts = row->face.kind == LUMIERE_TEXT || row->face.kind == LUMIERE_CLIP;
    if (texts && row->face.most > 0 && (double)strlen(text) > row->face.most)
        return lm_fail(e, LM_USAGE, "%s has %zu bytes; at most %.0f are possible", name, strlen(text), row->face.most);
    if (row->face.list) {
        if (!add_item(v, text)) return lm_fail_memory(e, (double)strlen(text), "a setting");
    } else {
        char *copy = texts ? lm_strdup(text) : NULL;
        if (texts && !copy) return lm_fail_memory(e, (double)strlen(text), "a setting");
        clear(v);
        *v = *read;
        v->text = copy;
    }
    v->given = true;
    return LM_OK;
}

lm_status lm_settings_set(lm_error *e, lm_settings *s, const char *name, const char *text) {
    const lm_setting *row;
    lm_value read = {0};
    if (!name || !text) return lm_fail(e, LM_USAGE, "a setting needs a name and a value");
    LM_TRY(lm_setting_expect(e, s->task, name, &row));
    s->options = !strncmp(name, "--", 2);
    if (!lm_value_read(&row->face, text, &read)) return refuse(e, &row->face, name, text);
    if (row->face.kind == LUMIERE_SEED && read.whole < 0) {
        if (row->face.source != LUMIERE_FROM_CHANCE)
            return lm_fail(e, LM_USAGE, "%s is negative; it must be a whole number from 0 on", name);
        lm_settings_unset(s, row->id); // as if it had not been given
        return LM_OK;
    }
    return lm_value_store(e, s, row, name, text, &read);
}

bool lm_settings_given(const lm_settings *s, lm_key id) {
    return s && s->values[id].given;
}

// What is given, or else the table's; zeros where there is neither.
static lm_value value_of(const lm_settings *s, lm_key id) {
    const lm_setting *row = lm_settings_given(s, id) ? NULL : lm_setting_of(s ? s->task : LM_TASK_GENERATE, id);
    lm_value preset = {0};
    if (row && row->face.preset && !row->face.list) lm_value_read(&row->face, row->face.preset, &preset);
    return lm_settings_given(s, id) ? s->values[id] : preset;
}

int64_t lm_settings_whole(const lm_settings *s, lm_key id) {
    return value_of(s, id).whole;
}

double lm_settings_number(const lm_settings *s, lm_key id) {
    return value_of(s, id).number;
}

bool lm_settings_flag(const lm_settings *s, lm_key id) {
    return value_of(s, id).flag;
}

int lm_settings_choice(const lm_settings *s, lm_key id) {
    return value_of(s, id).choice;
}

const char *lm_settings_text(const lm_settings *s, lm_key id) {
    return s ? s->values[id].text : NULL;
}

void lm_settings_colour(const lm_settings *s, lm_key id, unsigned char out[3]) {
    const lm_value v = value_of(s, id);
    memcpy(out, v.colour, sizeof v.colour);
}

void lm_settings_put_whole(lm_settings *s, lm_key id, int64_t value) {
    s->values[id] = (lm_value){.given = true, .whole = value, .number = (double)value};
}

void lm_settings_put_number(lm_settings *s, lm_key id, double value) {
    s->values[id] = (lm_value){.given = true, .number = value};
}

void lm_settings_put_flag(lm_settings *s, lm_key id, bool value) {
    s->values[id] = (lm_value){.given = true, .flag = value};
}

void lm_settings_put_choice(lm_settings *s, lm_key id, int value) {
    s->values[id] = (lm_value){.given = true, .choice = value};
}
