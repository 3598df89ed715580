#include "store/file_digest.h"

#include "base/sha256.h"

#include <stdbool.h>
#include <stdio.h>

lm_status lm_file_digest(lm_error *e, const char *path, uint8_t out[32]) {
    FILE *f = fopen(path, "rbe");
    if (!f) return lm_fail(e, LM_MODEL, "can't read '%.200s': %m", path);
    lm_sha256 s;
    uint8_t bytes[16384];
    lm_sha256_begin(&s);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;) lm_sha256_add(&s, bytes, n);
    bool failed = ferror(f);
    fclose(f);
    if (failed) return lm_fail(e, LM_MODEL, "can't read '%.200s'", path);
    lm_sha256_end(&s, out);
    return LM_OK;
}

void lm_digest_text(const uint8_t digest[32], char out[LM_DIGEST_TEXT]) {
    for (int i = 0; i < 8; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
