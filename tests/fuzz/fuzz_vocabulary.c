// A vocabulary and a text, divided by the first zero byte. An odd first byte puts the special tokens in front, so that
// most vocabularies are accepted. Ids must lie in the vocabulary, and a short result must begin as the long one.
#include "base/memory.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

static void require(bool holds) {
    if (!holds) abort();
}

static void encode(const lm_tokenizer *t, const char *text) {
    enum { LONG = 256, SHORT = 7 };
    int32_t ids[LONG], part[SHORT];
    int used, part_used;
    int64_t lost, part_lost;
    lm_status status = lm_tokenizer_encode(NULL, t, text, LONG, ids, &used, &lost);
    require(status == LM_OK || status == LM_USAGE);
    if (status != LM_OK) return;
    require(used >= 2 && used <= LONG && lost < (int64_t)strlen(text) + (lost < 0));
    for (int i = 0; i < LONG; i++) require(ids[i] >= 0 && ids[i] < lm_tokenizer_size(t));
    require(lm_tokenizer_encode(NULL, t, text, SHORT, part, &part_used, &part_lost) == LM_OK);
    require(part_used == (used < SHORT ? used : SHORT) && (part_lost >= 0) == (used > SHORT));
    require(!memcmp(ids, part, (size_t)(part_used - 1) * sizeof *ids));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char specials[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";
    if (!size) return 0;
    size_t before = data[0] & 1 ? sizeof specials - 1 : 0;
    data++, size--;
    const uint8_t *zero = memchr(data, 0, size);
    size_t length = zero ? (size_t)(zero - data) : size, rest = size - length - (zero != NULL);
    uint8_t *vocabulary = lm_alloc(before + length, 1);
    char *text = lm_alloc(rest + 1, 1);
    if (!vocabulary || !text) abort();
    memcpy(vocabulary, specials, before);
    memcpy(vocabulary + before, data, length);
    if (zero) memcpy(text, zero + 1, rest);
    text[rest] = 0;
    lm_tokenizer *t;
    lm_error e = {0};
    lm_status status = lm_tokenizer_parse(&e, "vocabulary", vocabulary, before + length, &t);
    require(status == LM_OK ? t != NULL : status == LM_MODEL && !t && e.text[0]);
    if (t) encode(t, text);
    lm_tokenizer_free(&t);
    lm_free(vocabulary);
    lm_free(text);
    return 0;
}
