// BERT (Devlin et al., arXiv 1810.04805). Inputs: ids, types [batch,tokens] I32, mask [batch,tokens] F32: 1 = real
// token. Output: states [batch,tokens,width] F32, the last hidden states.
#pragma once
#include "net/families/family.h"

// The keys of Hugging Face's BertConfig that matter here.
typedef struct lm_bert_config {
    int width, layers, heads, inner, tokens, positions, types; // tokens: of the vocabulary
    double eps;
} lm_bert_config;

extern const lm_family lm_bert_family;
