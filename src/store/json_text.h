// JSON from outside, read strictly: UTF-8, no duplicate keys, nothing behind the value. And written: what couldn't be
// read again as the same isn't given out.
#pragma once
#include "base/status.h"
#include <jansson.h>
#include <stddef.h>

// LM_FAILED for what is not JSON, *why saying where; LM_MEMORY. The message is the caller's to say. Free *out, NULL
// unless LM_OK, with json_decref.
lm_status lm_json_parse(const char *text, size_t size, json_t **out, json_error_t *why);
// The same with a message; LM_MODEL for what is not JSON, naming file, line and column.
lm_status lm_json_read(lm_error *e, const char *file, const char *text, size_t size, json_t **out);

// One line, or as jansson's flags say; free *out with lm_free. LM_MEMORY at most.
lm_status lm_json_write(lm_error *e, const json_t *value, char **out);
lm_status lm_json_write_as(lm_error *e, const json_t *value, size_t flags, char **out);
