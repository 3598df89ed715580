// metrics.csv: a row every log_every steps and at each validation.
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

static const char header[] = "step,samples,seconds,loss,learning_rate,gradient_norm,validation_loss,skipped\n";

lm_status metrics_append(lm_error *e, const lm_trainer *t, const metrics_row *r) {
    char *path = trainer_path(t, "metrics.csv");
    if (!path) return lm_fail_memory(e, 1e3, "metrics.csv");
    FILE *f = fopen(path, "ae");
    char validation[400] = "", line[1600]; // room for the longest numbers
    if (r->validated && isfinite(r->validation))
        lm_text_format(validation, sizeof validation, "%.6f", r->validation);
    else if (r->validated)
        strcpy(validation, "nan");
    lm_text_format(line, sizeof line, "%lld,%lld,%.1f,%.6f,%.6g,%.4f,%s,%lld\n", (long long)r->step,
                   (long long)r->samples, r->seconds, r->loss, r->rate, r->grad_norm, validation,
                   (long long)r->skipped);
    int n = -1;
    if (f) {
        n = fputs(line, f);
        if (fclose(f)) n = -1;
    }
    lm_status s = n < 0 ? lm_fail(e, LM_MEDIA, "can't write %s: %s", path, strerror(errno)) : LM_OK;
    lm_free(path);
    return s;
}

// Length of the part to keep: rows up to the trainer's step, whole lines only.
static size_t kept(const char *text, int64_t step) {
    const char *line = text, *end;
    while ((end = strchr(line, '\n')) && (line == text || strtoll(line, NULL, 10) <= step)) line = end + 1;
    return (size_t)(line - text);
}

lm_status metrics_cut(lm_error *e, const lm_trainer *t) {
    char *path = trainer_path(t, "metrics.csv");
    if (!path) return lm_fail_memory(e, 1e3, "metrics.csv");
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
