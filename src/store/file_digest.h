// Names of files by their content: SHA-256 (FIPS 180-4), by OpenSSL, which uses the processor's instructions for it.
#pragma once
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

enum { LM_DIGEST_BYTES = 32, LM_DIGEST_TEXT = 17, LM_DIGEST_HEX = 65 };

// The digest of what is added between begin and end. begin returns NULL when memory is short; add takes that, and end
// then says so. end frees d.
typedef struct lm_digest lm_digest;
lm_digest *lm_digest_begin(void);
void lm_digest_add(lm_digest *d, const void *bytes, size_t size);
lm_status lm_digest_end(lm_error *e, lm_digest **d, uint8_t out[LM_DIGEST_BYTES]);

// Of a file's bytes. LM_MODEL when it can't be read.
lm_status lm_file_digest(lm_error *e, const char *path, uint8_t out[LM_DIGEST_BYTES]);
// Its first 8 bytes as 16 hex digits.
void lm_digest_text(const uint8_t digest[LM_DIGEST_BYTES], char out[LM_DIGEST_TEXT]);
void lm_digest_hex(const uint8_t digest[LM_DIGEST_BYTES], char out[LM_DIGEST_HEX]); // all of it
