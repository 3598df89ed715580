// Models of the public interface.
#include "pipeline/context.h"

#include "api/done.h"

static lumiere_status open_any(lumiere_context *c, const char *folder, bool loaded, lumiere_model **out) {
    lm_error e = {0};
    return lm_api_done(c, lm_model_open(&e, c, folder, loaded, out), &e);
}

lumiere_status lumiere_model_open(lumiere_context *c, const char *folder, lumiere_model **out) {
    return open_any(c, folder, true, out);
}

lumiere_status lumiere_model_open_unloaded(lumiere_context *c, const char *folder, lumiere_model **out) {
    return open_any(c, folder, false, out);
}

void lumiere_model_free(lumiere_model **m) {
    lm_model_free(m);
}

const char *lumiere_model_name(const lumiere_model *m) {
    return lm_model_folder_name(m->folder);
}

bool lumiere_model_upscales(const lumiere_model *m) {
    return m->ssr != NULL;
}

const char *lumiere_model_hash(const lumiere_model *m) {
    return lm_model_hash(NULL, m) == LM_OK ? m->hash : "";
}

double lumiere_model_default(const lumiere_model *m, const char *key) {
    return lm_model_default(m, key);
}
