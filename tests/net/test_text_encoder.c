// The text encoder against Hugging Face's BERT (tests/oracle/text_vectors.py), and what it refuses.
#include "base/memory.h"
#include "devices/devices.h"
#include "net/text_encoder.h"
#include "store/safetensors.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MINILM LM_SOURCE_DIR "/models/emoji/text"
enum { TOKENS = 32, WIDTH = 384 };

static lm_device *open_device(const char *name) {
    lm_error e = {0};
    lm_device *d = NULL;
    if (lm_device_open(&e, name, 1, &d) != LM_OK) fail_msg("%s", e.text);
    return d;
}

static lm_text_encoder *open_encoder(lm_device *d, const char *folder) {
    lm_error e = {0};
    lm_text_encoder *t = NULL;
    if (lm_text_encoder_open(&e, d, folder, TOKENS, &t) != LM_OK) fail_msg("%s", e.text);
    return t;
}

static float *read_floats(const char *path, const char *name, int64_t *rows, int64_t width) {
    lm_error e = {0};
    lm_safetensors *s;
    if (lm_safetensors_open(&e, path, &s) != LM_OK) fail_msg("%s", e.text);
    const lm_stored *t = lm_safetensors_find(s, name);
    assert_non_null(t);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->dim[1], width);
    *rows = t->dim[0];
    float *out = lm_alloc((size_t)(t->dim[0] * width), sizeof *out);
    assert_int_equal(lm_safetensors_floats(&e, s, t, out), LM_OK);
    lm_safetensors_free(&s);
    return out;
}

typedef struct agreement {
    double cosine, difference; // smallest over the tokens, largest over their channels
    int64_t states;
    int texts;
} agreement;

static void compare(const float *a, const float *b, int64_t rows, int64_t width, agreement *out) {
    for (int64_t i = 0; i < rows; i++, out->states++) {
        double ab = 0, aa = 0, bb = 0;
        for (int64_t k = i * width; k < (i + 1) * width; k++) {
            assert_true(isfinite(a[k]));
            ab += (double)a[k] * b[k], aa += (double)a[k] * a[k], bb += (double)b[k] * b[k];
            out->difference = fmax(out->difference, fabs((double)a[k] - b[k]));
        }
        out->cosine = fmin(out->cosine, ab / sqrt(aa * bb));
    }
}

// Every text of tokens.json through the encoder in folder, against the original's states in the folder vectors.
static agreement compare_with_original(const char *folder, const char *vectors) {
    char *path = lm_format("%s/states.safetensors", vectors);
    lm_device *d = open_device("cpu");
    lm_text_encoder *t = open_encoder(d, folder);
    assert_int_equal(lm_text_encoder_width(t), WIDTH);
    int64_t rows;
    float *want = read_floats(path, "states", &rows, WIDTH);
    json_t *texts = json_load_file(LM_TEST_DATA "/text/tokens.json", 0, NULL), *row;
    static float states[TOKENS * WIDTH];
    float mask[TOKENS];
    agreement a = {.cosine = 1};
    size_t i;
    json_array_foreach(texts, i, row) {
        const char *text = json_string_value(json_object_get(row, "text"));
        size_t ids = json_array_size(json_object_get(row, "ids"));
        int64_t real = ids < TOKENS ? (int64_t)ids : TOKENS;
        assert_int_equal(lm_text_encode(NULL, t, text, states, mask), LM_OK);
        for (int k = 0; k < TOKENS; k++) assert_true(mask[k] == (k < real ? 1.0f : 0.0f));
        assert_true(a.states + real <= rows);
        compare(states, want + a.states * WIDTH, real, WIDTH, &a);
        a.texts++;
    }
    assert_int_equal(a.states, rows);
    assert_true(a.texts >= 200);
    print_message("%d texts, %lld states: smallest cosine %.5f, largest difference %.2e\n", a.texts,
                  (long long)a.states, a.cosine, a.difference);
    json_decref(texts);
    lm_free(want);
    lm_free(path);
    lm_text_encoder_free(&t);
    lm_device_close(&d);
    return a;
}

