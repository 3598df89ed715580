#include "train/dataset.h"

#include "base/memory.h"
#include "net/families/unet.h"
#include "train/captions.h"
#include "train/conditions.h"
#include "train/low_resolution.h"
#include "train/shards.h"

#include <stdlib.h>
#include <string.h>

// Indices of a split's sprites: all, those of more than one frame, and one a subject.
typedef struct part {
    int *all, *animated, *subjects; // subjects: the first sprite of each
    int count, animated_count, subject_count;
} part;

struct lm_dataset {
    lm_sprites sprites;
    part parts[2]; // by lm_split
    int size;
};

typedef struct candidate {
    const char *subject;
    bool animated;
    int index;
} candidate;

// Stills before clips, each in the data's order.
static int by_place(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return x->animated != y->animated ? x->animated - y->animated : (x->index > y->index) - (x->index < y->index);
}

static int by_subject(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    int order = strcmp(x->subject, y->subject);
    return order ? order : by_place(a, b);
}

// The first still of each subject; of those that have none the first clip, after all stills.
static lm_status find_subjects(lm_error *e, const lm_dataset *d, part *p) {
    candidate *c = lm_alloc((size_t)p->count, sizeof *c);
    if (!c) return lm_fail_memory(e, (double)p->count * sizeof *c, "the subjects of the training data");
    for (int i = 0; i < p->count; i++) {
        const lm_sprite *s = &d->sprites.items[p->all[i]];
        c[i] = (candidate){s->subject, s->frames > 1, p->all[i]};
    }
    qsort(c, (size_t)p->count, sizeof *c, by_subject);
    int count = 0;
    for (int i = 0; i < p->count; i++)
        if (count == 0 || strcmp(c[count - 1].subject, c[i].subject)) c[count++] = c[i];
    qsort(c, (size_t)count, sizeof *c, by_place);
    for (int i = 0; i < count; i++) p->subjects[i] = c[i].index;
    p->subject_count = count;
    lm_free(c);
    return LM_OK;
}

static lm_status split_sprites(lm_error *e, lm_dataset *d, int split_from) {
    for (int split = 0; split < 2; split++) {
        part *p = &d->parts[split];
        p->all = lm_alloc((size_t)d->sprites.count, sizeof *p->all);
        p->animated = lm_alloc((size_t)d->sprites.count, sizeof *p->animated);
        p->subjects = lm_alloc((size_t)d->sprites.count, sizeof *p->subjects);
        if (!p->all || !p->animated || !p->subjects)
            return lm_fail_memory(e, 3.0 * d->sprites.count * sizeof *p->all, "the splits of the training data");
    }
    for (int i = 0; i < d->sprites.count; i++) {
        const lm_sprite *s = &d->sprites.items[i];
        bool left_out = d->sprites.count >= split_from && lm_subject_is_validation(s->subject);
        part *p = &d->parts[left_out ? LM_SPLIT_VALIDATION : LM_SPLIT_TRAIN];
        p->all[p->count++] = i;
        if (s->frames > 1) p->animated[p->animated_count++] = i;
    }
    for (int split = 0; split < 2; split++) LM_TRY(find_subjects(e, d, &d->parts[split]));
    return LM_OK;
}

static lm_status check_sizes(lm_error *e, const lm_dataset *d) {
    if (d->sprites.count == 0)
        return lm_fail(e, LM_MEDIA, "the training data holds no clip and no still of the style asked for");
    int side = d->sprites.items[0].size;
    for (int i = 0; i < d->sprites.count; i++)
        if (d->sprites.items[i].size != side)
            return lm_fail(e, LM_MEDIA, "training data of %d and of %d pixels a side together; use one size", side,
                           d->sprites.items[i].size);
    if (side % d->size || d->size < 8)
        return lm_fail(e, LM_USAGE, "size %d does not fit sprites of %d pixels a side; use %d or %d", d->size, side,
                       side, side / 2);
    return LM_OK;
}

static void drop_clips(lm_sprites *s) {
    int kept = 0;
    for (int i = 0; i < s->count; i++)
        if (s->items[i].frames > 1)
            lm_sprite_clear(&s->items[i]);
        else
            s->items[kept++] = s->items[i];
    s->count = kept;
}

static lm_status read_sources(lm_error *e, const lm_dataset_options *o, lm_dataset *d) {
    lm_pool *pool;
    LM_TRY(lm_pool_create(e, o->threads, &pool));
    lm_status status = LM_OK;
    for (int i = 0; i < o->path_count && status == LM_OK; i++)
        status = lm_source_read(e, o->paths[i], o->style, pool, &d->sprites);
    lm_pool_free(&pool);
    if (o->stills) drop_clips(&d->sprites);
    return status;
}

