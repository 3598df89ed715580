#include "text/tokenizer.h"

#include "base/files.h"
#include "base/hash.h"
#include "base/memory.h"

#include <string.h>
#include <utf8proc.h>

enum {
    VOCABULARY_BYTES = 16 << 20,
    VOCABULARY_TOKENS = 1 << 20,
    TOKEN_BYTES = 256,
    TEXT_BYTES = 10000, // a prompt must be shorter
    WORD_CHARS = 100,   // a longer word is [UNK], as in the original
    SPECIALS = 5,
};

static const char *const special_names[SPECIALS] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
enum { PAD, UNK, CLS, SEP, MASK };

typedef struct token {
    uint32_t at, size; // bytes in lm_tokenizer.text
} token;

struct lm_tokenizer {
    uint8_t *text; // the vocabulary file
    token *tokens; // by id
    int count;
    int32_t *slots; // open addressing: an id, or -1
    uint32_t slot_mask;
    uint32_t longest; // bytes of the longest token
    int32_t special[SPECIALS];
};

// The id of prefix + bytes, whose hash is h; -1 when it is not in the vocabulary.
static int32_t find(const lm_tokenizer *t, uint32_t h, const char *prefix, const uint8_t *bytes, size_t size) {
    size_t before = strlen(prefix);
    for (uint32_t i = h & t->slot_mask; t->slots[i] >= 0; i = (i + 1) & t->slot_mask) {
        token k = t->tokens[t->slots[i]];
        if (k.size == before + size && !memcmp(t->text + k.at, prefix, before) &&
            !memcmp(t->text + k.at + before, bytes, size))
            return t->slots[i];
    }
    return -1;
}

// Categories are those of utf8proc's Unicode. The published tokeniser's library stopped at Unicode 8, so that marks and
// punctuation newer than that may give other ids.
static bool is_space(int32_t c) {
    if (c == '\t' || c == '\n' || c == '\r') return true;
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP;
}

// What the original's clean-up removes: control, format and private-use characters and the replacement character.
static bool is_removed(int32_t c) {
    utf8proc_category_t k = utf8proc_category(c);
    return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO || c == 0xFFFD;
}

