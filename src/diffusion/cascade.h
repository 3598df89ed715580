// What joins super-resolution to the network before it: the clip that is given gets some noise, of a level that the
// network is told (noise conditioning augmentation: Ho et al., arXiv 2106.15282, section 4), and is enlarged fourfold.
// That is the condition. What is diffused is the residual, residual_scale (clip - enlarged clip) (residual prediction:
// Li et al., arXiv 2104.14951, section 3.3): the network has only to add what enlarging lacks, and 0 is plain
// enlarging. Pictures are [height, width, 3] floats.
#pragma once
#include "diffusion/schedule.h"

enum { LM_ENLARGEMENT = 4 };
#define LM_MOST_LEVEL 0.1 // of the condition's noise in training, and so in use

// in [factor height, factor width, 3] -> out [height, width, 3], means of areas of factor x factor.
void lm_area_means(const float *in, int height, int width, int factor, float *out);
// The same of areas of 4 x 4.
void lm_reduce(const float *in, int height, int width, float *out);
// A part of the picture in [height, width, 3] enlarged fourfold: out [rows, columns, 3] begins at row `top` and column
// `left` of the enlarged picture. Bilinear between pixels' centres, edges repeated (PyTorch: align_corners=False).
void lm_enlarge(const float *in, int height, int width, int top, int left, int rows, int columns, float *out);
// x = alpha x + sigma noise, n floats in place.
void lm_add_noise(lm_level level, const float *noise, int64_t n, float *x);
// Between n floats of a clip and its residual to the condition cond = alpha enlarged: scale (x - cond / alpha), and
// back. In place.
void lm_to_residual(const float *cond, double alpha, double scale, int64_t n, float *x);
void lm_from_residual(const float *cond, double alpha, double scale, int64_t n, float *x);
