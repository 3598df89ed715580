#include "store/file_digest.h"

#include "base/memory.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>

enum { READ_BYTES = 1 << 16 };

struct lm_digest {
    EVP_MD_CTX *context;
    bool failed;
};

lm_digest *lm_digest_begin(void) {
    lm_digest *d = lm_alloc_zero(1, sizeof *d);
    if (!d) return NULL;
    ERR_set_mark(); // the thread's list of errors is its program's
    d->context = EVP_MD_CTX_new();
    d->failed = !d->context || EVP_DigestInit_ex(d->context, EVP_sha256(), NULL) != 1;
    ERR_pop_to_mark();
    return d;
}

void lm_digest_add(lm_digest *d, const void *bytes, size_t size) {
    if (!d || d->failed) return;
    ERR_set_mark();
    d->failed = EVP_DigestUpdate(d->context, bytes, size) != 1;
    ERR_pop_to_mark();
}

lm_status lm_digest_end(lm_error *e, lm_digest **digest, uint8_t out[LM_DIGEST_BYTES]) {
    lm_digest *d = *digest;
    *digest = NULL;
    if (!d || !d->context) {
        lm_free(d);
        return lm_fail_memory(e, 1e3, "a SHA-256 digest");
    }
    unsigned size = 0;
    ERR_set_mark();
    const bool good = !d->failed && EVP_DigestFinal_ex(d->context, out, &size) == 1 && size == LM_DIGEST_BYTES;
    ERR_pop_to_mark();
    EVP_MD_CTX_free(d->context);
    lm_free(d);
    return good ? LM_OK : lm_fail(e, LM_FAILED, "OpenSSL gave no SHA-256; its configuration may leave it out");
}

lm_status lm_file_digest(lm_error *e, const char *path, uint8_t out[LM_DIGEST_BYTES]) {
    FILE *f = fopen(path, "rbe");
    if (!f) return lm_fail(e, LM_MODEL, "can't read '%.200s': %m", path);
    lm_digest *d = lm_digest_begin();
    uint8_t bytes[READ_BYTES];
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;) lm_digest_add(d, bytes, n);
    const int why = ferror(f) ? errno : 0;
    fclose(f);
    const lm_status status = lm_digest_end(why ? NULL : e, &d, out);
    errno = why;
    return why ? lm_fail(e, LM_MODEL, "can't read '%.200s': %m", path) : status;
}

void lm_digest_text(const uint8_t digest[LM_DIGEST_BYTES], char out[LM_DIGEST_TEXT]) {
    for (int i = 0; i < 8; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

void lm_digest_hex(const uint8_t digest[LM_DIGEST_BYTES], char out[LM_DIGEST_HEX]) {
    for (int i = 0; i < LM_DIGEST_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
