#include "base/files.h"

#include "base/memory.h"
#include "base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 16 };

// Reads fd to its end into a buffer that starts with room for first bytes and the final NUL.
static lm_status read_all(lm_error *e, int fd, const char *path, size_t first, size_t limit, lm_status missing,
                          uint8_t **out, size_t *size) {
    size_t room = first + 1, used = 0;
    uint8_t *bytes = lm_alloc(room, 1);
    if (!bytes) return lm_fail_memory(e, (double)room, path);
    for (;;) {
        if (used + 1 == room) {
            uint8_t *more = lm_realloc(bytes, room, 2);
            if (!more) {
                lm_free(bytes);
                return lm_fail_memory(e, (double)room, path);
            }
            bytes = more;
            room *= 2;
        }
        ssize_t n = read(fd, bytes + used, room - 1 - used);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) lm_fail(e, missing, "can't read '%.200s': %m", path);
        if (n > 0 && (size_t)n > limit - used) {
            lm_fail(e, missing, "'%.200s' is larger than the %zu bytes allowed", path, limit);
            n = -1;
        }
        if (n < 0) {
            lm_free(bytes);
            return missing;
        }
        if (n == 0) break;
        used += (size_t)n;
    }
    bytes[used] = 0;
    *out = bytes;
    *size = used;
    return LM_OK;
}

lm_status lm_file_read(lm_error *e, const char *path, size_t limit, lm_status missing, uint8_t **out, size_t *size) {
    *out = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0) return lm_fail(e, missing, "can't read '%.200s': %m", path);
    lm_status status;
    if (fstat(fd, &info))
        status = lm_fail(e, missing, "can't read '%.200s': %m", path);
    else if (S_ISDIR(info.st_mode))
        status = lm_fail(e, missing, "can't read '%.200s': it is a folder, not a file", path);
    else if (S_ISREG(info.st_mode) && (uint64_t)info.st_size > limit)
        status = lm_fail(e, missing, "'%.200s' has %lld bytes; at most %zu are allowed", path, (long long)info.st_size,
                         limit);
    else // one byte more than the file has, so that its end is seen without growing
        status =
            read_all(e, fd, path, S_ISREG(info.st_mode) ? (size_t)info.st_size + 1 : BUFFER, limit, missing, out, size);
    close(fd);
    return status;
}

struct lm_file_writer {
    int fd;
    bool fresh; // the temporary file was not there before
    lm_status failure;
    lm_error error;                    // the first failure
    char *path;                        // as it was asked for
    char *target, *temporary, *folder; // where path leads; beside that; what holds both
    size_t used;
    uint8_t buffer[BUFFER];
};

static lm_status write_failed(lm_file_writer *w, const char *what) {
    if (errno == ENOSPC || errno == EDQUOT)
        return lm_fail(&w->error, w->failure, "can't write '%.200s': the disk is full", w->path);
    return lm_fail(&w->error, w->failure, "can't %s '%.200s': %m", what, w->path);
}

lm_status lm_file_not_made(lm_error *e, const char *path, const char *temporary, const char *folder,
                           lm_status failure) {
    int reason = errno;
    struct stat info;
    bool there = !stat(folder, &info);
    const char *slash = strrchr(temporary, '/');
    if (reason == ENOENT && !there)
        return lm_fail(e, failure, "can't write '%.180s': there is no folder '%.180s'", path, folder);
    if (there && !S_ISDIR(info.st_mode))
        return lm_fail(e, failure, "can't write '%.180s': '%.180s' is not a folder", path, folder);
    if (reason == ENOSPC || reason == EDQUOT)
        return lm_fail(e, failure, "can't write '%.200s': the disk is full", path);
    if (reason == ENAMETOOLONG)
        return lm_fail(e, failure,
                       "can't write '%.200s': File name too long; until it is complete its name has %zu bytes", path,
                       strlen(slash ? slash + 1 : temporary));
    if (reason == ENOENT) // /proc and its like
        return lm_fail(e, failure, "can't write '%.180s': the folder '%.180s' takes no files", path, folder);
    errno = reason;
    return lm_fail(e, failure, "can't write '%.180s': the folder '%.180s': %m", path, folder);
}

