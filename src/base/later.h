// One call on a thread of its own, whose result is waited for.
#pragma once
#include "base/status.h"

typedef struct lm_later lm_later;
typedef lm_status (*lm_later_fn)(lm_error *e, void *user);

// Begins fn(e, user). Where no thread can be had it is called when it is waited for. NULL: no memory.
lm_later *lm_later_begin(lm_later_fn fn, void *user);
// Waits: the call's status and message. *l becomes NULL; with NULL there is nothing to wait for, LM_OK.
lm_status lm_later_end(lm_error *e, lm_later **l);
