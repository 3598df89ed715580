// Pictures and clips: whatever the bytes are, a reader gives frames within the limits or an error of its own; the same
// for what is said of them without reading them, and for the comment in them.
#include "base/memory.h"
#include "media/coding.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    lm_media_silence_ffmpeg();
    lm_error e = {0};
    lm_clip c;
    lm_status status = lm_media_read_memory(&e, "input", data, size, 4, &c);
    if (status == LM_OK) {
        bool fits = c.frames >= 1 && c.frames <= 4 && c.width <= LM_MAX_SIDE && c.height <= LM_MAX_SIDE && c.data &&
                    (c.channels == 3 || c.channels == 4);
        if (!fits || e.status != LM_OK) abort();
    } else if (c.data || e.status != status || !e.text[0])
        abort();
    lm_clip_free(&c);
    lm_error_clear(&e);
    lm_clip_facts f;
    status = lm_media_look_memory(&e, "input", data, size, &f);
    if (status == LM_OK ? e.status != LM_OK || f.frames < 1 || f.width < 1 || f.width > LM_MAX_SIDE || !(f.seconds >= 0)
                        : e.status != status || !e.text[0])
        abort();
    lm_error_clear(&e);
    char *comment;
    if (lm_recipe_find(&e, "input", data, size, &comment) == LM_OK ? e.status != LM_OK : comment || !e.text[0]) abort();
    lm_free(comment);
    return 0;
}
