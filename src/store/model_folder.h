// A model folder: model.json and, per part, a folder with config.json and model.safetensors (the text part has
// vocab.txt as well). model.json, where "format" is 1, "defaults" hold numbers and strings, and these,
// "styles" and "description" may be left out; no other keys are allowed:
//   {"format": 1, "name": "emoji", "version": "1", "licence": "Apache-2.0", "description": "...",
//    "parts": {"text": "text", "base": "base"}, "defaults": {"width": 64, "cfg_scale": 4, "sampler": "dpmpp_2m"},
//    "styles": [{"name": "flat", "file": "styles/flat.safetensors", "licence": "MIT", "description": "..."}]}
#pragma once
#include "base/status.h"
#include "store/safetensors.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct lm_model_folder lm_model_folder; // holds parsed model.json

// LM_MODEL: missing or wrong, saying what.
lm_status lm_model_folder_open(lm_error *e, const char *path, lm_model_folder **out);
// The text of model.json alone; name is its folder. The parts' files are not looked for.
lm_status lm_model_folder_parse(lm_error *e, const char *name, const uint8_t *json, size_t size, lm_model_folder **out);
void lm_model_folder_free(lm_model_folder **m);
const char *lm_model_folder_path(const lm_model_folder *m);
const char *lm_model_folder_name(const lm_model_folder *m);
const char *lm_model_folder_licence(const lm_model_folder *m);
const char *lm_model_folder_version(const lm_model_folder *m);
// "text", "base", later "ssr": the part's folder, NULL when the model has no such part.
const char *lm_model_folder_part(const lm_model_folder *m, const char *part);
// Drawing styles (store/style_file.h) that come with the model: number i, in the order of the list, or by name.
typedef struct lm_model_style {
    const char *name, *file, *licence, *description; // file: its path; description "" when there is none
} lm_model_style;
int lm_model_folder_styles(const lm_model_folder *m);
const lm_model_style *lm_model_folder_style(const lm_model_folder *m, int i);
const lm_model_style *lm_model_folder_find_style(const lm_model_folder *m, const char *name); // NULL: there is none
// A number or string under "defaults"; fallback when absent.
double lm_model_folder_default(const lm_model_folder *m, const char *key, double fallback);
const char *lm_model_folder_default_text(const lm_model_folder *m, const char *key, const char *fallback);
// 16 hex digits of a SHA-256 over every part's weights, configuration and vocabulary (for recipes); computed when
// asked.
lm_status lm_model_folder_hash(lm_error *e, const lm_model_folder *m, char out[17]);

// Where a tensor of a file stands in a flat block of floats: from block + offset on. To load, every tensor of the file
// must be asked for and every one asked for must be there with exactly that shape and finite values; LM_MODEL naming
// the first that isn't.
typedef struct lm_slot {
    const char *name;
    int rank;
    int64_t dim[5];
    int64_t offset;
} lm_slot;
lm_status lm_weights_load(lm_error *e, const char *path, const lm_slot *slots, int count, float *block);
// Only the slots found in the file are filled; *filled (count bools) says which. The file may hold no others but those
// that skip accepts (NULL: none).
typedef bool (*lm_skip_fn)(const char *name);
lm_status lm_weights_load_some(lm_error *e, const char *path, const lm_slot *slots, int count, float *block,
                               unsigned char *filled, lm_skip_fn skip);
// type: F32, F16, BF16 or I8 (which leaves tensors of less than two dimensions in F32). LM_MEDIA: can't be written.
lm_status lm_weights_save(lm_error *e, const char *path, const lm_slot *slots, int count, const float *block,
                          lm_store_type type, const char *const *keys, const char *const *values, int metadata);
