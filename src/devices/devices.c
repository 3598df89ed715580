#include "devices/devices.h"

#include "base/memory.h"
#include "device/cpu/cpu.h"
#include "device/reference/reference.h"

#include <string.h>

lm_status lm_device_open(lm_error *e, const char *name, int threads, lm_device **out) {
    static const lm_backend *const backends[] = {&lm_cpu_backend, &lm_reference_backend};
    const lm_backend *backend = NULL;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (!strcmp(name, backends[i]->name)) backend = backends[i];
    if (!backend) return lm_fail(e, LM_USAGE, "no device is called '%.40s'; there are cpu and reference", name);
    lm_device *d = lm_alloc_zero(1, sizeof *d);
    if (!d) return lm_fail_memory(e, (double)sizeof *d, "the device");
    d->backend = backend;
    atomic_init(&d->holders, 1);
    lm_status status = backend->open(e, threads, d);
    if (status != LM_OK) {
        lm_free(d);
        return status;
    }
    *out = d;
    return LM_OK;
}
