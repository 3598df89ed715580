// What devices there are: the one place that names the backends.
#pragma once
#include "device/device.h"

// name: "cpu" or "reference". LM_USAGE when there is no such device. threads: 0 = all processors this process may use.
// The caller is its first holder.
lm_status lm_device_open(lm_error *e, const char *name, int threads, lm_device **out);
