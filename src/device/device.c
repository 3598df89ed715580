#include "device/device.h"

#include "base/memory.h"

#include <math.h>

lm_device *lm_device_hold(lm_device *d) {
    atomic_fetch_add(&d->holders, 1);
    return d;
}

void lm_device_close(lm_device **device) {
    lm_device *d = *device;
    *device = NULL;
    if (!d || atomic_fetch_sub(&d->holders, 1) > 1) return;
    d->backend->close(d);
    lm_free(d);
}

void lm_device_log(lm_device *d, lm_log_level most, lm_log_fn fn, void *user) {
    d->log = (lm_log){fn, user, most};
    lm_log_line(&d->log, LM_LOG_STEPS, "device %s; %.0f MB of memory are free", d->summary,
                (double)lm_memory_available() / 1e6);
}

lm_status lm_kernel_create(lm_error *e, lm_device *d, const lm_op *op, const lm_io *io, lm_kernel **out) {
    LM_TRY(d->backend->prepare(e, d, op, io, out));
    const lm_status status = d->backend->reserve(e, d, *out);
    if (status == LM_OK) return LM_OK;
    d->backend->release(d, *out);
    *out = NULL;
    return status;
}

const lm_muon_quintic *lm_muon_steps(lm_muon_form form, int *count) {
    static const lm_muon_quintic published[] = {{3.4445, -4.7750, 2.0315},
                                                {3.4445, -4.7750, 2.0315},
                                                {3.4445, -4.7750, 2.0315},
                                                {3.4445, -4.7750, 2.0315},
                                                {3.4445, -4.7750, 2.0315}};
    static const lm_muon_quintic quick[] = {{8.40518, -24.8508, 18.4246},
                                            {4.07717, -3.03504, 0.572207},
                                            {3.60579, -2.69963, 0.534012},
                                            {2.61773, -1.94129, 0.44864}};
    *count = form == LM_MUON_QUICK ? 4 : 5;
    return form == LM_MUON_QUICK ? quick : published;
}

double lm_muon_bound(lm_muon_form form, double eighth) {
    const double cushion = 1.01; // for rounding
    const double least = 0.01;   // below: x is nothing. A norm of 1 in fewer than 10^5 rows leaves more.
    const double bound = cushion * pow(eighth, 0.125);
    return form == LM_MUON_QUICK && bound > least ? bound : 1;
}
