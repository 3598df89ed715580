// Made-up training data for tests: sprites by formula, pictures as WebP, tars in memory.
#pragma once
#include "train/sprite.h"
#include <stddef.h>
#include <stdint.h>

// The sprite of tests/oracle/data_vectors.py: frames of size x size.
void make_formula_sprite(int frames, int size, lm_sprite *out);

// Straight RGBA pixels -> lossless WebP, colours under alpha 0 kept. Free with lm_free.
uint8_t *make_webp(const uint8_t *rgba, int width, int height, size_t *size);

typedef struct tar_file {
    const char *name;
    const void *bytes;
    size_t size;
    const char *link; // not NULL: a symbolic link to this
} tar_file;
// Free with lm_free.
uint8_t *make_tar(const tar_file *files, int count, size_t *size);

// The first file of a tar on disk. Free with lm_free.
uint8_t *first_file_of_tar(const char *path, size_t *size);
