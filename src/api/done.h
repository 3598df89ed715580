// How public calls end.
#pragma once
#include "pipeline/context.h"

// The context holds e's message from now on, or none.
lumiere_status lm_api_done(lumiere_context *c, lm_status status, const lm_error *e);
