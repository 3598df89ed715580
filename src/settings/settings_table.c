// The table and the ways to look into it.
#include "settings/settings.h"

#include <string.h>

static const char *const samplers[] = {[LM_SAMPLER_DPMPP_2M] = "dpmpp_2m", [LM_SAMPLER_DDIM] = "ddim"};
static const char *const fits[] = {[LM_FIT_CROP] = "crop", [LM_FIT_PAD] = "pad", [LM_FIT_STRETCH] = "stretch"};
static const char *const tasks[] = {
    [LM_TASK_GENERATE] = "generate",       [LM_TASK_ANIMATE] = "animate", [LM_TASK_INPAINT] = "inpaint",
    [LM_TASK_OUTPAINT] = "outpaint",       [LM_TASK_EDIT] = "edit",       [LM_TASK_STYLIZE] = "stylize",
    [LM_TASK_CINEMAGRAPH] = "cinemagraph", [LM_TASK_UPSCALE] = "upscale"};
#define COUNT(array) (int)(sizeof(array) / sizeof *(array))
_Static_assert(COUNT(samplers) == LM_SAMPLERS, "a sampler without a name");
_Static_assert(COUNT(fits) == LM_FITS, "a fit without a name");
_Static_assert(COUNT(tasks) == LM_TASKS, "a task without a name");

#define FOR_GENERATE (1U << LM_TASK_GENERATE)
#define FOR_ANIMATE (1U << LM_TASK_ANIMATE)
#define FOR_INPAINT (1U << LM_TASK_INPAINT)
#define FOR_OUTPAINT (1U << LM_TASK_OUTPAINT)
#define FOR_CINEMAGRAPH (1U << LM_TASK_CINEMAGRAPH)
#define FOR_EDIT (1U << LM_TASK_EDIT)
#define FOR_STYLIZE (1U << LM_TASK_STYLIZE)
#define FOR_UPSCALE (1U << LM_TASK_UPSCALE)
#define FOR_MASKED (FOR_INPAINT | FOR_CINEMAGRAPH)
#define FOR_GIVEN (FOR_ANIMATE | FOR_INPAINT | FOR_OUTPAINT | FOR_CINEMAGRAPH | FOR_EDIT)
#define FOR_MAKING (FOR_GENERATE | FOR_STYLIZE | FOR_GIVEN)
#define FOR_ALL (FOR_MAKING | FOR_UPSCALE)

#define SETTING(name, for_tasks, how, ...)                                                                             \
    {.id = LM_KEY_##name,                                                                                              \
     .tasks = for_tasks,                                                                                               \
     .noting = LM_##how,                                                                                               \
     .face = {.key = #name, .in_recipe = LM_##how != LM_UNNOTED, __VA_ARGS__}},
#define VARIANT SETTING

static const lm_setting rows[] = {
#include "settings/settings.inc"
};

int lm_setting_count(void) {
    return COUNT(rows);
}

const lm_setting *lm_setting_row(int index) {
    return index >= 0 && index < COUNT(rows) ? &rows[index] : NULL;
}

bool lm_setting_takes(const lm_setting *s, lm_task_kind task) {
    return s->tasks >> task & 1U;
}

const lm_setting *lm_setting_of(lm_task_kind task, lm_key id) {
    for (int i = 0; i < COUNT(rows); i++)
        if (rows[i].id == id && lm_setting_takes(&rows[i], task)) return &rows[i];
    return NULL;
}

// Whether word is one of those in list, which spaces separate.
static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; p && *p; p += strspn(p, " ")) {
        size_t m = strcspn(p, " ");
        if (m == n && !memcmp(p, word, n)) return true;
        p += m;
    }
    return false;
}

const lm_setting *lm_setting_find(lm_task_kind task, const char *name) {
    bool option = !strncmp(name, "--", 2);
    for (int i = 0; i < COUNT(rows); i++) {
        const lumiere_setting *s = &rows[i].face;
        if (!lm_setting_takes(&rows[i], task)) continue;
        if (option ? !strcmp(s->option, name + 2) : !strcmp(s->key, name) || has_word(s->aliases, name))
            return &rows[i];
    }
    return NULL;
}

const char *lm_task_name(lm_task_kind task) {
    return (unsigned)task < LM_TASKS ? tasks[task] : "?";
}

bool lm_task_find(const char *name, lm_task_kind *out) {
    for (int i = 0; i < LM_TASKS; i++)
        if (name && !strcmp(tasks[i], name)) {
            *out = (lm_task_kind)i;
            return true;
        }
    return false;
}

const char *lm_choice_name(lm_key id, int choice) {
    for (int i = 0; i < COUNT(rows); i++)
        if (rows[i].id == id && choice >= 0 && choice < rows[i].face.choice_count) return rows[i].face.choices[choice];
    return NULL;
}
