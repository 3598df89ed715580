// What a run will need and take, before it starts.
#include "pipeline/context.h"

#include "base/memory.h"
#include "net/machine_speed.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// The text from byte lost on, cut at a word's end when it is longer than out.
static void copy_lost_words(const char *text, int64_t lost, char *out, size_t size) {
    out[0] = 0;
    if (lost < 0) return;
    text += lost;
    size_t n = strlen(text), most = size - sizeof "...";
    if (n < size) {
        memcpy(out, text, n + 1);
        return;
    }
    for (n = most; n > 0 && text[n] != ' '; n--) {
    }
    if (n == 0) // one endless word: whole characters at least
        for (n = most; n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80; n--) {
        }
    memcpy(out, text, n);
    strcpy(out + n, "...");
}

lm_status lm_prompt_check(lm_error *e, const lumiere_model *m, const char *text, char *lost_words, size_t size) {
    int64_t lost = -1;
    LM_TRY(lm_text_encoder_read(e, m->text, text, &lost));
    copy_lost_words(text, lost, lost_words, size);
    return LM_OK;
}

uint64_t lm_task_buffer_bytes(const lumiere_model *m, const task *t) {
    const request *r = &t->r;
    uint64_t pixels = (uint64_t)r->frames * (uint64_t)r->width * (uint64_t)r->height;
    uint64_t window = (uint64_t)r->run_frames * (uint64_t)r->run_width * (uint64_t)r->run_height * 3 * sizeof(float);
    uint64_t windows = r->loop ? 2 * window : r->windows.count > 1 ? window : 0;
    return lm_run_buffer_bytes(m, r->sample_frames > r->run_frames ? r->sample_frames : r->run_frames, r->run_width,
                               r->run_height) +
           (t->o->input ? 4 * pixels + (uint64_t)r->run_width * (uint64_t)r->run_height * 4 * sizeof(float) : 0) +
           windows;
}

lm_status lm_task_check_buffers(lm_error *e, const lumiere_model *m, const task *t) {
    double need = (double)lm_task_buffer_bytes(m, t), have = (double)lm_memory_available();
    if (need <= have) return LM_OK;
    int frames = (int)(0.8 * have / need * t->r.frames);
    return lm_fail(e, LM_MEMORY,
                   "%d frames at %dx%d need about %.2f GB beside the network and %.2f GB are free; %d frames fit",
                   t->r.frames, t->r.width, t->r.height, need / 1e9, have / 1e9, frames < 1 ? 1 : frames);
}

lm_status lm_estimate_seconds(lm_error *e, lumiere_context *c, const lumiere_model *m, double flops, double *out) {
    double speed = c->flops_per_second;
    if (m->weights) LM_TRY(lm_context_speed(e, c, &speed));
    *out = speed > 0 ? lm_network_seconds(flops, speed) : (double)NAN;
    return LM_OK;
}
