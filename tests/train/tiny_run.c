#include "tiny_run.h"

#include "base/memory.h"
#include "devices/devices.h"
#include "media/media.h"
#include "store/safetensors.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { WIDTH = 16, INNER = 24, POSITIONS = 32, SIDE = 16, MOST_PARAMS = 40 };
static const char vocabulary[] =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nrocket\nbee\nmoving\nfrom\nleft\nto\nright\n,\non\n";
enum { TOKENS = 15 };

char *tiny_path(const tiny_run *r, const char *name) {
    char *path = lm_format("%s/%s", r->folder, name);
    assert_non_null(path);
    return path;
}

static void write_text(const tiny_run *r, const char *name, const char *text) {
    char *path = tiny_path(r, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    lm_free(path);
}

static void make_folder(const tiny_run *r, const char *name) {
    char *path = tiny_path(r, name);
    assert_int_equal(mkdir(path, 0777), 0);
    lm_free(path);
}

// A clip named NAME.gif, or NAME.png with one frame, with its caption.
static void add_clip(const tiny_run *r, const char *name, int frames, int phase, const char *caption) {
    lm_error e = {0};
    lm_clip clip;
    assert_int_equal(lm_clip_alloc(&e, frames, SIDE, SIDE, 3, &clip), LM_OK);
    clip.fps = frames > 1 ? 16 : 0;
    for (int i = 0; i < frames * SIDE * SIDE * 3; i++)
        clip.data[i] = (uint8_t)(128 + 100 * sin(0.05 * (i % (SIDE * SIDE * 3)) + i / (SIDE * SIDE * 3) + phase));
    char file[80], text[80];
    snprintf(file, sizeof file, "data/%s.%s", name, frames > 1 ? "gif" : "png");
    snprintf(text, sizeof text, "data/%s.txt", name);
    char *path = tiny_path(r, file);
    if (lm_media_write(&e, path, &clip, NULL) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    lm_clip_free(&clip);
    write_text(r, text, caption);
}

typedef struct param_list {
    lm_to_store items[MOST_PARAMS];
    int count;
} param_list;

static void add_param(param_list *l, const char *name, int64_t rows, int64_t columns) {
    assert_true(l->count < MOST_PARAMS);
    int64_t n = rows * (columns ? columns : 1);
    float *data = lm_alloc((size_t)n, sizeof *data), gain = strstr(name, "LayerNorm.weight") ? 1.0f : 0.0f;
    for (int64_t i = 0; i < n; i++) data[i] = gain + 0.4f * (float)sin(0.37 * (double)i + l->count);
    l->items[l->count++] =
        (lm_to_store){.name = lm_strdup(name), .rank = columns ? 2 : 1, .dim = {rows, columns}, .data = data};
}

// columns 0: a normalisation
static void add_layer(param_list *l, const char *name, int64_t rows, int64_t columns) {
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    add_param(l, full, rows, columns);
    snprintf(full, sizeof full, "%s.bias", name);
    add_param(l, full, rows, 0);
}

static void make_text_encoder(const tiny_run *r) {
    static const char layer[] = "encoder.layer.0.attention.self.";
    param_list l = {.count = 0};
    char name[80];
    make_folder(r, "text");
    add_param(&l, "embeddings.word_embeddings.weight", TOKENS, WIDTH);
    add_param(&l, "embeddings.position_embeddings.weight", POSITIONS, WIDTH);
    add_param(&l, "embeddings.token_type_embeddings.weight", 2, WIDTH);
    add_layer(&l, "embeddings.LayerNorm", WIDTH, 0);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s%s", layer, (const char *[]){"query", "key", "value"}[i]);
        add_layer(&l, name, WIDTH, WIDTH);
    }
    add_layer(&l, "encoder.layer.0.attention.output.dense", WIDTH, WIDTH);
    add_layer(&l, "encoder.layer.0.attention.output.LayerNorm", WIDTH, 0);
    add_layer(&l, "encoder.layer.0.intermediate.dense", INNER, WIDTH);
    add_layer(&l, "encoder.layer.0.output.dense", WIDTH, INNER);
    add_layer(&l, "encoder.layer.0.output.LayerNorm", WIDTH, 0);
    lm_error e = {0};
    char *path = tiny_path(r, "text/model.safetensors");
    if (lm_safetensors_write(&e, path, l.items, l.count, NULL, NULL, 0) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    for (int i = 0; i < l.count; i++) {
        lm_free((char *)l.items[i].name);
        lm_free((float *)l.items[i].data);
    }
    write_text(r, "text/vocab.txt", vocabulary);
    write_text(r, "text/config.json",
               "{\"hidden_size\":16,\"num_hidden_layers\":1,\"num_attention_heads\":2,\"intermediate_size\":24,"
               "\"vocab_size\":15,\"max_position_embeddings\":32,\"type_vocab_size\":2,\"layer_norm_eps\":1e-12}");
}

static void make_network(const tiny_run *r) {
    lm_unet_config c = lm_unet_config_default();
    c.levels = 2;
    c.channels[0] = 8;
    c.channels[1] = 16;
    c.res_blocks = 1;
    c.attention[0] = false;
    c.attention[1] = true;
    c.head_dim = 8;
    c.groups = 4;
    c.text_width = WIDTH;
    c.embed_width = 16;
    c.temporal_down[0] = true;
    c.temporal_attention_blocks = 1;
    char *json = lm_unet_config_json(&c);
    assert_non_null(json);
    write_text(r, "net.json", json);
    lm_free(json);
}

void tiny_run_make(tiny_run *r) {
    strcpy(r->folder, "/tmp/lumiere-train-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    make_folder(r, "data");
    add_clip(r, "rocket", 1, 0, "a rocket");
    add_clip(r, "bee", 1, 1, "a bee\na bee, a rocket");
    add_clip(r, "walk", 3, 2, "a bee to a rocket");
    add_clip(r, "1f30c", 1, 3, "a rocket from a bee"); // left out for validation
    make_text_encoder(r);
    make_network(r);
    write_text(r, "run.yaml",
               "stage: image\nsize: 8\nframes: 4\nbatch: 2\nsteps: 12\nwarmup: 3\nlog_every: 1\nvalidate_every: 4\n"
               "validation_clips: 3\nsample_every: 6\nsample_steps: 2\nsample_prompts: [a rocket, 'a bee, on a bee']\n"
               "checkpoint_steps: 3\nseed: 4\n");
}

static void remove_tree(const char *folder) {
    DIR *d = opendir(folder);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char *path = lm_format("%s/%s", folder, entry->d_name);
        if (unlink(path)) remove_tree(path);
        lm_free(path);
    }
    if (d) closedir(d);
    rmdir(folder);
}

void tiny_run_remove(tiny_run *r) {
    remove_tree(r->folder);
}

lm_status tiny_run_config(lm_error *e, const tiny_run *r, const char *const *overrides, lm_run_config *out) {
    enum { OWN = 4, MOST = 16 };
    bool init = false;
    char *own[OWN] = {lm_format("data=%s/data", r->folder), lm_format("text=%s/text", r->folder),
                      lm_format("out=%s/out", r->folder), NULL};
    const char *all[MOST];
    int n = 0;
    for (int i = 0; overrides && overrides[i]; i++) init |= !strncmp(overrides[i], "init=", 5);
    own[3] = lm_format("config=%s/%s", r->folder, "net.json");
    for (int i = 0; i < (init ? OWN - 1 : OWN); i++) all[n++] = own[i];
    for (int i = 0; overrides && overrides[i]; i++) {
        assert_true(n < MOST);
        all[n++] = overrides[i];
    }
    char *path = tiny_path(r, "run.yaml");
    lm_status s = lm_run_config_read(e, path, all, n, out);
    lm_free(path);
    for (int i = 0; i < OWN; i++) lm_free(own[i]);
    return s;
}

lm_status tiny_run_train(lm_error *e, const tiny_run *r, const char *const *overrides, const lm_trainer_options *o) {
    lm_run_config c;
    lm_device *d = NULL;
    lm_status s = tiny_run_config(e, r, overrides, &c);
    if (s == LM_OK) s = lm_device_open(e, "cpu", 1, &d);
    if (s == LM_OK) s = lm_train(e, d, &c, o);
    if (d) lm_device_close(&d);
    lm_run_config_free(&c);
    return s;
}

static lm_safetensors *open_checkpoint(const tiny_run *r, const char *out) {
    lm_error e = {0};
    lm_safetensors *f = NULL;
    char *path = lm_format("%s/%s/checkpoint.safetensors", r->folder, out);
    if (lm_safetensors_open(&e, path, &f) != LM_OK) fail_msg("%s", e.text);
    lm_free(path);
    return f;
}

void tiny_run_expect_same(const tiny_run *r, const char *out_a, const char *out_b) {
    static const char *const keys[] = {"step", "skipped", "skipped_in_row", "loss_mean", "stage", "config"};
    lm_safetensors *a = open_checkpoint(r, out_a), *b = open_checkpoint(r, out_b);
    assert_int_equal(lm_safetensors_count(a), lm_safetensors_count(b));
    assert_true(lm_safetensors_count(a) > 100);
    for (int i = 0; i < lm_safetensors_count(a); i++) {
        const lm_stored *x = lm_safetensors_at(a, i), *y = lm_safetensors_find(b, x->name);
        assert_non_null(y);
        assert_int_equal(x->bytes, y->bytes);
        if (memcmp(x->data, y->data, x->bytes) != 0) fail_msg("%s and %s differ in %s", out_a, out_b, x->name);
    }
    for (int i = 0; i < 6; i++)
        assert_string_equal(lm_safetensors_metadata(a, keys[i]), lm_safetensors_metadata(b, keys[i]));
    lm_safetensors_free(&a);
    lm_safetensors_free(&b);
}
