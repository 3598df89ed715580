#include "api/done.h"
#include "tools/tools.h"

lumiere_status lumiere_bench(lumiere_context *c, const lumiere_bench_options *o,
                             void (*line)(void *user, const char *text), void *user) {
    lm_error e = {0};
    return lm_api_done(c, lm_bench(&e, c, o, line, user), &e);
}

lumiere_status lumiere_doctor(lumiere_context *c, const char *model,
                              void (*line)(void *user, bool ok, const char *text), void *user) {
    lm_error e = {0};
    return lm_api_done(c, lm_doctor(&e, c, model, line, user), &e);
}