static void test_8_bit(void **state) {
    (void)state;
    assert_true(compare_with_original(MINILM, LM_TEST_DATA "/text").cosine >= 0.999);
}

// LUMIERE_MINILM: a folder made by tests/oracle/convert_text_encoder.py --f32 and text_vectors.py --exact.
static void test_fp32(void **state) {
    (void)state;
    const char *folder = getenv("LUMIERE_MINILM");
    if (!folder) {
        print_message("LUMIERE_MINILM is not set: the 90 MB of original weights are not in the repository\n");
        skip();
    }
    agreement a = compare_with_original(folder, folder);
    assert_true(a.difference <= 2e-3);
    assert_true(a.cosine >= 0.99999);
}

// The tiny BERT of text_vectors.py.
enum { TINY_WIDTH = 16, TINY_INNER = 24, TINY_LAYERS = 2, TINY_TOKENS = 11, TINY_POSITIONS = 40, TINY_PARAMS = 64 };
static const char tiny_vocabulary[] = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\nd\ne\nf\n";
static const char tiny_config[] = "{\"hidden_size\": 16, \"num_hidden_layers\": 2, \"num_attention_heads\": 2,"
                                  "\"intermediate_size\": 24, \"vocab_size\": 11, \"max_position_embeddings\": 40,"
                                  "\"type_vocab_size\": 2, \"layer_norm_eps\": 1e-12}";

typedef struct tiny_files {
    char folder[64];
    lm_to_store params[TINY_PARAMS];
    int count;
} tiny_files;

static void add_param(tiny_files *f, const char *prefix, const char *name, int64_t rows, int64_t columns) {
    lm_to_store *p = &f->params[f->count++];
    assert_true(f->count <= TINY_PARAMS);
    *p = (lm_to_store){.name = lm_format("%s%s", prefix, name), .rank = columns ? 2 : 1, .dim = {rows, columns}};
}

// Weight and bias of a linear layer, or of a normalisation (in = 0).
static void add_linear(tiny_files *f, const char *prefix, const char *name, int64_t out, int64_t in) {
    char *path = lm_format("%s%s", prefix, name);
    add_param(f, path, ".weight", out, in);
    add_param(f, path, ".bias", out, 0);
    lm_free(path);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const lm_to_store *)a)->name, ((const lm_to_store *)b)->name);
}

// Element i of the k-th parameter by name: scale * sin(0.37 i + k), plus 1 for a normalisation's gain.
static void fill(tiny_files *f) {
    qsort(f->params, (size_t)f->count, sizeof *f->params, by_name);
    for (int k = 0; k < f->count; k++) {
        lm_to_store *p = &f->params[k];
        int64_t n = p->dim[0] * (p->rank == 2 ? p->dim[1] : 1);
        float *data = lm_alloc((size_t)n, sizeof *data), gain = strstr(p->name, "LayerNorm.weight") ? 1.0f : 0.0f;
        double scale = p->rank == 2 ? 0.5 : 0.2;
        for (int64_t i = 0; i < n; i++) data[i] = (float)(scale * sin(0.37 * (double)i + k)) + gain;
        p->data = data;
    }
}

static void write_text(const tiny_files *f, const char *name, const char *text) {
    char *path = lm_format("%s/%s", f->folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, strlen(text), out), strlen(text));
    assert_int_equal(fclose(out), 0);
    lm_free(path);
}

