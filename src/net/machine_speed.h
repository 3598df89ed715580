// How fast this machine is.
#pragma once
#include "device/device.h"

// Floating-point operations a second that the device reaches in a 3x3 convolution as the networks have them: 96
// channels, 8 frames of 32x32. Takes some milliseconds.
lm_status lm_measure_speed(lm_error *e, lm_device *d, lm_dtype compute, double *out);
double lm_network_seconds(double flops, double speed); // of a whole network, from that speed
