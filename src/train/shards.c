#include "train/shards.h"

#include "base/memory.h"
#include "media/media.h"
#include "store/json_text.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 200, MAX_ENTRY = 64 << 20, MAX_FRAMES = 1024 };

typedef struct blob {
    uint8_t *bytes;
    size_t size;
} blob;

// The files of one key, as they stand in the tar.
typedef struct record {
    char key[MAX_NAME + 1];
    blob json, webm, webp;
} record;

typedef struct records {
    record *items;
    int count, capacity;
} records;

static void records_clear(records *r) {
    for (int i = 0; i < r->count; i++) {
        lm_free(r->items[i].json.bytes);
        lm_free(r->items[i].webm.bytes);
        lm_free(r->items[i].webp.bytes);
    }
    lm_free(r->items);
    *r = (records){0};
}

static lm_status add_record(lm_error *e, records *all, const char *key, size_t key_length) {
    if (all->count == LM_MAX_SPRITES)
        return lm_fail(e, LM_MEDIA, "more than %d records in one shard; split it", LM_MAX_SPRITES);
    if (all->count == all->capacity) {
        int capacity = all->capacity ? 2 * all->capacity : 64;
        record *items = lm_realloc(all->items, (size_t)capacity, sizeof *items);
        if (!items) return lm_fail_memory(e, (double)capacity * sizeof *items, "a shard's records");
        all->items = items;
        all->capacity = capacity;
    }
    record *r = &all->items[all->count++];
    *r = (record){0};
    memcpy(r->key, key, key_length);
    return LM_OK;
}

// The place of a file in the records: a key's files stand side by side, so it is in the last one or begins another.
// *out is NULL for files that training doesn't read.
static lm_status find_place(lm_error *e, const char *shard, const char *name, records *all, blob **out) {
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name, *dot = strchr(base, '.');
    if (!dot || dot == base || strlen(name) > MAX_NAME)
        return lm_fail(e, LM_MEDIA, "%s: file name '%.60s' in the tar; KEY.webm, KEY.webp and KEY.json are expected",
                       shard, name);
    size_t length = (size_t)(dot - name);
    record *last = all->count ? &all->items[all->count - 1] : NULL;
    if (!last || strlen(last->key) != length || memcmp(last->key, name, length)) {
        LM_TRY(add_record(e, all, name, length));
        last = &all->items[all->count - 1];
    }
    *out = !strcmp(dot, ".json")   ? &last->json
           : !strcmp(dot, ".webm") ? &last->webm
           : !strcmp(dot, ".webp") ? &last->webp
                                   : NULL;
    if (*out && (*out)->bytes) return lm_fail(e, LM_MEDIA, "%s: %s is in the tar twice", shard, name);
    return LM_OK;
}

static lm_status read_entry(lm_error *e, const char *shard, size_t tar_size, struct archive *tar,
                            struct archive_entry *entry, records *all) {
    const char *name = archive_entry_pathname(entry);
    if (archive_entry_filetype(entry) == AE_IFDIR) return LM_OK;
    if (!name || !*name) return lm_fail(e, LM_MEDIA, "%s: a file without a name in the tar", shard);
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry))
        return lm_fail(e, LM_MEDIA, "%s: %.100s is a link or a device; only plain files are read", shard, name);
    int64_t size = archive_entry_size(entry);
    if (size < 0 || size > MAX_ENTRY || (uint64_t)size > tar_size)
        return lm_fail(e, LM_MEDIA, "%s: %.100s claims %lld bytes; at most %d are read, and no more than the tar has",
                       shard, name, (long long)size, MAX_ENTRY);
    blob *place = NULL;
    LM_TRY(find_place(e, shard, name, all, &place));
    if (!place) return LM_OK;
    if (size == 0) return lm_fail(e, LM_MEDIA, "%s: %.100s is empty", shard, name);
    place->bytes = lm_alloc((size_t)size, 1);
    if (!place->bytes) return lm_fail_memory(e, (double)size, "a shard's file");
    place->size = (size_t)size;
    la_ssize_t got = archive_read_data(tar, place->bytes, place->size);
    if (got < 0) return lm_fail(e, LM_MEDIA, "%s: %.100s can't be read: %s", shard, name, archive_error_string(tar));
    if (got != size) return lm_fail(e, LM_MEDIA, "%s: %.100s is cut off in the tar", shard, name);
    return LM_OK;
}

