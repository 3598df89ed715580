// A small network of another family than the program's own, tests/oracle/latent_vectors.py: latents of 4 channels, 77
// tokens, eps 1e-6, timesteps from 0 to 1000 with the cosine first, and query, key and value stored apart.
// Inputs: latent [batch,1,height,width,4], timestep [batch], context [batch,tokens,12], mask [batch,tokens]. Output:
// noise, of the latent's shape.
#pragma once
#include "net/families/family.h"

typedef struct latent_config {
    int width;
} latent_config;

extern const lm_family latent_family;
