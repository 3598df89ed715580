// Clips in files of a test's folder; each call fails the test when that is not possible.
#pragma once
#include "media/media.h"

lm_clip read_clip(const char *folder, const char *name); // free with lm_clip_free
void write_clip(const lm_clip *c, const char *path);