static lm_status read_entries(lm_error *e, const char *shard, const uint8_t *bytes, size_t size, struct archive *tar,
                              records *all) {
    if (archive_read_support_format_tar(tar) != ARCHIVE_OK || archive_read_open_memory(tar, bytes, size) != ARCHIVE_OK)
        return lm_fail(e, LM_MEDIA, "%s: not a tar: %s", shard, archive_error_string(tar));
    for (;;) {
        struct archive_entry *entry;
        int r = archive_read_next_header(tar, &entry);
        if (r == ARCHIVE_EOF) break;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
            return lm_fail(e, LM_MEDIA, "%s: not a whole tar: %s", shard, archive_error_string(tar));
        LM_TRY(read_entry(e, shard, size, tar, entry, all));
    }
    if (all->count == 0) return lm_fail(e, LM_MEDIA, "%s: no records in the tar", shard);
    return LM_OK;
}

static lm_status read_records(lm_error *e, const char *shard, const uint8_t *bytes, size_t size, records *all) {
    struct archive *tar = archive_read_new();
    if (!tar) return lm_fail_memory(e, 0, "reading a tar");
    lm_status status = read_entries(e, shard, bytes, size, tar, all);
    archive_read_free(tar);
    return status;
}

// What a record's JSON says, checked; strings belong to the json.
typedef struct facts {
    const char *subject, *caption, *motion;
    json_t *paraphrases;
    int frames, size, styles, style; // style: which of the styles is the one wanted, -1 for none
} facts;

static lm_status get_text(lm_error *e, const char *where, const json_t *json, const char *field, bool required,
                          const char **out) {
    const json_t *v = json_object_get(json, field);
    if (!required && (!v || json_is_null(v))) return LM_OK;
    if (!json_is_string(v) || json_string_length(v) == 0 || json_string_length(v) > LM_MAX_CAPTION)
        return lm_fail(e, LM_MEDIA, "%s: \"%s\" must be a string of 1 to %d bytes", where, field, LM_MAX_CAPTION);
    *out = json_string_value(v);
    return LM_OK;
}

static lm_status get_number(lm_error *e, const char *where, const json_t *json, const char *field, int least, int most,
                            int *out) {
    const json_t *v = json_object_get(json, field);
    if (!json_is_integer(v) || json_integer_value(v) < least || json_integer_value(v) > most)
        return lm_fail(e, LM_MEDIA, "%s: \"%s\" must be a whole number from %d to %d", where, field, least, most);
    *out = (int)json_integer_value(v);
    return LM_OK;
}

static lm_status get_texts(lm_error *e, const char *where, const json_t *json, const char *field, json_t **out) {
    json_t *list = json_object_get(json, field);
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n >= LM_MAX_CAPTIONS)
        return lm_fail(e, LM_MEDIA, "%s: \"%s\" must be a list of at most %d strings", where, field,
                       LM_MAX_CAPTIONS - 1);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_string(v) || json_string_length(v) == 0 || json_string_length(v) > LM_MAX_CAPTION)
            return lm_fail(e, LM_MEDIA, "%s: \"%s\"[%zu] must be a string of 1 to %d bytes", where, field, i,
                           LM_MAX_CAPTION);
    }
    *out = list;
    return LM_OK;
}

