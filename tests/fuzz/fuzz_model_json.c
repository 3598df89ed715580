// Any bytes as model.json: refused with a message, or a model whose parts lie in its folder.
#include "store/model_folder.h"

#include <stdlib.h>
#include <string.h>

static void require(int condition) {
    if (!condition) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    lm_error e = {0};
    lm_model_folder *m;
    lm_status status = lm_model_folder_parse(&e, "model", input, size, &m);
    require((status == LM_OK) == (m != NULL) && status == e.status);
    if (!m) {
        require(status == LM_MODEL && e.text[0]);
        return 0;
    }
    require(lm_model_folder_name(m)[0] && lm_model_folder_version(m)[0] && lm_model_folder_licence(m)[0]);
    static const char *const parts[] = {"text", "base", "ssr"};
    for (int i = 0; i < 3; i++) {
        const char *folder = lm_model_folder_part(m, parts[i]);
        require(!folder || (!strncmp(folder, "model/", 6) && !strstr(folder, "/../")));
    }
    lm_model_folder_default(m, "width", 64);
    require(lm_model_folder_default_text(m, "sampler", "ddim") != NULL);
    lm_model_folder_free(&m);
    return 0;
}
