// Any bytes as a run file: refused with a message, or settings within their bounds.
#include "train/run_config.h"

#include <stdlib.h>

static void require(int condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    lm_error e = {0};
    lm_run_config c;
    lm_status status = lm_run_config_parse(&e, "run.yaml", input, size, &c);
    require(status == e.status);
    if (status == LM_OK) {
        require(c.stage && c.text && c.out && c.init && c.config && c.style);
        require(c.steps >= 1 && c.batch >= 1 && c.size >= 8 && c.frames >= 1 && c.frames <= 80);
        require(c.learning_rate >= 0 && c.learning_rate <= 10 && c.cooldown >= 0 && c.cooldown <= 1);
        require(c.data.count <= LM_RUN_LIST && c.sample_prompts.count <= LM_RUN_LIST);
        for (int i = 0; i < c.data.count; i++) require(c.data.at[i] != NULL);
    } else {
        require(status == LM_USAGE && e.text[0]);
    }
    lm_run_config_free(&c);
    return 0;
}
