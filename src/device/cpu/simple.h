// The small kernels behind lm_cpu_prepare_simple: each runs a range of its output's units.
#pragma once
#include "device/cpu/units.h"

// rearrange.c: units are frames of the output, or rows where it has no frames
lm_status lm_cpu_run_upsample(const cpu_piece *p);
lm_status lm_cpu_run_upsample_grad(const cpu_piece *p);
lm_status lm_cpu_run_concat(const cpu_piece *p);
lm_status lm_cpu_run_slice(const cpu_piece *p);
lm_status lm_cpu_run_space_to_depth(const cpu_piece *p);
lm_status lm_cpu_run_depth_to_space(const cpu_piece *p);
lm_status lm_cpu_run_add_position(const cpu_piece *p);        // units: (b, t)
lm_status lm_cpu_run_add_position_grad_p(const cpu_piece *p); // units: rows of dp

// tokens.c
lm_status lm_cpu_run_fourier(const cpu_piece *p);          // units: b
lm_status lm_cpu_run_masked_mean(const cpu_piece *p);      // units: b
lm_status lm_cpu_run_masked_mean_grad(const cpu_piece *p); // units: b
lm_status lm_cpu_run_embedding(const cpu_piece *p);        // units: tokens
lm_status lm_cpu_run_embedding_grad(const cpu_piece *p);   // units: rows of the table