lm_status lm_dataset_open(lm_error *e, const lm_dataset_options *o, lm_dataset **out) {
    *out = NULL;
    if (o->path_count < 1) return lm_fail(e, LM_USAGE, "no training data named; give a tar or a folder");
    if (!o->style) return lm_fail(e, LM_USAGE, "no drawing style named; the stills' usual one is 3d");
    if (o->size < 1) return lm_fail(e, LM_USAGE, "size %d of the training clips; use 32 or 64", o->size);
    lm_dataset *d = lm_alloc_zero(1, sizeof *d);
    if (!d) return lm_fail_memory(e, sizeof *d, "the training data");
    d->size = o->size;
    lm_status status = read_sources(e, o, d);
    if (status == LM_OK) status = check_sizes(e, d);
    if (status == LM_OK) status = split_sprites(e, d, o->split_from);
    if (status != LM_OK)
        lm_dataset_free(&d);
    else
        *out = d;
    return status;
}

void lm_dataset_free(lm_dataset **d) {
    if (!*d) return;
    lm_sprites_clear(&(*d)->sprites);
    for (int split = 0; split < 2; split++) {
        lm_free((*d)->parts[split].all);
        lm_free((*d)->parts[split].animated);
        lm_free((*d)->parts[split].subjects);
    }
    lm_free(*d);
    *d = NULL;
}

int lm_dataset_count(const lm_dataset *d, lm_split split) {
    return d->parts[split].count;
}

int lm_dataset_animated(const lm_dataset *d, lm_split split) {
    return d->parts[split].animated_count;
}

typedef struct drawing {
    lm_scene scene;
    bool says_motion, says_moment;
} drawing;

// The order of the draws is part of what a seed means.
static drawing draw_scene(const lm_dataset *d, const lm_batch_options *o, lm_stream *random, lm_stream *moments) {
    const part *p = &d->parts[o->split];
    bool animated = o->frames > 1 && lm_stream_uniform(random) < 0.7 && p->animated_count > 0;
    int index =
        animated ? p->animated[lm_stream_below(random, p->animated_count)] : p->all[lm_stream_below(random, p->count)];
    lm_scene s = {.sprite = &d->sprites.items[index]};
    bool moved = lm_stream_uniform(random) < o->motion_share, lone = s.sprite->frames == 1 && o->frames > 1;
    if (lone) moved = o->plain_share == 0 || lm_stream_uniform(random) >= o->plain_share;
    if (moved) s.motion = 1 + (int)lm_stream_below(random, LM_MOTIONS - 1);
    if (lm_stream_uniform(random) < o->color_share) s.color = 1 + (int)lm_stream_below(random, LM_COLORS - 1);
    s.first = (int)lm_stream_below(random, LM_MOMENTS - o->frames + 1);
    if (!moved) s.offset = (int)lm_stream_below(random, s.sprite->frames);
    bool told_still =
        o->frames == 1 && moved && o->motion_caption_share > 0 && lm_stream_uniform(random) < o->motion_caption_share;
    bool says_moment = o->frames > 1 || (o->moment_share > 0 && lm_stream_uniform(moments) < o->moment_share);
    if (told_still && !says_moment) {
        double late = lm_stream_uniform(random);
        s.first = (int)(LM_MOMENTS * late * late);
    }
    return (drawing){s, o->frames > 1 || told_still, says_moment};
}

static char *draw_caption(const lm_batch_options *o, const drawing *d, lm_stream *random, lm_stream *dropout) {
    if (lm_stream_uniform(dropout) < o->caption_dropout) return lm_strdup("");
    return lm_caption_compose(d->scene.sprite, d->says_motion ? d->scene.motion : 0, d->scene.color, &o->words, random);
}

static void fill_moments(bool said, int first, int frames, float *out) {
    for (int f = 0; f < frames; f++) out[f] = said ? (float)(first + f) / (LM_MOMENTS - 1) : LM_MOMENT_UNKNOWN;
}