static lm_status flush(lm_file_writer *w) {
    for (size_t done = 0; done < w->used && w->error.status == LM_OK;) {
        ssize_t n = write(w->fd, w->buffer + done, w->used - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            write_failed(w, "write");
    }
    w->used = 0;
    return w->error.status;
}

static void writer_free(lm_file_writer **writer) {
    lm_file_writer *w = *writer;
    if (w->fd >= 0) {
        unlink(w->temporary); // still locked: no other writer's file can have this name
        close(w->fd);
    }
    lm_free(w->path);
    lm_free(w->target);
    lm_free(w->temporary);
    lm_free(w->folder);
    lm_free(w);
    *writer = NULL;
}

static const char *kind_of(mode_t mode) {
    return S_ISDIR(mode) ? "a folder" : S_ISLNK(mode) ? "a link" : S_ISREG(mode) ? "a file" : "a device or pipe";
}

// What isn't a file must not be replaced, nor what its owner or the folder's wants kept.
static lm_status check_target(lm_file_writer *w) {
    struct stat info, folder;
    if (w->path[strlen(w->path) - 1] == '/')
        return lm_fail(&w->error, w->failure, "can't write '%.200s': that is a folder's name", w->path);
    if (stat(w->target, &info)) return errno == ELOOP ? write_failed(w, "write") : LM_OK;
    if (!S_ISREG(info.st_mode))
        return lm_fail(&w->error, w->failure, "can't write '%.200s': it is %s, not a file", w->path,
                       kind_of(info.st_mode));
    if (faccessat(AT_FDCWD, w->target, W_OK, AT_EACCESS)) return write_failed(w, "replace");
    bool others = geteuid() && info.st_uid != geteuid();
    if (others && !stat(w->folder, &folder) && folder.st_mode & S_ISVTX && folder.st_uid != geteuid()) {
        errno = EPERM; // what the renaming would say
        return write_failed(w, "replace");
    }
    return LM_OK;
}

static int open_part(lm_file_writer *w) {
    const int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK; // a pipe under this name doesn't hold us up
    int fd = open(w->temporary, flags | O_CREAT | O_EXCL, 0666);
    w->fresh = fd >= 0;
    return fd < 0 && errno == EEXIST ? open(w->temporary, flags) : fd;
}

static lm_status part_failed(lm_file_writer *w) {
    int reason = errno;
    struct stat info;
    if (lstat(w->temporary, &info)) {
        errno = reason;
        return lm_file_not_made(&w->error, w->path, w->temporary, w->folder, w->failure);
    }
    if (!S_ISREG(info.st_mode))
        return lm_fail(&w->error, w->failure,
                       "can't write '%.180s': '%.180s', its name until it is complete, is %s; remove that", w->path,
                       w->temporary, kind_of(info.st_mode));
    errno = reason;
    return lm_fail(&w->error, w->failure, "can't write '%.180s': '%.180s': %m", w->path, w->temporary);
}

// The temporary file has one name per target, so that what a killed process left is used again and not added to, and
// a lock, so that two processes don't write into the same one. One that only checks holds it for a moment.
static lm_status open_temporary(lm_file_writer *w) {
    enum { ATTEMPTS = 30 };
    const struct timespec moment = {.tv_nsec = 10000000};
    bool busy = false;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (busy) nanosleep(&moment, NULL);
        w->fd = open_part(w);
        if (w->fd < 0 && errno == ENOENT && access(w->folder, F_OK) == 0 && attempt < 2) continue; // just gone
        if (w->fd < 0) return part_failed(w);
        busy = flock(w->fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK; // some file systems have no locks
        struct stat opened, named;
        if (!busy && !fstat(w->fd, &opened) && !stat(w->temporary, &named) && opened.st_ino == named.st_ino &&
            opened.st_dev == named.st_dev && S_ISREG(opened.st_mode))
            return LM_OK;
        close(w->fd); // not ours to remove
        w->fd = -1;
    }
    if (busy) return lm_fail(&w->error, w->failure, "can't write '%.200s': another process is writing it", w->path);
    return lm_fail(&w->error, w->failure, "can't write '%.200s': '%.200s' can't be made", w->path, w->temporary);
}

// All conditions of writing path, met; the temporary file still holds what it held.
static lm_status open_writer(lm_error *e, const char *path, lm_status failure, lm_file_writer **out) {
    *out = NULL;
    if (!*path) return lm_fail(e, failure, "can't write a file without a name");
    lm_file_writer *w = lm_alloc_zero(1, sizeof *w);
    if (!w) return lm_fail_memory(e, sizeof *w, "writing a file");
    w->fd = -1;
    w->failure = failure;
    w->path = lm_strdup(path);
    w->target = lm_path_follow(path);
    if (w->target) w->temporary = lm_format("%s.part", w->target);
    if (w->target) w->folder = lm_path_parent(w->target);
    if (!w->path || !w->target || !w->temporary || !w->folder)
        lm_fail_memory(&w->error, BUFFER, "writing a file");
    else if (check_target(w) == LM_OK)
        open_temporary(w);
    lm_status status = w->error.status;
    if (status == LM_OK)
        *out = w;
    else {
        lm_fail(e, status, "%s", w->error.text);
        writer_free(&w);
    }
    return status;
}

lm_status lm_file_check(lm_error *e, const char *path, lm_status failure) {
    lm_file_writer *w;
    LM_TRY(open_writer(e, path, failure, &w));
    if (!w->fresh) { // what another run left stays
        close(w->fd);
        w->fd = -1;
    }
    writer_free(&w);
    return LM_OK;
}

lm_status lm_file_create(lm_error *e, const char *path, lm_status failure, lm_file_writer **out) {
    LM_TRY(open_writer(e, path, failure, out));
    lm_file_writer *w = *out;
    if (!ftruncate(w->fd, 0)) return LM_OK;
    write_failed(w, "write");
    lm_fail(e, failure, "%s", w->error.text);
    writer_free(out);
    return failure;
}

lm_status lm_file_append(lm_error *e, lm_file_writer *w, const void *bytes, size_t size) {
    const uint8_t *from = bytes;
    while (size > 0 && w->error.status == LM_OK) {
        size_t n = BUFFER - w->used < size ? BUFFER - w->used : size;
        memcpy(w->buffer + w->used, from, n);
        w->used += n;
        from += n;
        size -= n;
        if (w->used == BUFFER) flush(w);
    }
    return w->error.status == LM_OK ? LM_OK : lm_fail(e, w->error.status, "%s", w->error.text);
}

// Makes the new name survive a power cut. Some file systems can't and say EINVAL; there is nothing better to do there.
static void sync_folder(lm_file_writer *w) {
    int fd = open(w->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) && errno != EINVAL && errno != ENOTSUP)) write_failed(w, "make permanent");
    if (fd >= 0) close(fd);
}

lm_status lm_file_commit(lm_error *e, lm_file_writer **writer) {
    lm_file_writer *w = *writer;
    flush(w);
    if (w->error.status == LM_OK && fsync(w->fd)) write_failed(w, "write");
    if (w->error.status == LM_OK && rename(w->temporary, w->target)) write_failed(w, "replace");
    if (w->error.status == LM_OK) {
        if (close(w->fd)) write_failed(w, "write");
        w->fd = -1;
        sync_folder(w);
    }
    lm_status status = w->error.status;
    if (status != LM_OK) lm_fail(e, status, "%s", w->error.text);
    writer_free(writer);
    return status;
}

void lm_file_discard(lm_file_writer **w) {
    if (*w) writer_free(w);
}
