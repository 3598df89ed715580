// Where a run's weights come from: another model's, or birth.
#include "train/trainer_internal.h"

#include "base/memory.h"

#include <string.h>
#include <unistd.h>

// What init's file lacks is born: in the video stage the inflation's, in the image stage the moment's; nothing else may
// be missing. In the stages image and style what the file has besides must be the inflation's: it is left out. In the
// ssr stage all must be there and nothing else.
lm_status lm_trainer_load_init(lm_error *e, lm_trainer *t, float *block) {
    char *path = lm_format("%s/model.safetensors", t->cfg->init);
    lm_skip_fn skip = lm_trainer_is_video(t) || lm_trainer_is_ssr(t) ? NULL : lm_unet_is_inflation;
    unsigned char *filled = lm_alloc_zero((size_t)t->params, 1);
    lm_status s = path && filled ? lm_weights_load_some(e, path, t->slots, t->params, block, filled, skip)
                                 : lm_fail_memory(e, 1e3, "the weights");
    for (int i = 0; i < t->params && s == LM_OK; i++) {
        if (filled[i]) continue;
        const char *name = t->slots[i].name;
        if (lm_trainer_is_video(t) ? lm_unet_is_inflation(name) : lm_trainer_is_image(t) && lm_unet_is_moment(name))
            lm_param_born(t->graph, i, (uint64_t)t->cfg->seed, block);
        else
            s = lm_fail(e, LM_MODEL, "%s has no tensor %s", path, name);
    }
    lm_free(filled);
    lm_free(path);
    return s;
}

static bool is_image_layer(const char *name) {
    return !lm_unet_is_inflation(name);
}

// The inflation of another run over what init gave.
static lm_status load_inflation(lm_error *e, const lm_trainer *t, float *block) {
    char *path = lm_format("%s/model.safetensors", t->cfg->inflation);
    lm_slot *slots = lm_alloc((size_t)t->params, sizeof *slots);
    unsigned char *filled = lm_alloc_zero((size_t)t->params, 1);
    int count = 0;
    for (int i = 0; i < t->params && slots; i++)
        if (lm_unet_is_inflation(t->slots[i].name)) slots[count++] = t->slots[i];
    lm_status s = path && slots && filled ? lm_weights_load_some(e, path, slots, count, block, filled, is_image_layer)
                                          : lm_fail_memory(e, (double)t->params * sizeof *slots, "the weights");
    for (int i = 0; i < count && s == LM_OK; i++)
        if (!filled[i])
            s = lm_fail(e, LM_MODEL, "%s has no tensor %s; name the folder of a video stage", path, slots[i].name);
    lm_free(filled);
    lm_free(slots);
    lm_free(path);
    return s;
}

lm_status lm_trainer_start(lm_error *e, lm_trainer *t) {
    char *old = lm_trainer_path(t, "checkpoint.safetensors");
    bool taken = old && !access(old, F_OK);
    lm_free(old);
    if (taken)
        return lm_fail(e, LM_USAGE,
                       "%s holds a checkpoint already; go on from it with --resume, or name another folder",
                       t->cfg->out);
    float *block = lm_alloc_zero((size_t)t->elements, sizeof(float));
    if (!block) return lm_fail_memory(e, (double)t->elements * 4, "the weights");
    lm_status s = LM_OK;
    if (*t->cfg->init)
        s = lm_trainer_load_init(e, t, block);
    else
        for (int i = 0; i < t->params; i++) lm_param_born(t->graph, i, (uint64_t)t->cfg->seed, block);
    if (s == LM_OK && *t->cfg->inflation) s = load_inflation(e, t, block);
    const lm_backend *k = t->d->backend;
    size_t bytes = (size_t)t->elements * sizeof(float), grad_bytes = (size_t)t->grad_elements * sizeof(float);
    size_t second_bytes = (size_t)t->second_elements * sizeof(float);
    if (s == LM_OK) s = k->upload(e, t->d, t->weights, block, bytes);
    if (s == LM_OK) s = k->upload(e, t->d, t->average, block, bytes);
    if (s == LM_OK) memset(block, 0, bytes); // the moments are no larger than the weights
    if (s == LM_OK) s = k->upload(e, t->d, t->moment1, block, grad_bytes);
    if (s == LM_OK) s = k->upload(e, t->d, t->moment2, block, second_bytes);
    lm_free(block);
    return s;
}
