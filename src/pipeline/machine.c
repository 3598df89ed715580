// What a context knows of its machine.
#include "pipeline/context.h"

#include "net/machine_speed.h"

lm_status lm_context_device(lm_error *e, const lumiere_context *c) {
    return c->device ? LM_OK : lm_fail(e, LM_USAGE, "this context could not be created and has no device");
}

lm_status lm_context_speed(lm_error *e, lumiere_context *c, double *out) {
    LM_TRY(lm_context_device(e, c)); // a model may come from another context than one without a device
    if (c->flops_per_second == 0) LM_TRY(lm_measure_speed(e, c->device, c->compute, &c->flops_per_second));
    *out = c->flops_per_second;
    return LM_OK;
}
