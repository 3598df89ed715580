// The table of settings as lumiere.h shows it.
#include "lumiere/lumiere.h"

#include "settings/settings.h"

const char *lumiere_task_name(int index) {
    return index >= 0 && index < LM_TASKS ? lm_task_name((lm_task_kind)index) : NULL;
}

const lumiere_setting *lumiere_setting_at(const char *task, int index) {
    lm_task_kind kind;
    if (index < 0 || !lm_task_find(task, &kind)) return NULL;
    for (int i = 0; i < lm_setting_count(); i++)
        if (lm_setting_takes(lm_setting_row(i), kind) && index-- == 0) return &lm_setting_row(i)->face;
    return NULL;
}

const lumiere_setting *lumiere_setting_find(const char *task, const char *name) {
    lm_task_kind kind;
    const lm_setting *row = name && lm_task_find(task, &kind) ? lm_setting_find(kind, name) : NULL;
    return row ? &row->face : NULL;
}