// The blocks that BERT calls Chinese: ideographs stand alone, kana and Hangul don't.
static bool is_ideograph(int32_t c) {
    static const int32_t blocks[][2] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                                        {0x2B740, 0x2B81F}, {0x2B820, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (c >= blocks[i][0] && c <= blocks[i][1]) return true;
    return false;
}

// ASCII symbols such as $ and ^ count as punctuation here, whatever Unicode calls them.
static bool is_punctuation(int32_t c) {
    if (c < 128) return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) || (c >= 123 && c <= 126);
    utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

static lm_status check_token(lm_error *e, const char *name, int line, const uint8_t *bytes, size_t size) {
    if (!size) return lm_fail(e, LM_MODEL, "'%.200s': line %d is empty; every line must hold one token", name, line);
    if (size > TOKEN_BYTES)
        return lm_fail(e, LM_MODEL, "'%.200s': line %d has %zu bytes; a token has at most %d", name, line, size,
                       TOKEN_BYTES);
    for (size_t i = 0; i < size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(bytes + i, (utf8proc_ssize_t)(size - i), &c);
        if (n <= 0)
            return lm_fail(e, LM_MODEL, "'%.200s': line %d is not valid UTF-8 at its byte %zu", name, line, i + 1);
        if (c == 0xFEFF) return lm_fail(e, LM_MODEL, "'%.200s': line %d has a byte order mark; remove it", name, line);
        if (c == '\r')
            return lm_fail(e, LM_MODEL, "'%.200s': line %d has a carriage return; lines end in LF", name, line);
        if (is_space(c) || is_removed(c))
            return lm_fail(e, LM_MODEL,
                           "'%.200s': line %d has U+%04X; a token holds no white space or control characters", name,
                           line, (unsigned)c);
        i += (size_t)n;
    }
    return LM_OK;
}

// Splits t->text into tokens.
static lm_status read_tokens(lm_error *e, lm_tokenizer *t, const char *name, size_t size) {
    if (!size) return lm_fail(e, LM_MODEL, "'%.200s': empty; a vocabulary has one token a line", name);
    if (t->text[size - 1] != '\n')
        return lm_fail(e, LM_MODEL, "'%.200s': the last line has no line feed; the file may be truncated", name);
    int lines = 0;
    for (size_t i = 0; i < size; i++) lines += t->text[i] == '\n';
    if (lines > VOCABULARY_TOKENS)
        return lm_fail(e, LM_MODEL, "'%.200s': %d tokens; at most %d are allowed", name, lines, VOCABULARY_TOKENS);
    t->tokens = lm_alloc((size_t)lines, sizeof *t->tokens);
    if (!t->tokens) return lm_fail_memory(e, (double)lines * sizeof *t->tokens, "the vocabulary");
    for (size_t at = 0; at < size;) {
        size_t length = (size_t)((uint8_t *)memchr(t->text + at, '\n', size - at) - (t->text + at));
        LM_TRY(check_token(e, name, t->count + 1, t->text + at, length));
        t->tokens[t->count++] = (token){(uint32_t)at, (uint32_t)length};
        if (length > t->longest) t->longest = (uint32_t)length;
        at += length + 1;
    }
    return LM_OK;
}

static lm_status index_tokens(lm_error *e, lm_tokenizer *t, const char *name) {
    uint32_t slots = 16;
    while (slots < 2 * (uint32_t)t->count) slots *= 2;
    t->slots = lm_alloc(slots, sizeof *t->slots);
    if (!t->slots) return lm_fail_memory(e, (double)slots * sizeof *t->slots, "the vocabulary");
    for (uint32_t i = 0; i < slots; i++) t->slots[i] = -1;
    t->slot_mask = slots - 1;
    for (int id = 0; id < t->count; id++) {
        const uint8_t *bytes = t->text + t->tokens[id].at;
        uint32_t h = lm_hash32_more(LM_HASH32_START, bytes, t->tokens[id].size);
        int32_t before = find(t, h, "", bytes, t->tokens[id].size);
        if (before >= 0)
            return lm_fail(e, LM_MODEL, "'%.200s': line %d repeats line %d; tokens must differ", name, id + 1,
                           before + 1);
        uint32_t i = h & t->slot_mask;
        while (t->slots[i] >= 0) i = (i + 1) & t->slot_mask;
        t->slots[i] = id;
    }
    for (int i = 0; i < SPECIALS; i++) {
        const uint8_t *bytes = (const uint8_t *)special_names[i];
        size_t size = strlen(special_names[i]);
        t->special[i] = find(t, lm_hash32_more(LM_HASH32_START, bytes, size), "", bytes, size);
        if (t->special[i] < 0)
            return lm_fail(e, LM_MODEL, "'%.200s': no line is %s; BERT's five special tokens are needed", name,
                           special_names[i]);
    }
    return LM_OK;
}

// Takes bytes over, also on failure.
static lm_status build(lm_error *e, const char *name, uint8_t *bytes, size_t size, lm_tokenizer **out) {
    lm_tokenizer *t = lm_alloc_zero(1, sizeof *t);
    if (!t) {
        lm_free(bytes);
        return lm_fail_memory(e, sizeof *t, "the tokeniser");
    }
    t->text = bytes;
    lm_status status = read_tokens(e, t, name, size);
    if (status == LM_OK) status = index_tokens(e, t, name);
    if (status == LM_OK)
        *out = t;
    else
        lm_tokenizer_free(&t);
    return status;
}

lm_status lm_tokenizer_open(lm_error *e, const char *vocab_path, lm_tokenizer **out) {
    *out = NULL;
    uint8_t *bytes;
    size_t size;
    LM_TRY(lm_file_read(e, vocab_path, VOCABULARY_BYTES, LM_MODEL, &bytes, &size));
    return build(e, vocab_path, bytes, size, out);
}

lm_status lm_tokenizer_parse(lm_error *e, const char *name, const uint8_t *bytes, size_t size, lm_tokenizer **out) {
    *out = NULL;
    if (size > VOCABULARY_BYTES)
        return lm_fail(e, LM_MODEL, "'%.200s': %zu bytes; a vocabulary has at most %d", name, size, VOCABULARY_BYTES);
    uint8_t *copy = lm_alloc(size, 1);
    if (!copy) return lm_fail_memory(e, (double)size, "the vocabulary");
    if (size) memcpy(copy, bytes, size);
    return build(e, name, copy, size, out);
}

void lm_tokenizer_free(lm_tokenizer **t) {
    if (!*t) return;
    lm_free((*t)->text);
    lm_free((*t)->tokens);
    lm_free((*t)->slots);
    lm_free(*t);
    *t = NULL;
}

int lm_tokenizer_size(const lm_tokenizer *t) {
    return t->count;
}

// One text being encoded.
typedef struct encoding {
    const lm_tokenizer *t;
    int32_t *ids;
    int used, room; // ids written; ids there is room for before [SEP]
    bool full;      // a piece found no room
    uint8_t *word;  // the word being collected, cleaned
    size_t word_size;
    int32_t *chars; // its characters, decomposed
    size_t chars_room;
} encoding;

static void emit(encoding *s, int32_t id) {
    if (s->used < s->room)
        s->ids[s->used++] = id;
    else
        s->full = true;
}

// Greedy longest match (section 4.1 of arXiv 1609.08144): one lookup for every prefix of the rest of the word, the
// longest wins. Characters [at, n) end at byte end[i + 1]. Returns the id, or -1, and moves *at behind the match.
static int32_t match(const lm_tokenizer *t, const uint8_t *bytes, const int *end, int n, int *at) {
    const char *prefix = *at ? "##" : "";
    uint32_t h = lm_hash32_more(LM_HASH32_START, (const uint8_t *)prefix, strlen(prefix));
    int32_t best = -1;
    int first = *at;
    for (int i = first; i < n && (uint32_t)(end[i + 1] - end[first]) <= t->longest; i++) {
        h = lm_hash32_more(h, bytes + end[i], (size_t)(end[i + 1] - end[i]));
        int32_t id = find(t, h, prefix, bytes + end[first], (size_t)(end[i + 1] - end[first]));
        if (id < 0) continue;
        best = id;
        *at = i + 1;
    }
    return best;
}

// The pieces of one word without punctuation; [UNK] when a part of it is not in the vocabulary.
static void emit_word(encoding *s, const int32_t *chars, size_t count) {
    if (!count) return;
    if (count > WORD_CHARS) {
        emit(s, s->t->special[UNK]);
        return;
    }
    uint8_t bytes[4 * WORD_CHARS];
    int end[WORD_CHARS + 1] = {0}, n = (int)count;
    for (int i = 0; i < n; i++) end[i + 1] = end[i] + (int)utf8proc_encode_char(chars[i], bytes + end[i]);
    int32_t pieces[WORD_CHARS];
    int found = 0;
    for (int at = 0; at < n;) {
        pieces[found] = match(s->t, bytes, end, n, &at);
        if (pieces[found++] >= 0) continue;
        emit(s, s->t->special[UNK]);
        return;
    }
    for (int i = 0; i < found; i++) emit(s, pieces[i]);
}

// Decomposes the collected word, strips accents, lowers case and splits at punctuation.
static lm_status finish_word(lm_error *e, encoding *s) {
    if (!s->word_size) return LM_OK;
    utf8proc_ssize_t n = utf8proc_decompose(s->word, (utf8proc_ssize_t)s->word_size, s->chars,
                                            (utf8proc_ssize_t)s->chars_room, UTF8PROC_DECOMPOSE);
    s->word_size = 0;
    if (n < 0 || (size_t)n > s->chars_room) return lm_fail(e, LM_FAILED, "text does not decompose: %zd", (ssize_t)n);
    size_t kept = 0;
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        int32_t c = s->chars[i];
        if (utf8proc_category(c) == UTF8PROC_CATEGORY_MN) continue;
        s->chars[kept++] = utf8proc_tolower(c);
        if (!is_punctuation(s->chars[kept - 1])) continue;
        emit_word(s, s->chars, kept - 1);
        emit_word(s, s->chars + kept - 1, 1);
        kept = 0;
    }
    emit_word(s, s->chars, kept);
    return LM_OK;
}

