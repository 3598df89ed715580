// WordPiece as BERT's uncased tokeniser does it (Devlin et al., arXiv 1810.04805): NFD, accents stripped, lower case,
// punctuation and CJK characters alone, greedy longest match.
#pragma once
#include "base/status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lm_tokenizer lm_tokenizer;
// vocab.txt: one token a line. LM_MODEL: missing, not UTF-8, duplicate lines, special tokens absent, too large.
lm_status lm_tokenizer_open(lm_error *e, const char *vocab_path, lm_tokenizer **out);
lm_status lm_tokenizer_parse(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_tokenizer **out);
void lm_tokenizer_free(lm_tokenizer **t);
int lm_tokenizer_size(const lm_tokenizer *t);

// ids[length]: [CLS] pieces [SEP] [PAD]...; *used: how many of them are real. LM_USAGE: text is not UTF-8 or has 10,000
// bytes or more. When pieces fall off the end, *lost (if not NULL) becomes the first word of text that is not wholly
// inside, as a byte offset into text; otherwise -1.
lm_status lm_tokenizer_encode(lm_error *e, const lm_tokenizer *t, const char *text, int length, int32_t *ids, int *used,
                              int64_t *lost);
