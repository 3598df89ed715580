#include "media/coding.h"
#include "base/files.h"
#include "base/memory.h"
#include "base/paths.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Hidden files and recipes are no frames.
static int is_frame(const struct dirent *d) {
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && !(n > 5 && !strcmp(d->d_name + n - 5, ".json"));
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static lm_status read_picture(lm_error *e, lm_clip_builder *b, const char *folder, const char *file) {
    char *path = lm_format("%s/%s", folder, file);
    if (!path) return lm_media_no_memory(e, "a path");
    uint8_t *bytes = NULL, *frame;
    size_t size;
    lm_clip picture = {0};
    lm_status status = lm_file_read(e, path, LM_MAX_FILE_BYTES, LM_MEDIA, &bytes, &size);
    if (status == LM_OK) status = lm_media_read_memory(e, path, bytes, size, 1, &picture);
    b->name = path;
    if (status == LM_OK) status = lm_builder_next(e, b, picture.width, picture.height, picture.channels, &frame);
    if (status == LM_OK) memcpy(frame, picture.data, lm_clip_frame_bytes(&picture));
    b->name = folder;
    lm_clip_free(&picture);
    lm_free(bytes);
    lm_free(path);
    return status;
}

// The pictures of a folder in order of their names (bytes), one frame each.
lm_status lm_folder_read(lm_error *e, const char *path, int max_frames, lm_clip *out) {
    struct dirent **names;
    int count = scandir(path, &names, is_frame, by_name);
    if (count < 0) return lm_fail(e, LM_MEDIA, "can't read the folder '%.200s': %m", path);
    lm_clip_builder b = {.name = path, .wanted = max_frames};
    lm_status status = LM_OK;
    for (int i = 0; i < count; i++) {
        if (status == LM_OK && !lm_builder_full(&b)) status = read_picture(e, &b, path, names[i]->d_name);
        free(names[i]);
    }
    free(names);
    return lm_builder_finish(e, &b, status, out);
}

lm_status lm_folder_look(lm_error *e, const char *path, lm_clip_facts *out) {
    struct dirent **names;
    int count = scandir(path, &names, is_frame, by_name);
    if (count < 0) return lm_fail(e, LM_MEDIA, "can't read the folder '%.200s': %m", path);
    char *first = count ? lm_format("%s/%s", path, names[0]->d_name) : NULL;
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
    if (!count) return lm_fail(e, LM_MEDIA, "%.200s: holds no frame", path);
    if (!first) return lm_media_no_memory(e, "a path");
    uint8_t *bytes = NULL;
    size_t size;
    lm_status status = lm_file_read(e, first, LM_MAX_FILE_BYTES, LM_MEDIA, &bytes, &size);
    if (status == LM_OK) status = lm_media_look_memory(e, first, bytes, size, out);
    lm_free(bytes);
    lm_free(first);
    *out = (lm_clip_facts){.frames = count, .width = out->width, .height = out->height};
    return status;
}

static bool is_empty(DIR *d) {
    int entries = 0;
    while (readdir(d)) entries++;
    return entries <= 2; // itself and its parent
}

static bool same_folder(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

// A folder that is there gives its place to the new one, which some can't.
static lm_status check_replaced(lm_error *e, const char *path, const char *target, const char *parent) {
    struct stat info, above, here;
    if (stat(target, &info)) return LM_OK; // not there yet
    if (!S_ISDIR(info.st_mode)) return lm_fail(e, LM_MEDIA, "can't write '%.200s': a file has that name", path);
    DIR *d = opendir(target);
    if (!d) return lm_fail(e, LM_MEDIA, "can't write frames to '%.200s': %m", path);
    bool empty = is_empty(d);
    closedir(d);
    if (!empty)
        return lm_fail(e, LM_MEDIA, "can't write frames to '%.200s': the folder is not empty; name a new one", path);
    if (!stat(".", &here) && same_folder(&here, &info))
        return lm_fail(e, LM_MEDIA, "can't write frames to '%.200s': it is the present folder; name a new one in it",
                       path);
    if (!stat(parent, &above) && (above.st_dev != info.st_dev || same_folder(&above, &info)))
        return lm_fail(e, LM_MEDIA, "can't write frames to '%.200s': a file system begins there; name a new one in it",
                       path);
    if (!stat(parent, &above) && above.st_mode & S_ISVTX && geteuid() && info.st_uid != geteuid() &&
        above.st_uid != geteuid())
        return lm_fail(e, LM_MEDIA, "can't write frames to '%.200s': the folder is somebody else's", path);
    return LM_OK;
}

// Where frames are written before they take their place, links followed.
typedef struct place {
    char *target, *parent, *temporary;
} place;

static void leave(place *p) {
    lm_free(p->target);
    lm_free(p->parent);
    lm_free(p->temporary);
}

static char *find_target(const char *path) {
    char full[PATH_MAX];
    return realpath(path, full) ? lm_strdup(full) : lm_path_follow(path);
}

// All conditions of writing a folder at path, met: the temporary folder is made.
static lm_status enter(lm_error *e, const char *path, place *p) {
    enum { LONGEST_NAME = 32 }; // of a file in it
    *p = (place){.target = find_target(path)};
    if (p->target) p->parent = lm_path_parent(p->target);
    if (p->target) p->temporary = lm_format("%s.XXXXXX", p->target);
    lm_status status = p->parent && p->temporary ? LM_OK : lm_media_no_memory(e, "a path");
    if (status == LM_OK) status = check_replaced(e, path, p->target, p->parent);
    if (status == LM_OK) {
        errno = ENAMETOOLONG;
        if (strlen(p->temporary) + LONGEST_NAME >= PATH_MAX || !mkdtemp(p->temporary))
            status = lm_file_not_made(e, path, p->temporary, p->parent, LM_MEDIA);
    }
    if (status != LM_OK) leave(p);
    return status;
}

lm_status lm_folder_check(lm_error *e, const char *path) {
    place p;
    LM_TRY(enter(e, path, &p));
    rmdir(p.temporary);
    leave(&p);
    return LM_OK;
}

static lm_status write_frame(lm_error *e, const char *folder, const lm_clip *clip, int i) {
    lm_clip one = *clip;
    one.frames = 1;
    one.data = clip->data + (size_t)i * lm_clip_frame_bytes(clip);
    lm_bytes png = {0};
    char *path = lm_format("%s/frame-%04d.png", folder, i + 1);
    lm_status status = path ? lm_av_write(e, LM_AV_PNG, &one, NULL, &png) : lm_media_no_memory(e, "a path");
    if (status == LM_OK) status = lm_media_store(e, path, &png);
    lm_bytes_free(&png);
    lm_free(path);
    return status;
}

static lm_status write_files(lm_error *e, const char *folder, const lm_clip *clip, const char *recipe) {
    for (int i = 0; i < clip->frames; i++) LM_TRY(write_frame(e, folder, clip, i));
    if (!recipe) return LM_OK;
    char *path = lm_format("%s/recipe.json", folder);
    lm_status status = path ? lm_recipe_write_beside(e, path, recipe) : lm_media_no_memory(e, "a path");
    lm_free(path);
    return status;
}

static void remove_folder(const char *path) {
    DIR *d = opendir(path);
    for (const struct dirent *entry; d && (entry = readdir(d));)
        if (entry->d_name[0] != '.') unlinkat(dirfd(d), entry->d_name, 0);
    if (d) closedir(d);
    rmdir(path);
}

static void sync_folder(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return; // an unreadable parent: the rename has happened all the same
    fsync(fd);
    close(fd);
}

// The new folder takes the place of target, which is made when it isn't there: so it has the usual permissions.
static lm_status take_place(lm_error *e, const char *path, const place *p) {
    struct stat info;
    bool made = !mkdir(p->target, 0777);
    if ((!made && errno != EEXIST) || stat(p->target, &info) || chmod(p->temporary, info.st_mode & 07777) ||
        rename(p->temporary, p->target)) {
        lm_status status = lm_fail(e, LM_MEDIA, "can't write '%.200s': %m", path);
        if (made) rmdir(p->target);
        return status;
    }
    sync_folder(p->parent);
    return LM_OK;
}

// frame-0001.png, ... and recipe.json, in a new folder beside path that then takes its place. path may end in slashes.
lm_status lm_folder_write(lm_error *e, const char *path, const lm_clip *clip, const char *recipe) {
    place p;
    LM_TRY(enter(e, path, &p));
    lm_status status = write_files(e, p.temporary, clip, recipe);
    if (status == LM_OK) status = take_place(e, path, &p);
    if (status != LM_OK) remove_folder(p.temporary);
    leave(&p);
    return status;
}
