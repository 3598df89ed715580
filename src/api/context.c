#include "api/done.h"

#include "base/memory.h"
#include "base/threads.h"
#include "devices/devices.h"
#include "media/media.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char *lumiere_version(void) {
    return LUMIERE_VERSION;
}

int lumiere_version_number(void) {
    return LUMIERE_VERSION_NUMBER;
}

lumiere_status lm_api_done(lumiere_context *c, lm_status status, const lm_error *e) {
    if (status == LM_OK)
        lm_error_clear(&c->error);
    else
        c->error = *e;
    return (lumiere_status)status;
}

static lm_status choose_precision(lm_error *e, lumiere_context *c, const char *name) {
    bool fast = c->device->fast_bf16;
    if (!name || !strcmp(name, "auto"))
        c->compute = fast ? LM_BF16 : LM_F32;
    else if (!strcmp(name, "fp32"))
        c->compute = LM_F32;
    else if (!strcmp(name, "bf16"))
        c->compute = LM_BF16;
    else
        return lm_fail(e, LM_USAGE, "precision \"%s\" is not known; auto, fp32 and bf16 are", name);
    snprintf(c->precision, sizeof c->precision, "%s",
             c->compute == LM_F32 ? "fp32" : (fast ? "bf16" : "bf16 storage, fp32 arithmetic on this processor"));
    return LM_OK;
}

lumiere_status lumiere_context_create(const lumiere_context_options *options, lumiere_context **out) {
    const lumiere_context_options none = {0}, *o = options ? options : &none;
    lumiere_context *c = *out = lm_alloc_zero(1, sizeof *c);
    if (!c) return LUMIERE_MEMORY;
    lm_error e = {0};
    lm_status status = o->threads >= 0 && o->threads <= 4096
                           ? LM_OK
                           : lm_fail(&e, LM_USAGE, "%d threads; 0 (all processors) to 4096 are possible", o->threads);
    int most = lm_processors(); // threads wait for each other by polling: more than can run at once only take time
    c->threads = o->threads > 0 && o->threads < most ? o->threads : most;
    if (status == LM_OK) status = lm_device_open(&e, o->device ? o->device : "cpu", c->threads, &c->device);
    if (status == LM_OK) status = choose_precision(&e, c, o->precision);
    if (status != LM_OK) lm_device_close(&c->device);
    return lm_api_done(c, status, &e);
}

void lumiere_context_free(lumiere_context **c) {
    if (!*c) return;
    lumiere_context_log(*c, LUMIERE_LOG_NONE, NULL, NULL); // models may live on
    lm_device_close(&(*c)->device);
    lm_free(*c);
    *c = NULL;
}

int lumiere_threads(const lumiere_context *c) {
    return c->threads;
}

const char *lumiere_error_message(const lumiere_context *c) {
    return c ? c->error.text : "no memory for a context";
}

const char *lumiere_device_summary(const lumiere_context *c) {
    return c->device ? c->device->summary : "no device";
}

const char *lumiere_precision(const lumiere_context *c) {
    return c->precision;
}

void lumiere_ffmpeg_silence(void) {
    lm_media_silence_ffmpeg();
}

void lumiere_string_free(char **s) {
    lm_free(*s);
    *s = NULL;
}

static_assert((int)LUMIERE_LOG_STEPS == LM_LOG_STEPS && (int)LUMIERE_LOG_DETAILS == LM_LOG_DETAILS, "the same levels");

static void hand_on_line(void *user, lm_log_level level, const char *line) {
    const lumiere_context *c = user;
    c->log(c->log_user, (lumiere_log_level)level, line);
}

void lumiere_context_log(lumiere_context *c, lumiere_log_level most,
                         void (*log)(void *user, lumiere_log_level level, const char *line), void *user) {
    c->log = log;
    c->log_user = user;
    if (c->device) lm_device_log(c->device, (lm_log_level)most, log ? hand_on_line : NULL, c);
}
