// Two tiny models in a temporary folder, opened: with super-resolution and without.
#pragma once
#include "lumiere/lumiere.h"

typedef struct tiny_pair {
    char *work; // the folder
    char large_path[256], small_path[256];
    lumiere_context *context;     // fp32
    lumiere_model *large, *small; // with super-resolution and without
} tiny_pair;

// Fails the test when that is not possible.
void tiny_pair_open(tiny_pair *p, int threads);
void tiny_pair_close(tiny_pair *p);
