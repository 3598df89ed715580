#include "train/shards.h"

#include "base/files.h"
#include "base/memory.h"
#include "media/media.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_FILES = 1 << 20 };
static const size_t max_tar = (size_t)4 << 30, max_text = 64 << 10;

static bool has_ending(const char *name, const char *ending) {
    size_t n = strlen(name), m = strlen(ending);
    return n > m && !strcmp(name + n - m, ending);
}

static bool is_clip_name(const char *name) {
    static const char *const endings[] = {".mp4", ".webm", ".gif", ".webp", ".png"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (has_ending(name, endings[i])) return true;
    return false;
}

// Straight RGB or RGBA, the centred square of the clip -> one premultiplied frame [side,side,4]. Each pixel is the mean
// of the source pixels that it touches.
static void reduce_frame(const lm_clip *clip, const uint8_t *frame, int side, uint8_t *out) {
    int square = clip->width < clip->height ? clip->width : clip->height;
    int left = (clip->width - square) / 2, top = (clip->height - square) / 2;
    for (int i = 0; i < side * side; i++, out += 4) {
        int y = i / side, x = i % side;
        int y0 = top + (int)((int64_t)y * square / side), y1 = top + (int)(((int64_t)(y + 1) * square - 1) / side) + 1;
        int x0 = left + (int)((int64_t)x * square / side),
            x1 = left + (int)(((int64_t)(x + 1) * square - 1) / side) + 1;
        int64_t sum[4] = {0}, area = (int64_t)(y1 - y0) * (x1 - x0);
        for (int sy = y0; sy < y1; sy++)
            for (int sx = x0; sx < x1; sx++) {
                const uint8_t *p = frame + ((int64_t)sy * clip->width + sx) * clip->channels;
                uint8_t straight[4] = {p[0], p[1], p[2], clip->channels == 4 ? p[3] : 255}, premultiplied[4];
                lm_pixel_premultiply(straight, premultiplied);
                for (int c = 0; c < 4; c++) sum[c] += premultiplied[c];
            }
        for (int c = 0; c < 4; c++) out[c] = (uint8_t)((sum[c] + area / 2) / area);
    }
}

static lm_status reduce_clip(lm_error *e, const lm_clip *clip, lm_sprite *s) {
    double ratio = clip->frames > 1 && clip->fps > 0 ? clip->fps / LM_FOLDER_FPS : 1; // source frames for one of ours
    double wanted = round(clip->frames / ratio);
    int frames = wanted > LM_FOLDER_FRAMES ? LM_FOLDER_FRAMES : wanted < 1 ? 1 : (int)wanted;
    LM_TRY(lm_sprite_alloc(e, frames, LM_FOLDER_SIDE, s));
    size_t bytes = (size_t)clip->width * (size_t)clip->height * (size_t)clip->channels;
    for (int f = 0; f < frames; f++) {
        double at = (f + 0.5) * ratio; // what is shown in the middle of our frame's time
        int from = at < clip->frames - 1 ? (int)at : clip->frames - 1;
        reduce_frame(clip, clip->data + (size_t)from * bytes, LM_FOLDER_SIDE,
                     s->data + (size_t)f * LM_FOLDER_SIDE * LM_FOLDER_SIDE * 4);
    }
    return LM_OK;
}

static lm_status add_caption(lm_error *e, const char *path, const char *line, size_t length, lm_sprite *s) {
    if (length > LM_MAX_CAPTION || s->caption_count == LM_MAX_CAPTIONS)
        return lm_fail(e, LM_MEDIA, "%s: at most %d captions of at most %d bytes", path, LM_MAX_CAPTIONS,
                       LM_MAX_CAPTION);
    char *copy = lm_alloc(length + 1, 1);
    if (!copy) return lm_fail_memory(e, (double)length + 1, "a caption");
    memcpy(copy, line, length);
    copy[length] = 0;
    s->captions[s->caption_count++] = copy;
    return LM_OK;
}

// One caption a line, blanks around it and empty lines left out.
static lm_status split_captions(lm_error *e, const char *path, const char *text, size_t size, lm_sprite *s) {
    static const char blanks[] = " \t\r\n";
    if (strlen(text) != size) return lm_fail(e, LM_MEDIA, "%s: holds a zero byte; plain text is expected", path);
    s->captions = lm_alloc_zero(LM_MAX_CAPTIONS, sizeof *s->captions);
    if (!s->captions) return lm_fail_memory(e, LM_MAX_CAPTIONS * sizeof *s->captions, "captions");
    for (const char *p = text + strspn(text, blanks); *p; p += strspn(p, blanks)) {
        size_t line = strcspn(p, "\r\n"), length = line;
        while (strchr(" \t", p[length - 1])) length--;
        LM_TRY(add_caption(e, path, p, length, s));
        p += line;
    }
    if (s->caption_count == 0) return lm_fail(e, LM_MEDIA, "%s: no caption in it", path);
    return LM_OK;
}

static lm_status read_caption_file(lm_error *e, const char *path, lm_sprite *s) {
    uint8_t *text;
    size_t size;
    LM_TRY(lm_file_read(e, path, max_text, LM_MEDIA, &text, &size));
    lm_status status = split_captions(e, path, (const char *)text, size, s);
    lm_free(text);
    return status;
}

// folder/stem.* + folder/stem.txt -> sprite
static lm_status read_pair(lm_error *e, const char *folder, const char *name, lm_sprite *s) {
    char *clip_path = lm_format("%s/%s", folder, name);
    int stem = (int)(strrchr(name, '.') - name);
    char *text_path = lm_format("%s/%.*s.txt", folder, stem, name);
    s->subject = lm_format("%.*s", stem, name);
    lm_clip clip = {0};
    lm_status status = LM_OK;
    if (!clip_path || !text_path || !s->subject) status = lm_fail_memory(e, 0, "a path");
    if (status == LM_OK) status = read_caption_file(e, text_path, s);
    if (status == LM_OK) status = lm_media_read(e, clip_path, LM_FOLDER_FRAMES, &clip);
    if (status == LM_OK) status = reduce_clip(e, &clip, s);
    lm_clip_free(&clip);
    lm_free(clip_path);
    lm_free(text_path);
    return status;
}

static lm_status read_tar(lm_error *e, const char *path, const char *style, lm_pool *pool, lm_sprites *list) {
    uint8_t *bytes;
    size_t size;
    LM_TRY(lm_file_read(e, path, max_tar, LM_MEDIA, &bytes, &size));
    lm_status status = lm_shard_read(e, path, bytes, size, style, pool, list);
    lm_free(bytes);
    return status;
}

typedef struct names {
    char **items;
    int count, capacity;
} names;

static lm_status add_name(lm_error *e, const char *folder, const char *name, names *n) {
    if (n->count == MAX_FILES) return lm_fail(e, LM_MEDIA, "%s: more than %d files; use shards", folder, MAX_FILES);
    if (n->count == n->capacity) {
        int capacity = n->capacity ? 2 * n->capacity : 64;
        char **items = lm_realloc(n->items, (size_t)capacity, sizeof *items);
        if (!items) return lm_fail_memory(e, (double)capacity * sizeof *items, "a folder's file names");
        n->items = items;
        n->capacity = capacity;
    }
    char *copy = lm_strdup(name);
    if (!copy) return lm_fail_memory(e, 0, "a file name");
    n->items[n->count++] = copy;
    return LM_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The tars and clips of a folder, sorted; hidden files and other kinds are left out.
static lm_status list_folder(lm_error *e, const char *path, names *n) {
    DIR *dir = opendir(path);
    if (!dir) return lm_fail(e, LM_MEDIA, "%s: can't be listed: %s", path, strerror(errno));
    lm_status status = LM_OK;
    for (struct dirent *d; status == LM_OK && (d = readdir(dir));)
        if (d->d_name[0] != '.' && (has_ending(d->d_name, ".tar") || is_clip_name(d->d_name)))
            status = add_name(e, path, d->d_name, n);
    closedir(dir);
    if (status == LM_OK && n->count == 0)
        status = lm_fail(e, LM_MEDIA, "%s: no .tar and no clip (.mp4 .webm .gif .webp .png) in this folder", path);
    if (n->count > 1) qsort(n->items, (size_t)n->count, sizeof *n->items, compare_names);
    return status;
}

static lm_status read_listed(lm_error *e, const char *folder, const names *n, const char *style, lm_pool *pool,
                             lm_sprites *list) {
    for (int i = 0; i < n->count; i++) {
        if (has_ending(n->items[i], ".tar")) {
            char *path = lm_format("%s/%s", folder, n->items[i]);
            lm_status status = path ? read_tar(e, path, style, pool, list) : lm_fail_memory(e, 0, "a path");
            lm_free(path);
            LM_TRY(status);
            continue;
        }
        lm_sprite s = {0};
        lm_status status = read_pair(e, folder, n->items[i], &s);
        if (status == LM_OK) status = lm_sprites_add(e, list, &s);
        lm_sprite_clear(&s);
        LM_TRY(status);
    }
    return LM_OK;
}

lm_status lm_source_read(lm_error *e, const char *path, const char *style, lm_pool *pool, lm_sprites *list) {
    struct stat info;
    if (stat(path, &info)) return lm_fail(e, LM_MEDIA, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) return read_tar(e, path, style, pool, list);
    names n = {0};
    lm_status status = list_folder(e, path, &n);
    if (status == LM_OK) status = read_listed(e, path, &n, style, pool, list);
    for (int i = 0; i < n.count; i++) lm_free(n.items[i]);
    lm_free(n.items);
    return status;
}
