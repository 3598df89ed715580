// JSON from outside, read strictly: UTF-8, no duplicate keys, nothing behind the value.
#pragma once
#include "base/status.h"
#include <jansson.h>
#include <stddef.h>

// LM_MODEL for what is not JSON, naming file, line and column. Free *out with json_decref.
lm_status lm_json_read(lm_error *e, const char *file, const char *text, size_t size, json_t **out);

// One line; free *out with lm_free.
lm_status lm_json_write(lm_error *e, const json_t *value, char **out);
