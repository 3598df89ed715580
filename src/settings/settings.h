// Settings of a task: one table of all that can be asked (settings.inc), values that are given as texts or JSON and
// read as what they are.
#pragma once
#include "base/status.h"
#include "lumiere/lumiere.h"
#include "settings/choices.h"

#include <stdbool.h>
#include <stdint.h>

struct json_t; // jansson.h

#define SETTING(key, ...) LM_KEY_##key,
#define VARIANT(key, ...)
typedef enum lm_key {
#include "settings/settings.inc"
    LM_KEYS
} lm_key;
#undef SETTING
#undef VARIANT

// Whether a recipe has a setting.
typedef enum lm_noting {
    LM_NOTED,    // as it was given, where it was
    LM_RESOLVED, // as it was resolved: a stage of the pipeline writes it
    LM_UNNOTED,  // not by its own name, or not at all
} lm_noting;

typedef struct lm_setting {
    lm_key id;
    unsigned tasks; // a bit each
    lm_noting noting;
    lumiere_setting face;
} lm_setting;

int lm_setting_count(void); // of rows: a key may have several, for different tasks
const lm_setting *lm_setting_row(int index);
bool lm_setting_takes(const lm_setting *s, lm_task_kind task);
const lm_setting *lm_setting_of(lm_task_kind task, lm_key id);          // NULL: the task doesn't take it
const lm_setting *lm_setting_find(lm_task_kind task, const char *name); // by key, alias or "--option"; NULL: none
// The same, or LM_USAGE.
lm_status lm_setting_expect(lm_error *e, lm_task_kind task, const char *name, const lm_setting **out);
const char *lm_task_name(lm_task_kind task); // "generate"
bool lm_task_find(const char *name, lm_task_kind *out);
const char *lm_choice_name(lm_key id, int choice); // "ddim"

// What is given of a setting.
typedef struct lm_value {
    bool given, flag;
    int choice, four[4];
    int64_t whole;
    double number;
    unsigned char colour[3];
    char *text;
    char **items; // of a list, as texts
    int count;
} lm_value;

enum { LM_MOST_ITEMS = 64 }; // of a list

typedef struct lm_settings {
    lm_task_kind task;
    bool options;             // the caller calls settings by their options
    lm_value values[LM_KEYS]; // starts as zeros
} lm_settings;

// The text as a value; false: it is none of the setting's. Texts are any.
bool lm_value_read(const lumiere_setting *s, const char *text, lm_value *out);

void lm_settings_free(lm_settings *s);
lm_status lm_settings_copy(lm_error *e, const lm_settings *from, lm_settings *to); // to: zeros, or freed

// LM_USAGE: one line that calls the setting as the caller does. A list becomes longer by an item.
lm_status lm_settings_set(lm_error *e, lm_settings *s, const char *name, const char *text);
void lm_settings_unset(lm_settings *s, lm_key id);
// Values that are found out, as if they had been given.
void lm_settings_put_whole(lm_settings *s, lm_key id, int64_t value);
void lm_settings_put_number(lm_settings *s, lm_key id, double value);
void lm_settings_put_flag(lm_settings *s, lm_key id, bool value);
void lm_settings_put_choice(lm_settings *s, lm_key id, int value);
// The members of a JSON object, in place of what they were. Members whose value is null are unset. recipe: it is one,
// which may have members that are no settings, and none that is null.
lm_status lm_settings_set_json(lm_error *e, lm_settings *s, const struct json_t *object, bool recipe);

// These also take NULL: settings of generate, of which none is given.
bool lm_settings_given(const lm_settings *s, lm_key id);
// The value, or the table's when none is given: 0, false, NULL where it has none.
int64_t lm_settings_whole(const lm_settings *s, lm_key id);
double lm_settings_number(const lm_settings *s, lm_key id);
bool lm_settings_flag(const lm_settings *s, lm_key id);
int lm_settings_choice(const lm_settings *s, lm_key id);
void lm_settings_colour(const lm_settings *s, lm_key id, unsigned char out[3]); // RGB; black where there is none
const char *lm_settings_text(const lm_settings *s, lm_key id);                  // of texts and names of clips
// A given value as a text that sets the same again, a list's as a JSON array; NULL when memory is short or none is
// given. Free with lm_free.
char *lm_settings_print(const lm_settings *s, lm_key id);
struct json_t *lm_settings_json(const lm_settings *s, lm_key id); // likewise; a new reference
// Adds what is given of the settings that recipes note as it was given, but for members that are there. false: no
// memory.
bool lm_settings_note(const lm_settings *s, struct json_t *recipe);

// What the caller calls it, in room where that is needed.
const char *lm_settings_name(const lm_settings *s, lm_key id, char *room, int size);
// What a text must be, for messages: "a whole number from 1 to 1000".
void lm_setting_wanted(const lumiere_setting *s, char *out, int size);
