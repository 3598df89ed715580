// The tables of a run: metrics.csv has a row every log_every steps and at each validation, explained.csv some every
// explain_every steps.
#include "train/trainer_internal.h"

#include "base/files.h"
#include "base/memory.h"
#include "base/plain_text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char metrics_header[] = "step,samples,seconds,loss,learning_rate,gradient_norm,validation_loss,skipped\n";
static const char explained_header[] = "step,samples,subjects,caption,time,explained,explained_8x8\n";

static lm_status append(lm_error *e, const lm_trainer *t, const char *name, const char *line) {
    char *path = lm_trainer_path(t, name);
    if (!path) return lm_fail_memory(e, 1e3, name);
    FILE *f = fopen(path, "ae");
    int n = -1;
    if (f) {
        n = fputs(line, f);
        if (fclose(f)) n = -1;
    }
    lm_status s = n < 0 ? lm_fail(e, LM_MEDIA, "can't write %s: %s", path, strerror(errno)) : LM_OK;
    lm_free(path);
    return s;
}

lm_status lm_metrics_append(lm_error *e, const lm_trainer *t, const metrics_row *r) {
    char validation[400] = "", line[1600]; // room for the longest numbers
    if (r->validated && isfinite(r->validation))
        lm_text_format(validation, sizeof validation, "%.6f", r->validation);
    else if (r->validated)
        strcpy(validation, "nan");
    lm_text_format(line, sizeof line, "%lld,%lld,%.1f,%.6f,%.6g,%.4f,%s,%lld\n", (long long)r->step,
                   (long long)r->samples, r->seconds, r->loss, r->rate, r->grad_norm, validation,
                   (long long)r->skipped);
    return append(e, t, "metrics.csv", line);
}

lm_status lm_explained_append(lm_error *e, const lm_trainer *t, const explained_row *r) {
    char line[1600];
    lm_text_format(line, sizeof line, "%lld,%lld,%s,%s,%g,%.4f,%.4f\n", (long long)t->step,
                   (long long)(t->step * t->cfg->batch), r->subjects, r->caption, r->time, r->full, r->pooled);
    return append(e, t, "explained.csv", line);
}

// Length of the part to keep: rows up to the trainer's step, whole lines only.
static size_t kept(const char *text, int64_t step) {
    const char *line = text, *end;
    while ((end = strchr(line, '\n')) && (line == text || strtoll(line, NULL, 10) <= step)) line = end + 1;
    return (size_t)(line - text);
}

static lm_status cut(lm_error *e, const lm_trainer *t, const char *name, const char *header) {
    char *path = lm_trainer_path(t, name);
    if (!path) return lm_fail_memory(e, 1e3, name);
    uint8_t *bytes = NULL;
    size_t size = 0;
    lm_status s = LM_OK;
    if (t->step > 0 && !access(path, F_OK)) s = lm_file_read(e, path, (size_t)1 << 30, LM_MEDIA, &bytes, &size);
    size_t n = bytes ? kept((const char *)bytes, t->step) : 0;
    const char *text = n ? (const char *)bytes : header;
    if (!n) n = strlen(header);
    lm_file_writer *w = NULL;
    if (s == LM_OK) s = lm_file_create(e, path, LM_MEDIA, &w);
    if (s == LM_OK) s = lm_file_append(e, w, text, n);
    if (s == LM_OK)
        s = lm_file_commit(e, &w);
    else
        lm_file_discard(&w);
    lm_free(bytes);
    lm_free(path);
    return s;
}

lm_status lm_metrics_cut(lm_error *e, const lm_trainer *t) {
    LM_TRY(cut(e, t, "metrics.csv", metrics_header));
    return t->cfg->explain_every ? cut(e, t, "explained.csv", explained_header) : LM_OK;
}
