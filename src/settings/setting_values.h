// How values are read and stored. Private to the files beside this one.
#pragma once
#include "settings/settings.h"

// Stores what was read of text, or adds text to a list. name: what the caller calls it.
lm_status lm_value_store(lm_error *e, lm_settings *s, const lm_setting *row, const char *name, const char *text,
                         const lm_value *read);