static lm_status fill_batch(lm_error *e, const lm_dataset *d, const lm_batch_options *o, uint32_t step, float *scratch,
                            lm_batch *b) {
    size_t pixels = (size_t)b->frames * (size_t)b->size * (size_t)b->size;
    for (int i = 0; i < b->clips; i++) {
        uint32_t item = (uint32_t)(o->first + i);
        lm_stream random = {.seed = o->seed, .purpose = LM_FOR_DATA, .item = item, .step = step};
        lm_stream dropout = {.seed = o->seed, .purpose = LM_FOR_DROPOUT, .item = item, .step = step};
        lm_stream masks = {.seed = o->seed, .purpose = LM_FOR_CONDITION, .item = item, .step = step};
        lm_stream moments = {.seed = o->seed, .purpose = LM_FOR_MOMENT, .item = item, .step = step};
        drawing drawn = draw_scene(d, o, &random, &moments);
        fill_moments(drawn.says_moment, drawn.scene.first, b->frames, b->moment + (size_t)i * (size_t)b->frames);
        b->captions[i] = draw_caption(o, &drawn, &random, &dropout);
        if (!b->captions[i]) return lm_fail_memory(e, LM_MAX_CAPTION, "a caption");
        float *x0 = b->x0 + (size_t)i * pixels * 3, *cond = b->cond;
        if (cond) cond += (size_t)i * pixels * (size_t)b->cond_channels;
        if (o->crop) {
            lm_stream places = {.seed = o->seed, .purpose = LM_FOR_LOW, .item = item, .step = step};
            lm_crop c = lm_crop_draw(&places, d->size, o->crop);
            b->level[i] = c.level;
            lm_crop_render(&drawn.scene, &c, b->frames, (lm_noise_key){o->seed, item, step}, o->residual_scale, scratch,
                           x0, cond);
            continue;
        }
        lm_scene_render(&drawn.scene, b->frames, b->size, scratch, x0);
        if (!o->condition) continue;
        lm_condition c = {.kind = LM_GIVEN_NOTHING};
        if (o->condition_share == 1 || lm_stream_uniform(&masks) < o->condition_share)
            c = lm_condition_draw(&masks, b->size);
        lm_condition_apply(&c, x0, b->frames, b->size, cond);
    }
    return LM_OK;
}

static bool is_share(double v) {
    return v >= 0 && v <= 1;
}

static lm_status check_options(lm_error *e, const lm_dataset *d, const lm_batch_options *o) {
    if (o->clips < 1 || o->clips > 65536)
        return lm_fail(e, LM_USAGE, "a batch of %d clips; it must have 1 to 65536", o->clips);
    if (o->frames < 1 || o->frames > LM_MOMENTS)
        return lm_fail(e, LM_USAGE, "training clips of %d frames; they must have 1 to %d", o->frames, LM_MOMENTS);
    if (!is_share(o->motion_share) || !is_share(o->motion_caption_share) || !is_share(o->color_share) ||
        !is_share(o->moment_share) || !is_share(o->words.wording) || !is_share(o->words.caption) ||
        !is_share(o->plain_share) || !is_share(o->caption_dropout) || !is_share(o->condition_share))
        return lm_fail(e, LM_USAGE,
                       "motion_share %g, motion_caption_share %g, moment_share %g, wording_share %g, caption_share %g, "
                       "plain_share %g, color_share %g, caption_dropout %g and condition_share %g must be from 0 to 1",
                       o->motion_share, o->motion_caption_share, o->moment_share, o->words.wording, o->words.caption,
                       o->plain_share, o->color_share, o->caption_dropout, o->condition_share);
    if (o->crop) {
        int side = d->sprites.items[0].size;
        if (o->crop < LM_CROP_STEP || o->crop % LM_CROP_STEP || o->crop > d->size)
            return lm_fail(e, LM_USAGE, "crop %d of clips of %d pixels a side; it must be a multiple of %d up to that",
                           o->crop, d->size, LM_CROP_STEP);
        if (d->size != side || side % LM_CROP_STEP || o->condition)
            return lm_fail(e, LM_USAGE, "squares are cut out of clips of the sprites' own size; use size %d", side);
    }
    if (d->parts[o->split].count == 0)
        return lm_fail(e, LM_MEDIA, "the training data has no sprite for %s; add more subjects",
                       o->split == LM_SPLIT_TRAIN ? "training" : "validation");
    return LM_OK;
}

