// Any bytes as a network's config.json: refused with a message, or a configuration that survives being written and
// read.
#include "base/memory.h"
#include "net/families/unet.h"

#include <stdlib.h>
#include <string.h>

static void require(int condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    lm_error e = {0};
    lm_unet_config c, again;
    if (lm_unet_config_parse(&e, "config.json", (const char *)input, size, &c) != LM_OK) {
        require(e.status == LM_MODEL && e.text[0]);
        return 0;
    }
    require(lm_unet_config_check(&e, &c) == LM_OK && lm_unet_size_multiple(&c) > 0 && lm_unet_frame_multiple(&c) > 0);
    char *json = lm_unet_config_json(&c);
    if (!json) return 0;
    require(lm_unet_config_parse(&e, "config.json", json, strlen(json), &again) == LM_OK);
    require(again.levels == c.levels && !memcmp(again.channels, c.channels, sizeof c.channels) &&
            again.video == c.video);
    lm_free(json);
    return 0;
}
