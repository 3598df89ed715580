// The most that this machine's multipliers give: the ceiling that kernels are compared with.
#pragma once
#include "base/status.h"
#include "op/op.h"

// Floating-point operations a second of a loop over registers alone on all of threads: fp32 fused multiply-add, or bf16
// dot products where the processor has them (LM_BF16 falls back to fp32's figure, *of says which was measured).
lm_status lm_peak_measure(lm_error *e, int threads, lm_dtype type, double *out, lm_dtype *of);
