// The best approximation of a matrix by one of low rank: a truncated singular value decomposition.
#pragma once
#include "base/status.h"
#include <stdint.h>

// a [rows,columns] -> left [rank,rows] and right [rank,columns] with a ~ left^T right; pair i, in falling order of the
// singular value s_i, is the singular vectors each times sqrt(s_i). rank is 1 to min(rows, columns); a holds finite
// values. Deterministic. Randomised subspace iteration (Halko, Martinsson & Tropp, arXiv 0909.4061, algorithm 4.4),
// then Jacobi rotations of what is left.
lm_status lm_low_rank(lm_error *e, const float *a, int64_t rows, int64_t columns, int rank, float *left, float *right);
