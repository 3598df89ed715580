// What lumiere_bench and lumiere_doctor do.
#pragma once
#include "pipeline/context.h"

lm_status lm_bench(lm_error *e, lumiere_context *c, const lumiere_bench_options *o,
                   void (*line)(void *user, const char *text), void *user);
lm_status lm_doctor(lm_error *e, lumiere_context *c, const char *model,
                    void (*line)(void *user, bool ok, const char *text), void *user);