static void write_weights(const tiny_files *f, int count) {
    char *path = lm_format("%s/model.safetensors", f->folder);
    lm_error e = {0};
    if (lm_safetensors_write(&e, path, f->params, count, NULL, NULL, 0) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
}

static int make_tiny(void **state) {
    tiny_files *f = lm_alloc_zero(1, sizeof *f);
    strcpy(f->folder, "/tmp/lumiere-text-XXXXXX");
    if (!mkdtemp(f->folder)) return -1;
    add_linear(f, "embeddings.", "LayerNorm", TINY_WIDTH, 0);
    add_param(f, "embeddings.", "word_embeddings.weight", TINY_TOKENS, TINY_WIDTH);
    add_param(f, "embeddings.", "token_type_embeddings.weight", 2, TINY_WIDTH);
    add_param(f, "embeddings.", "position_embeddings.weight", TINY_POSITIONS, TINY_WIDTH);
    for (int i = 0; i < TINY_LAYERS; i++) {
        char *at = lm_format("encoder.layer.%d.", i);
        add_linear(f, at, "attention.self.query", TINY_WIDTH, TINY_WIDTH);
        add_linear(f, at, "attention.self.key", TINY_WIDTH, TINY_WIDTH);
        add_linear(f, at, "attention.self.value", TINY_WIDTH, TINY_WIDTH);
        add_linear(f, at, "attention.output.dense", TINY_WIDTH, TINY_WIDTH);
        add_linear(f, at, "attention.output.LayerNorm", TINY_WIDTH, 0);
        add_linear(f, at, "intermediate.dense", TINY_INNER, TINY_WIDTH);
        add_linear(f, at, "output.dense", TINY_WIDTH, TINY_INNER);
        add_linear(f, at, "output.LayerNorm", TINY_WIDTH, 0);
        lm_free(at);
    }
    fill(f);
    write_text(f, "config.json", tiny_config);
    write_text(f, "vocab.txt", tiny_vocabulary);
    write_weights(f, f->count);
    *state = f;
    return 0;
}

static int remove_tiny(void **state) {
    tiny_files *f = *state;
    static const char *const names[] = {"config.json", "vocab.txt", "model.safetensors"};
    for (int i = 0; i < 3; i++) {
        char *path = lm_format("%s/%s", f->folder, names[i]);
        if (unlink(path) && errno != ENOENT) return -1;
        lm_free(path);
    }
    if (rmdir(f->folder)) return -1;
    for (int i = 0; i < f->count; i++) {
        lm_free((char *)f->params[i].name);
        lm_free((float *)f->params[i].data);
    }
    lm_free(f);
    return 0;
}

static void check_tiny(const char *device, const tiny_files *f, double limit) {
    static const char *const texts[] = {"a b c", "",
                                        "a b c d e f a b c d e f a b c d e f a b c d e f a b c d e f a b c d e f"};
    static const int64_t lost[] = {-1, -1, 60}; // the 31st letter
    lm_device *d = open_device(device);
    lm_text_encoder *t = open_encoder(d, f->folder);
    agreement a = {.cosine = 1};
    for (int i = 0; i < 3; i++) {
        char *name = lm_format("states%d", i);
        int64_t rows, word;
        float *want = read_floats(LM_TEST_DATA "/text/tiny.safetensors", name, &rows, TINY_WIDTH);
        float states[TOKENS * TINY_WIDTH], mask[TOKENS];
        assert_int_equal(lm_text_encoder_read(NULL, t, texts[i], &word), LM_OK);
        assert_int_equal(lm_text_encode(NULL, t, texts[i], states, mask), LM_OK);
        assert_int_equal(word, lost[i]);
        compare(states, want, rows, TINY_WIDTH, &a);
        lm_free(want);
        lm_free(name);
    }
    print_message("%s: %lld states, largest difference %.2e\n", device, (long long)a.states, a.difference);
    assert_int_equal(a.states, 5 + 2 + 32);
    assert_true(a.difference <= limit);
    lm_text_encoder_free(&t);
    assert_null(t);
    lm_device_close(&d);
}

static void test_tiny(void **state) {
    check_tiny("reference", *state, 1e-5);
    check_tiny("cpu", *state, 1e-5);
}

// A text's states don't depend on what was encoded before.
static void test_repeatable(void **state) {
    const tiny_files *f = *state;
    lm_device *d = open_device("cpu");
    lm_text_encoder *t = open_encoder(d, f->folder);
    float first[TOKENS * TINY_WIDTH], again[TOKENS * TINY_WIDTH], mask[TOKENS];
    assert_int_equal(lm_text_encode(NULL, t, "a b", first, mask), LM_OK);
    assert_int_equal(lm_text_encode(NULL, t, "f e d c b a", again, mask), LM_OK);
    assert_memory_not_equal(first, again, sizeof first);
    assert_int_equal(lm_text_encode(NULL, t, "a b", again, mask), LM_OK);
    assert_memory_equal(first, again, sizeof first);
    lm_text_encoder_free(&t);
    lm_device_close(&d);
}

typedef struct encoded {
    float *states, *mask;
} encoded;

static void free_encoded(encoded *x) {
    lm_free(x->states);
    lm_free(x->mask);
}

// How many texts to encode in one call: 1 by 1, 3 by 3, ...
static encoded encode_in_groups(int threads, const char *const *texts, int n, int group) {
    lm_error e = {0};
    lm_device *d = NULL;
    assert_int_equal(lm_device_open(&e, "cpu", threads, &d), LM_OK);
    lm_text_encoder *t = open_encoder(d, MINILM);
    encoded x = {lm_alloc((size_t)n * TOKENS * WIDTH, sizeof(float)), lm_alloc((size_t)n * TOKENS, sizeof(float))};
    for (int i = 0; i < n; i += group) {
        int count = n - i < group ? n - i : group;
        float *states = x.states + (size_t)i * TOKENS * WIDTH, *mask = x.mask + i * TOKENS;
        lm_status s = group == 1 ? lm_text_encode(&e, t, texts[i], states, mask)
                                 : lm_text_encode_many(&e, t, texts + i, count, states, mask);
        if (s != LM_OK) fail_msg("%s", e.text);
    }
    lm_text_encoder_free(&t);
    lm_device_close(&d);
    return x;
}

// The same bits whichever texts are encoded together, in whichever order, on however many threads.
static void test_neighbours(void **state) {
    (void)state;
    enum { MOST = 90 };
    const char *texts[MOST], *reversed[MOST];
    json_t *all = json_load_file(LM_TEST_DATA "/text/tokens.json", 0, NULL);
    const int n = MOST;
    assert_true(json_array_size(all) >= 2 * MOST);
    for (int i = 0; i < n; i++) {
        texts[i] = json_string_value(json_object_get(json_array_get(all, (size_t)(2 * i)), "text"));
        reversed[n - 1 - i] = texts[i];
    }
    encoded alone = encode_in_groups(1, texts, n, 1), few = encode_in_groups(2, reversed, n, 7);
    encoded whole = encode_in_groups(2, texts, n, n);
    const size_t row = TOKENS * WIDTH;
    for (int i = 0; i < n; i++) {
        assert_memory_equal(alone.states + i * row, whole.states + i * row, row * sizeof(float));
        assert_memory_equal(alone.states + i * row, few.states + (n - 1 - i) * row, row * sizeof(float));
        assert_memory_equal(alone.mask + i * TOKENS, whole.mask + i * TOKENS, TOKENS * sizeof(float));
        assert_memory_equal(alone.mask + i * TOKENS, few.mask + (n - 1 - i) * TOKENS, TOKENS * sizeof(float));
        for (int k = 0; k < TOKENS; k++)
            for (size_t c = 0; c < WIDTH && alone.mask[i * TOKENS + k] == 0; c++)
                assert_true(alone.states[i * row + (size_t)k * WIDTH + c] == 0);
    }
    free_encoded(&alone);
    free_encoded(&few);
    free_encoded(&whole);
    json_decref(all);
}

static void test_bad_text(void **state) {
    const tiny_files *f = *state;
    lm_device *d = open_device("cpu");
    lm_text_encoder *t = open_encoder(d, f->folder);
    float states[TOKENS * TINY_WIDTH], mask[TOKENS];
    char *text = lm_alloc(10001, 1);
    memset(text, 'a', 10000);
    text[10000] = 0;
    lm_error e = {0};
    assert_int_equal(lm_text_encode(&e, t, text, states, mask), LM_USAGE);
    assert_non_null(strstr(e.text, "too long"));
    lm_error_clear(&e);
    assert_int_equal(lm_text_encode(&e, t, "a \xfe", states, mask), LM_USAGE);
    assert_non_null(strstr(e.text, "not valid UTF-8 at byte 3"));
    lm_free(text);
    lm_text_encoder_free(&t);
    lm_device_close(&d);
}

static void check_refused(lm_device *d, const tiny_files *f, const char *message) {
    lm_error e = {0};
    lm_text_encoder *t;
    lm_status status = lm_text_encoder_open(&e, d, f->folder, TOKENS, &t);
    if (status == LM_OK) status = lm_text_encoder_load(&e, t); // the weights
    assert_int_equal(status, LM_MODEL);
    lm_text_encoder_free(&t);
    if (!strstr(e.text, message)) fail_msg("\"%s\" does not say \"%s\"", e.text, message);
}

// tiny_config with one part replaced.
static void write_config(const tiny_files *f, const char *from, const char *to) {
    const char *at = strstr(tiny_config, from);
    assert_non_null(at);
    char *text = lm_format("%.*s%s%s", (int)(at - tiny_config), tiny_config, to, at + strlen(from));
    write_text(f, "config.json", text);
    lm_free(text);
}

static void test_bad_config(void **state) {
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"{", "", "not JSON"},
        {tiny_config, "[]", "not a JSON object"},
        {"\"hidden_size\": 16,", "", "hidden_size must be a whole number from 1 to 8192"},
        {"\"hidden_size\": 16", "\"hidden_size\": 16.5", "hidden_size must be a whole number"},
        {"\"hidden_size\": 16", "\"hidden_size\": 16, \"hidden_size\": 16", "not JSON: duplicate"},
        {"\"hidden_size\": 16", "\"hidden_size\": 17", "hidden_size 17 is not a multiple of num_attention_heads 2"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0", "num_hidden_layers must be a whole number from 1"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "encoder.layer.2"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "is not one of the network's"},
        {"\"intermediate_size\": 24", "\"intermediate_size\": 48", "intermediate.dense"},
        {"\"vocab_size\": 11", "\"vocab_size\": 12", "has 11 tokens; config.json's vocab_size is 12"},
        {"embeddings\": 40", "embeddings\": 31", "max_position_embeddings must be a whole number from 32"},
        {"1e-12", "0", "layer_norm_eps must be a number above 0"},
        {"1e-12", "\"1e-12\"", "layer_norm_eps must be a number above 0"},
        {"{", "{\"hidden_act\": \"relu\", ", "has 9 keys; exactly BERT's 8 are known"},
    };
    lm_device *d = open_device("cpu");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_config(*state, cases[i].from, cases[i].to);
        check_refused(d, *state, cases[i].message);
    }
    lm_device_close(&d);
}