static lm_status alloc_batch(lm_error *e, const lm_dataset *d, const lm_batch_options *o, lm_batch *b) {
    *b = (lm_batch){.clips = o->clips, .frames = o->frames, .size = o->crop ? o->crop : d->size};
    b->cond_channels = o->crop ? 3 : o->condition ? 4 : 0;
    size_t pixels = (size_t)b->clips * (size_t)b->frames * (size_t)b->size * (size_t)b->size; // below 2^43
    b->x0 = lm_alloc(pixels * 3, sizeof(float));
    if (b->cond_channels) b->cond = lm_alloc(pixels * (size_t)b->cond_channels, sizeof(float));
    if (o->crop) b->level = lm_alloc((size_t)b->clips, sizeof *b->level);
    b->captions = lm_alloc_zero((size_t)b->clips, sizeof *b->captions);
    b->moment = lm_alloc((size_t)b->clips * (size_t)b->frames, sizeof *b->moment);
    if (b->x0 && b->captions && b->moment && (b->cond || !b->cond_channels) && (b->level || !o->crop)) return LM_OK;
    return lm_fail_memory(e, (double)pixels * (3 + b->cond_channels) * sizeof(float), "a training batch");
}

lm_status lm_dataset_batch(lm_error *e, const lm_dataset *d, const lm_batch_options *o, uint32_t step, lm_batch *out) {
    *out = (lm_batch){0};
    LM_TRY(check_options(e, d, o));
    lm_status status = alloc_batch(e, d, o, out);
    if (status == LM_OK) {
        int side = d->sprites.items[0].size;
        size_t floats = o->crop ? lm_crop_scratch(side, o->crop) : lm_scene_scratch(side);
        float *scratch = lm_alloc(floats, sizeof *scratch);
        status = scratch ? fill_batch(e, d, o, step, scratch, out)
                         : lm_fail_memory(e, (double)floats * sizeof *scratch, "drawing a training batch");
        lm_free(scratch);
    }
    if (status != LM_OK) lm_batch_free(out);
    return status;
}

int lm_dataset_subjects(const lm_dataset *d, lm_split split) {
    return d->parts[split].subject_count;
}

static const lm_sprite *fixed_sprite(const lm_dataset *d, const lm_fixed_options *o, int clip) {
    const part *p = &d->parts[o->split];
    return &d->sprites.items[p->subjects[(int64_t)clip * p->subject_count / o->subjects]];
}

static char *fixed_caption(const lm_dataset *d, const lm_fixed_options *o, int clip, int motion) {
    const lm_sprite *s = fixed_sprite(d, o, clip);
    if (o->wording == LM_WORDING_SHUFFLED) s = fixed_sprite(d, o, (clip + o->subjects / 2) % o->subjects);
    const char *words = s->captions[o->wording == LM_WORDING_REWORDED && s->caption_count > 1];
    return lm_format("%s%s%s", words, motion ? ", " : "", lm_motion_names[motion]);
}

lm_status lm_dataset_fixed(lm_error *e, const lm_dataset *d, const lm_fixed_options *o, lm_batch *out) {
    lm_batch_options shape = {.clips = o->clips, .frames = o->frames, .condition = o->condition};
    lm_status status = alloc_batch(e, d, &shape, out);
    float *scratch = lm_alloc(lm_scene_scratch(d->sprites.items[0].size), sizeof *scratch);
    if (status == LM_OK && !scratch) status = lm_fail_memory(e, 1e5, "drawing fixed clips");
    int64_t pixels = (int64_t)out->frames * out->size * out->size;
    if (status == LM_OK && o->condition)
        memset(out->cond, 0, (size_t)(pixels * out->clips * out->cond_channels) * sizeof(float));
    for (int i = 0; i < o->clips && status == LM_OK; i++) {
        int clip = o->first + i < o->subjects ? o->first + i : o->subjects - 1;
        lm_scene s = {.sprite = fixed_sprite(d, o, clip), .motion = o->moved ? 1 + clip % (LM_MOTIONS - 1) : 0};
        lm_scene_render(&s, o->frames, out->size, scratch, out->x0 + i * pixels * 3);
        fill_moments(o->frames > 1, 0, o->frames, out->moment + (size_t)i * (size_t)o->frames);
        out->captions[i] = fixed_caption(d, o, clip, s.motion);
        if (!out->captions[i]) status = lm_fail_memory(e, LM_MAX_CAPTION, "a caption");
    }
    lm_free(scratch);
    if (status != LM_OK) lm_batch_free(out);
    return status;
}

void lm_batch_free(lm_batch *b) {
    for (int i = 0; b->captions && i < b->clips; i++) lm_free(b->captions[i]);
    lm_free(b->captions);
    lm_free(b->x0);
    lm_free(b->cond);
    lm_free(b->level);
    lm_free(b->moment);
    *b = (lm_batch){0};
}
