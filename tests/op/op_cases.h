// Cases of tests/data/op_cases.txt (format: tests/oracle/op_vectors.py) and how to run one on a device.
#pragma once
#include "device/device.h"

typedef struct op_case {
    lm_op op;
    uint64_t seed;
    unsigned wanted;           // bit i: output i is asked for
    char role[LM_MAX_INPUTS];  // a w p m k i, or 0: absent
    int limit[LM_MAX_INPUTS];  // role i: integers below this
    lm_desc in[LM_MAX_INPUTS]; // types are chosen by op_case_run
    char text[200];            // the line
} op_case;

typedef struct op_result { // outputs as doubles; NULL where not wanted
    double *out[LM_MAX_OUTPUTS];
    lm_desc desc[LM_MAX_OUTPUTS];
} op_result;

// All cases, in order; free with lm_free. NULL (and a message in e) when the file is missing or a line is wrong.
op_case *op_cases_read(lm_error *e, int *count);

// Runs a case once. compute LM_F32 or LM_F64: every operand is of that type; LM_BF16: activations (role a) are.
// An acc operand shares output 0's memory when the seed is odd.
lm_status op_case_run(lm_error *e, lm_device *d, const op_case *c, lm_dtype compute, op_result *out);
void op_result_free(op_result *r);

// Largest allowed normalised mean square error of a case's outputs.
double op_case_tolerance(const op_case *c, lm_dtype compute, const op_result *r);