static lm_status check_text(lm_error *e, const char *text, size_t size) {
    if (size >= TEXT_BYTES)
        return lm_fail(e, LM_USAGE, "a text of %zu bytes is too long; use less than %d", size, TEXT_BYTES);
    for (size_t i = 0; i < size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const uint8_t *)text + i, (utf8proc_ssize_t)(size - i), &c);
        if (n <= 0) return lm_fail(e, LM_USAGE, "the text is not valid UTF-8 at byte %zu", i + 1);
        i += (size_t)n;
    }
    return LM_OK;
}

// Which special token stands literally at p, as the original takes them; -1 for none.
static int special_at(const char *p) {
    for (int i = 0; *p == '[' && i < SPECIALS; i++)
        if (!strncmp(p, special_names[i], strlen(special_names[i]))) return i;
    return -1;
}

// Reads one character or special token at text[*at] and finishes words where they end. *word_start: the word it belongs
// to.
static lm_status step(lm_error *e, encoding *s, const char *text, size_t size, size_t *at, size_t *word_start) {
    size_t start = *at;
    int special = special_at(text + start);
    if (special >= 0) {
        *at += strlen(special_names[special]);
        LM_TRY(finish_word(e, s));
        if (s->full) return LM_OK;
        *word_start = start;
        emit(s, s->t->special[special]);
        return LM_OK;
    }
    utf8proc_int32_t c;
    size_t n = (size_t)utf8proc_iterate((const uint8_t *)text + start, (utf8proc_ssize_t)(size - start), &c);
    *at += n;
    bool alone = is_ideograph(c);
    if (is_space(c) || alone) LM_TRY(finish_word(e, s));
    if (s->full || is_space(c) || is_removed(c)) return LM_OK;
    if (!s->word_size) *word_start = start;
    memcpy(s->word + s->word_size, text + start, n);
    s->word_size += n;
    return alone ? finish_word(e, s) : LM_OK;
}

