// Names of files by their content.
#pragma once
#include "base/status.h"
#include <stdint.h>

enum { LM_DIGEST_TEXT = 17 };
// SHA-256 of a file's bytes. LM_MODEL when it can't be read.
lm_status lm_file_digest(lm_error *e, const char *path, uint8_t out[32]);
// Its first 8 bytes as 16 hex digits.
void lm_digest_text(const uint8_t digest[32], char out[LM_DIGEST_TEXT]);
