#include "base_clip.h"

#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *base_clip_name(const char *output) {
    size_t n = strlen(output);
    while (n > 1 && output[n - 1] == '/') n--;
    char *name = malloc(n + sizeof ".base.npy");
    if (name) sprintf(name, "%.*s.base.npy", (int)n, output);
    return name;
}

// The whole run's recipe without its enlargement, and that recipe itself.
static char *make_recipe(const char *whole, const char *hash) {
    json_t *run = json_loads(whole, 0, NULL), *base = json_copy(run);
    json_object_del(base, "enlarged");
    json_object_del(base, "upscale");
    if (!json_object_get(base, "task")) json_object_set_new(base, "no_upscale", json_true());
    int failed = json_object_set_new(base, "hash", json_string(hash));
    failed |= json_object_set_new(base, "becomes", run);
    char *text = failed ? NULL : json_dumps(base, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(base);
    return text;
}

// The file holds no rate, its recipe does: so the hash is one of a clip without.
void base_clip_write(base_clip *b, lumiere_context *c, const lumiere_clip *clip) {
    char hash[17], *recipe = NULL;
    lumiere_clip *still = NULL;
    lumiere_status status = lumiere_clip_create(c, lumiere_clip_frames(clip), lumiere_clip_width(clip),
                                                lumiere_clip_height(clip), 0, lumiere_clip_data(clip), &still);
    if (status == LUMIERE_OK) {
        lumiere_clip_hash(still, hash);
        recipe = make_recipe(b->recipe, hash);
        status = recipe ? lumiere_clip_write(c, still, b->file, recipe) : LUMIERE_MEMORY;
    }
    b->kept = status == LUMIERE_OK;
    const char *why = status == LUMIERE_MEMORY ? "no memory" : lumiere_error_message(c);
    if (!b->kept) complain(0, "the clip before its enlargement isn't kept: %s", why);
    lumiere_clip_free(&still);
    free(recipe);
}

void base_clip_remove(base_clip *b) {
    char *beside = b->kept ? malloc(strlen(b->file) + sizeof ".json") : NULL;
    if (b->kept) unlink(b->file);
    if (beside) {
        sprintf(beside, "%s.json", b->file);
        unlink(beside);
    }
    free(beside);
    b->kept = false;
}

json_t *base_clip_run(const json_t *made) {
    json_t *run = json_object_get(made, "becomes");
    return json_is_object(run) ? run : NULL;
}

static bool same(const json_t *a, const json_t *b, const char *const *keys) {
    for (; *keys; keys++) {
        json_t *x = json_object_get(a, *keys), *y = json_object_get(b, *keys);
        if (!x || !y || !json_equal(x, y)) return false;
    }
    return true;
}

json_t *base_clip_becomes(const json_t *made, const char *recipe, const lumiere_clip *input) {
    static const char *const of_run[] = {"program", "version", "model_hash", "prompt", "seed",
                                         "clip",    "fps",     "precision",  NULL};
    static const char *const of_enlargement[] = {"steps", "noise_level",  "window", "overlap",
                                                 "tile",  "tile_overlap", NULL};
    json_t *run = base_clip_run(made), *mine = json_loads(recipe, 0, NULL);
    const char *hash = json_string_value(json_object_get(made, "hash"));
    char now[17];
    lumiere_clip_hash(input, now);
    bool as_in_run = run && hash && !strcmp(hash, now) && same(run, mine, of_run) &&
                     same(json_object_get(run, "enlarged"), mine, of_enlargement);
    json_decref(mine);
    return as_in_run ? run : NULL;
}