static void test_bad_files(void **state) {
    tiny_files *f = *state;
    lm_device *d = open_device("cpu");
    write_weights(f, f->count - 1);
    check_refused(d, f, f->params[f->count - 1].name);
    char *path = lm_format("%s/model.safetensors", f->folder);
    assert_int_equal(truncate(path, 1000), 0);
    check_refused(d, f, path);
    assert_int_equal(unlink(path), 0);
    check_refused(d, f, path);
    lm_free(path);
    write_text(f, "vocab.txt", "cat\n");
    check_refused(d, f, "no line is [PAD]");
    write_text(f, "config.json", "");
    check_refused(d, f, "not JSON");
    strcat(f->folder, "?");
    check_refused(d, f, "config.json");
    f->folder[strlen(f->folder) - 1] = 0;
    lm_device_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_8_bit),
        cmocka_unit_test(test_fp32),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test_setup_teardown(test_tiny, make_tiny, remove_tiny),
        cmocka_unit_test_setup_teardown(test_repeatable, make_tiny, remove_tiny),
        cmocka_unit_test_setup_teardown(test_bad_text, make_tiny, remove_tiny),
        cmocka_unit_test_setup_teardown(test_bad_config, make_tiny, remove_tiny),
        cmocka_unit_test_setup_teardown(test_bad_files, make_tiny, remove_tiny),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
