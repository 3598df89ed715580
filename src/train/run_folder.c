// A run's folder: made where it is missing, held by one process at a time, taken away again where nothing came of it.
#include "train/trainer_internal.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char lock_name[] = "train.lock";

// path and what lies above it; t->made counts the folders that were not there.
static lm_status make_folder(lm_error *e, lm_trainer *t, const char *path) {
    char *part = lm_strdup(path);
    if (!part) return lm_fail_memory(e, (double)strlen(path), "the run's folder");
    bool there = true;
    for (size_t i = 1, n = strlen(part); i <= n && there; i++) {
        if (path[i] != '/' && path[i]) continue;
        part[i] = 0;
        if (!mkdir(part, 0777))
            t->made++;
        else
            there = errno == EEXIST;
        part[i] = path[i];
    }
    lm_free(part);
    struct stat info;
    if (there && !stat(path, &info) && S_ISDIR(info.st_mode)) return LM_OK;
    return lm_fail(e, LM_MEDIA, "can't make the folder %s: %s", path, strerror(there ? ENOTDIR : errno));
}

// From the innermost outwards, as many as were made; what is not empty stays.
static void remove_folders(lm_trainer *t) {
    char *part = lm_strdup(t->cfg->out);
    for (size_t i = part ? strlen(part) : 0; i > 0 && t->made > 0; i--) {
        if (part[i] != '/' && part[i]) continue;
        part[i] = 0;
        if (i > 1 && part[i - 1] == '/') continue; // "a//b", "a/b/"
        if (!rmdir(part)) t->made--;
    }
    lm_free(part);
}

static lm_status refuse_second(lm_error *e, const lm_trainer *t, int fd) {
    char holder[200];
    ssize_t n = pread(fd, holder, sizeof holder - 1, 0);
    holder[n > 0 ? n : 0] = 0;
    holder[strcspn(holder, "\n")] = 0;
    return lm_fail(e, LM_MEDIA, "%s is in use by another training (%s); wait for its end, or name another folder",
                   t->cfg->out, *holder ? holder : "it doesn't say which");
}

static void say_holder(int fd) {
    char host[128] = "?", text[200];
    gethostname(host, sizeof host - 1);
    int n = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n) return; // for people to read; the lock holds without
}

// The lock is the kernel's and ends with the process, so that a file that a killed one left holds nobody up. false:
// what was locked is not, or no more, the file of this name; again, then.
static bool take_lock(lm_error *e, lm_trainer *t, const char *path, lm_status *status) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    *status = LM_OK;
    if (fd < 0) {
        *status = lm_fail(e, LM_MEDIA, "can't write '%.200s': %m", path);
        return true;
    }
    bool locked = !flock(fd, LOCK_EX | LOCK_NB);
    struct stat opened, named;
    if (!locked && errno == EWOULDBLOCK)
        *status = refuse_second(e, t, fd);
    else if (!locked)
        lm_trainer_log(t, "%s can't be locked (%s): make sure that no other training writes there", t->cfg->out,
                       strerror(errno));
    else if (fstat(fd, &opened) || stat(path, &named) || opened.st_ino != named.st_ino ||
             opened.st_dev != named.st_dev) {
        close(fd); // the one who held it has just removed it
        return false;
    }
    if (locked) say_holder(fd);
    if (*status == LM_OK)
        t->lock = fd;
    else
        close(fd);
    return true;
}

// A run's model.safetensors and config.json would take the place of what it reads.
static lm_status check_inputs_elsewhere(lm_error *e, const lm_trainer *t) {
    const char *const names[] = {"init", "inflation", "text"};
    const char *const paths[] = {t->cfg->init, t->cfg->inflation, t->cfg->text};
    struct stat out, in;
    for (int i = 0; i < 3; i++)
        if (*paths[i] && !stat(paths[i], &in) && !stat(t->cfg->out, &out) && in.st_ino == out.st_ino &&
            in.st_dev == out.st_dev)
            return lm_fail(e, LM_USAGE, "out is the folder of %s, whose files would be replaced; name another folder",
                           names[i]);
    return LM_OK;
}

lm_status lm_trainer_take_folder(lm_error *e, lm_trainer *t) {
    t->lock = -1;
    LM_TRY(make_folder(e, t, t->cfg->out));
    if (!t->o.resume) LM_TRY(check_inputs_elsewhere(e, t));
    char *path = lm_trainer_path(t, lock_name);
    if (!path) return lm_fail_memory(e, 1e3, "the run's folder");
    lm_status status = LM_OK;
    bool done = false;
    for (int attempt = 0; attempt < 100 && !done; attempt++) done = take_lock(e, t, path, &status);
    if (!done) status = lm_fail(e, LM_MEDIA, "can't lock '%.200s'", path);
    lm_free(path);
    return status;
}

void lm_trainer_leave_folder(lm_trainer *t) {
    if (t->lock >= 0) {
        char *path = lm_trainer_path(t, lock_name);
        if (path) unlink(path); // still locked: nobody else's file can have this name
        lm_free(path);
        close(t->lock);
    }
    remove_folders(t);
}