static lm_status get_facts(lm_error *e, const char *where, const json_t *json, bool still, const char *style,
                           facts *f) {
    if (!json_is_object(json)) return lm_fail(e, LM_MEDIA, "%s: the JSON must be an object", where);
    LM_TRY(get_text(e, where, json, "subject", true, &f->subject));
    LM_TRY(get_text(e, where, json, "caption", true, &f->caption));
    LM_TRY(get_text(e, where, json, "motion", false, &f->motion));
    LM_TRY(get_texts(e, where, json, "paraphrases", &f->paraphrases));
    LM_TRY(get_number(e, where, json, "frames", 1, still ? 1 : MAX_FRAMES, &f->frames));
    LM_TRY(get_number(e, where, json, "size", 8, LM_MAX_SPRITE_SIDE, &f->size));
    if (f->size % 4) return lm_fail(e, LM_MEDIA, "%s: \"size\" is %d; it must be a multiple of 4", where, f->size);
    if (!still) return LM_OK;
    json_t *styles;
    LM_TRY(get_texts(e, where, json, "styles", &styles));
    f->styles = (int)json_array_size(styles);
    f->style = -1;
    for (int i = f->styles - 1; i >= 0; i--)
        if (!strcmp(json_string_value(json_array_get(styles, (size_t)i)), style)) f->style = i;
    return LM_OK;
}

static lm_status copy_facts(lm_error *e, const facts *f, lm_sprite *s) {
    int n = 1 + (int)json_array_size(f->paraphrases);
    s->captions = lm_alloc_zero((size_t)n, sizeof *s->captions);
    s->subject = lm_strdup(f->subject);
    s->motion = f->motion ? lm_strdup(f->motion) : NULL;
    bool ok = s->captions && s->subject && (s->motion || !f->motion);
    if (s->captions) s->caption_count = n;
    for (int i = 0; i < n && ok; i++)
        ok = (s->captions[i] =
                  lm_strdup(i ? json_string_value(json_array_get(f->paraphrases, (size_t)i - 1)) : f->caption)) != NULL;
    return ok ? LM_OK : lm_fail_memory(e, LM_MAX_CAPTION, "a sprite's captions");
}

// clip [frames,2*size,size]: RGB premultiplied, over alpha as grey -> s [frames,size,size,4]
static void join_alpha(const lm_clip *clip, lm_sprite *s) {
    int64_t half = (int64_t)s->size * s->size;
    for (int64_t i = 0; i < s->frames * half; i++) {
        const uint8_t *rgb = clip->data + (i / half * 2 * half + i % half) * clip->channels;
        memcpy(s->data + i * 4, rgb, 3);
        s->data[i * 4 + 3] = rgb[half * clip->channels];
    }
}

// clip [1,size,styles*size]: one style beside the other -> s [1,size,size,4]
static void cut_style(const lm_clip *clip, int style, lm_sprite *s) {
    for (int i = 0; i < s->size * s->size; i++) {
        int64_t at = (int64_t)(i / s->size) * clip->width + style * s->size + i % s->size;
        const uint8_t *from = clip->data + at * clip->channels;
        uint8_t rgba[4] = {from[0], from[1], from[2], clip->channels == 4 ? from[3] : 255};
        lm_pixel_premultiply(rgba, s->data + i * 4);
    }
}

// Decodes the picture or clip if it is width x height and has as many frames as the JSON says. The first frame is
// looked at before the others are decoded, so that a small file can't ask for much memory.
static lm_status read_frames(lm_error *e, const char *where, const blob *coded, int frames, int width, int height,
                             lm_clip *clip) {
    LM_TRY(lm_media_read_memory(e, where, coded->bytes, coded->size, 1, clip));
    if (clip->width != width || clip->height != height)
        return lm_fail(e, LM_MEDIA, "%s: frames of %d x %d pixels; its JSON says %d x %d", where, clip->width,
                       clip->height, width, height);
    lm_clip_free(clip);
    LM_TRY(lm_media_read_memory(e, where, coded->bytes, coded->size, frames + 1, clip));
    if (clip->frames > frames) return lm_fail(e, LM_MEDIA, "%s: more frames than the %d its JSON says", where, frames);
    if (clip->frames < frames)
        return lm_fail(e, LM_MEDIA, "%s: %d frames; its JSON says %d", where, clip->frames, frames);
    return LM_OK;
}

