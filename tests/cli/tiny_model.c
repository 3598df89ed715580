#include "cli/tiny_model.h"

#include "base/memory.h"
#include "base/random.h"
#include "graph/graph.h"
#include "net/families/slots.h"
#include "net/text_encoder.h"
#include "net/families/unet.h"
#include "devices/devices.h"
#include "net/network.h"
#include "store/style_file.h"

#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

enum { WIDTH = 16, INNER = 32, POSITIONS = 32, MAX_SLOTS = 64 };

static const char *const vocabulary[] = {"[PAD]",  "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "rocket", "bee",
                                         "moving", "from",  "left",  "to",    "right",  ",", "##s"};
enum { TOKENS = sizeof vocabulary / sizeof *vocabulary };

static void write_text(const char *folder, const char *name, const char *text) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

// Adds a tensor of rank 1 or 2 behind the others.
static void add_slot(lm_slot *slots, int *count, int64_t *floats, const char *name, int64_t rows, int64_t columns) {
    assert_true(*count < MAX_SLOTS);
    slots[*count] = (lm_slot){.name = name, .rank = columns ? 2 : 1, .dim = {rows, columns}, .offset = *floats};
    *floats += rows * (columns ? columns : 1);
    ++*count;
}

static void save(const char *folder, const lm_slot *slots, int count, int64_t floats, lm_store_type type) {
    char path[1024];
    lm_error e = {0};
    float *block = malloc((size_t)floats * sizeof *block);
    assert_non_null(block);
    for (int i = 0; i < count; i++) {
        int64_t n = 1;
        for (int k = 0; k < slots[i].rank; k++) n *= slots[i].dim[k];
        lm_random_normal(block + slots[i].offset, n, 5, LM_FOR_TEST, (uint32_t)i, 0, 0);
        for (int64_t k = 0; k < n; k++) block[slots[i].offset + k] *= 0.1f;
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (lm_weights_save(&e, path, slots, count, block, type, NULL, NULL, 0) != LM_OK) fail_msg("%s", e.text);
    free(block);
}

static void make_text_part(const char *folder) {
    static const char *const square[] = {"attention.self.query", "attention.self.key", "attention.self.value",
                                         "attention.output.dense"};
    lm_slot slots[MAX_SLOTS];
    lm_arena names = {0};
    int count = 0;
    int64_t floats = 0;
    assert_int_equal(mkdir(folder, 0777), 0);
    add_slot(slots, &count, &floats, "embeddings.word_embeddings.weight", TOKENS, WIDTH);
    add_slot(slots, &count, &floats, "embeddings.position_embeddings.weight", POSITIONS, WIDTH);
    add_slot(slots, &count, &floats, "embeddings.token_type_embeddings.weight", 2, WIDTH);
    add_slot(slots, &count, &floats, "embeddings.LayerNorm.weight", WIDTH, 0);
    add_slot(slots, &count, &floats, "embeddings.LayerNorm.bias", WIDTH, 0);
#define LAYER(name, rows, columns)                                                                                     \
    add_slot(slots, &count, &floats, lm_arena_strdup(&names, "encoder.layer.0." name), rows, columns)
    for (int i = 0; i < 4; i++) {
        char name[80];
        snprintf(name, sizeof name, "encoder.layer.0.%s.weight", square[i]);
        add_slot(slots, &count, &floats, lm_arena_strdup(&names, name), WIDTH, WIDTH);
        snprintf(name, sizeof name, "encoder.layer.0.%s.bias", square[i]);
        add_slot(slots, &count, &floats, lm_arena_strdup(&names, name), WIDTH, 0);
    }
    LAYER("attention.output.LayerNorm.weight", WIDTH, 0);
    LAYER("attention.output.LayerNorm.bias", WIDTH, 0);
    LAYER("intermediate.dense.weight", INNER, WIDTH);
    LAYER("intermediate.dense.bias", INNER, 0);
    LAYER("output.dense.weight", WIDTH, INNER);
    LAYER("output.dense.bias", WIDTH, 0);
    LAYER("output.LayerNorm.weight", WIDTH, 0);
    LAYER("output.LayerNorm.bias", WIDTH, 0);
#undef LAYER
    save(folder, slots, count, floats, LM_ST_F32);
    lm_arena_free(&names);
    char config[400], words[400] = "";
    snprintf(config, sizeof config,
             "{\"hidden_size\":%d,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"intermediate_size\":%d,"
             "\"vocab_size\":%d,\"max_position_embeddings\":%d,\"type_vocab_size\":2,\"layer_norm_eps\":1e-12}",
             WIDTH, INNER, TOKENS, POSITIONS);
    write_text(folder, "config.json", config);
    for (int i = 0; i < TOKENS; i++) strcat(strcat(words, vocabulary[i]), "\n");
    write_text(folder, "vocab.txt", words);
}

static lm_unet_config tiny_config(void) {
    lm_unet_config c = lm_unet_config_default();
    c.cond_channels = 4;
    c.levels = 2;
    c.channels[0] = 16;
    c.channels[1] = 32;
    c.res_blocks = 1;
    c.attention[0] = false;
    c.attention[1] = true;
    c.head_dim = 8;
    c.groups = 8;
    c.text_width = WIDTH;
    c.embed_width = 32;
    c.video = true;
    c.temporal_down[0] = true;
    c.temporal_attention_blocks = 1;
    return c;
}

static lm_unet_config tiny_ssr_config(void) {
    lm_unet_config c = lm_unet_config_ssr();
    c.levels = 2;
    c.channels[0] = 16;
    c.channels[1] = 32;
    c.res_blocks = 1;
    c.head_dim = 8;
    c.groups = 8;
    c.text_width = WIDTH;
    c.embed_width = 32;
    return c;
}

static void make_network_part(const char *folder, lm_unet_config c) {
    lm_error e = {0};
    assert_int_equal(mkdir(folder, 0777), 0);
    lm_graph *g = lm_graph_create(LM_F32);
    assert_non_null(g);
    lm_unet_build(g, &c, 1, 2, lm_unet_size_multiple(&c), lm_unet_size_multiple(&c), LM_TEXT_TOKENS);
    if (lm_graph_status(g, &e) != LM_OK) fail_msg("%s", e.text);
    int count = lm_graph_params(g);
    lm_slot *slots;
    assert_int_equal(lm_graph_slots(&e, g, &slots), LM_OK);
    save(folder, slots, count, lm_graph_param_count(g), LM_ST_F16);
    char *json = lm_unet_config_json(&c);
    assert_non_null(json);
    write_text(folder, "config.json", json);
    lm_free(json);
    lm_free(slots);
    lm_graph_free(&g);
}

#define MODEL_JSON(parts)                                                                                              \
    "{\"format\":1,\"name\":\"tiny\",\"version\":\"1\",\"licence\":\"Apache-2.0\",\"parts\":{" parts "},"              \
    "\"defaults\":{\"frames\":4,\"width\":8,\"height\":8,\"fps\":8,\"steps\":2,\"cfg_scale\":3}}"

void tiny_model_add_ssr(const char *folder) {
    char part[512];
    write_text(folder, "model.json", MODEL_JSON("\"text\":\"text\",\"base\":\"base\",\"ssr\":\"ssr\""));
    snprintf(part, sizeof part, "%s/ssr", folder);
    make_network_part(part, tiny_ssr_config());
}

void tiny_model_write_style(const char *folder, const char *path) {
    const lm_style_facts facts = {.name = "wild", .licence = "MIT", .made_from = "noise", .rank = 2};
    lm_param_block b;
    lm_device *d = NULL;
    lm_network *n = NULL;
    char base[512];
    lm_error e = {0};
    snprintf(base, sizeof base, "%s/base", folder);
    assert_int_equal(lm_device_open(&e, "reference", 1, &d), LM_OK);
    if (lm_network_open(&e, d, &lm_unet_family, base, LM_F32, &n) != LM_OK) fail_msg("%s", e.text);
    if (lm_network_read(&e, n, &b) != LM_OK) fail_msg("%s", e.text);
    float *styled = malloc((size_t)b.count * sizeof *styled);
    assert_non_null(styled);
    lm_random_normal(styled, b.count, 6, LM_FOR_TEST, 0, 0, 0);
    for (int64_t i = 0; i < b.count; i++) styled[i] = b.data[i] + 0.2f * styled[i];
    if (lm_style_write(&e, path, b.slots, b.slot_count, lm_unet_is_inflation, styled, b.data, &facts) != LM_OK)
        fail_msg("%s", e.text);
    free(styled);
    lm_param_block_free(&b);
    lm_network_free(&n);
    lm_device_close(&d);
}

void tiny_model_name_style(const char *folder, const char *name, const char *file) {
    char path[512];
    snprintf(path, sizeof path, "%s/model.json", folder);
    json_t *json = json_load_file(path, 0, NULL);
    json_t *style = json_pack("[{s:s, s:s, s:s, s:s}]", "name", name, "file", file, "licence", "MIT", "description",
                              "white on black");
    assert_int_equal(json_object_set_new(json, "styles", style), 0);
    assert_int_equal(json_dump_file(json, path, 0), 0);
    json_decref(json);
}

static void make_model(const char *folder, lm_unet_config base) {
    char part[512];
    assert_int_equal(mkdir(folder, 0777), 0);
    write_text(folder, "model.json", MODEL_JSON("\"text\":\"text\",\"base\":\"base\""));
    snprintf(part, sizeof part, "%s/text", folder);
    make_text_part(part);
    snprintf(part, sizeof part, "%s/base", folder);
    make_network_part(part, base);
}

void tiny_model_make(const char *folder) {
    make_model(folder, tiny_config());
}

void tiny_model_make_told(const char *folder) {
    lm_unet_config c = tiny_config();
    c.moment_cond = true;
    make_model(folder, c);
}

char *temporary_make(void) {
    char *folder = strdup("/tmp/lumiere-test-XXXXXX");
    assert_non_null(folder);
    assert_non_null(mkdtemp(folder));
    return folder;
}

static void remove_tree(const char *folder) {
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char path[1024];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path)) remove_tree(path);
    }
    if (d) closedir(d);
    rmdir(folder);
}

void temporary_remove(char *folder) {
    remove_tree(folder);
    free(folder);
}