lm_status lm_tokenizer_encode(lm_error *e, const lm_tokenizer *t, const char *text, int length, int32_t *ids, int *used,
                              int64_t *lost) {
    size_t size = strlen(text), word_start = 0;
    LM_TRY(check_text(e, text, size));
    if (length < 2) return lm_fail(e, LM_USAGE, "%d tokens have no room for [CLS] and [SEP]; use 2 or more", length);
    // no character decomposes into more than four
    encoding s = {.t = t, .ids = ids, .room = length - 1, .chars_room = 4 * size + 4};
    s.word = lm_alloc(size + 1, 1);
    s.chars = lm_alloc(s.chars_room, sizeof *s.chars);
    lm_status status = LM_OK;
    if (!s.word || !s.chars) status = lm_fail_memory(e, (double)s.chars_room * sizeof *s.chars, "a text");
    emit(&s, t->special[CLS]);
    for (size_t at = 0; status == LM_OK && !s.full && at < size;) status = step(e, &s, text, size, &at, &word_start);
    if (status == LM_OK && !s.full) status = finish_word(e, &s);
    lm_free(s.word);
    lm_free(s.chars);
    if (status != LM_OK) return status;
    ids[s.used++] = t->special[SEP];
    *used = s.used;
    for (int i = s.used; i < length; i++) ids[i] = t->special[PAD];
    if (lost) *lost = s.full ? (int64_t)word_start : -1;
    return LM_OK;
}