static lm_status decode_picture(lm_error *e, const char *where, const record *r, const facts *f, lm_sprite *s) {
    bool still = r->webp.bytes != NULL;
    int width = still ? f->styles * f->size : f->size, height = still ? f->size : 2 * f->size;
    lm_clip clip = {0};
    lm_status status = read_frames(e, where, still ? &r->webp : &r->webm, f->frames, width, height, &clip);
    if (status == LM_OK) status = lm_sprite_alloc(e, f->frames, f->size, s);
    if (status == LM_OK && still) cut_style(&clip, f->style, s);
    if (status == LM_OK && !still) join_alpha(&clip, s);
    lm_clip_free(&clip);
    return status;
}

// *s stays empty when the record is a still without the style.
static lm_status decode_record(lm_error *e, const char *shard, const record *r, const char *style, lm_sprite *s) {
    char where[MAX_NAME + 256];
    snprintf(where, sizeof where, "%.200s: record %s", shard, r->key);
    if (!r->json.bytes) return lm_fail(e, LM_MEDIA, "%s has no .json", where);
    if (!r->webm.bytes == !r->webp.bytes)
        return lm_fail(e, LM_MEDIA, "%s must have either a .webm or a .webp beside its .json", where);
    json_error_t je;
    json_t *json;
    lm_status status = lm_json_parse((const char *)r->json.bytes, r->json.size, &json, &je);
    if (status == LM_MEMORY) return lm_fail_memory(e, (double)r->json.size, where);
    if (status != LM_OK)
        return lm_fail(e, LM_MEDIA, "%s: JSON line %d column %d: %s", where, je.line, je.column, je.text);
    facts f = {0};
    status = get_facts(e, where, json, r->webp.bytes != NULL, style, &f);
    if (status == LM_OK && f.style >= 0) {
        status = copy_facts(e, &f, s);
        if (status == LM_OK) status = decode_picture(e, where, r, &f, s);
    }
    json_decref(json);
    return status;
}

typedef struct decoding {
    const char *shard, *style;
    const records *all;
    lm_sprite *sprites; // one a record
} decoding;

static lm_status decode_piece(lm_error *e, void *context, int64_t piece, int thread) {
    const decoding *d = context;
    (void)thread;
    return decode_record(e, d->shard, &d->all->items[piece], d->style, &d->sprites[piece]);
}

static lm_status decode_records(lm_error *e, decoding *d, lm_pool *pool, lm_sprites *list) {
    size_t n = (size_t)d->all->count;
    d->sprites = lm_alloc_zero(n, sizeof *d->sprites);
    if (!d->sprites) return lm_fail_memory(e, (double)n * sizeof *d->sprites, "decoding a shard");
    LM_TRY(lm_pool_run(e, pool, (int64_t)n, decode_piece, d));
    for (size_t i = 0; i < n; i++)
        if (d->sprites[i].data) LM_TRY(lm_sprites_add(e, list, &d->sprites[i]));
    return LM_OK;
}

lm_status lm_shard_read(lm_error *e, const char *name, const uint8_t *bytes, size_t size, const char *style,
                        lm_pool *pool, lm_sprites *list) {
    records all = {0};
    decoding d = {.shard = name, .style = style, .all = &all};
    lm_status status = read_records(e, name, bytes, size, &all);
    if (status == LM_OK) status = decode_records(e, &d, pool, list);
    for (int i = 0; d.sprites && i < all.count; i++) lm_sprite_clear(&d.sprites[i]);
    lm_free(d.sprites);
    records_clear(&all);
    return status;
}
