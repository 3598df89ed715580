// Weights at birth.
#include "base/hash.h"
#include "base/random.h"
#include "graph/graph.h"

#include <math.h>
#include <string.h>

void lm_param_born(const lm_graph *g, int i, uint64_t seed, float *block) {
    const lm_param_info *p = lm_graph_param(g, i);
    float *w = block + p->offset;
    int64_t n = lm_desc_count(&p->desc);
    lm_stream s = {
        .seed = seed, .purpose = LM_FOR_INIT, .item = lm_hash32_more(LM_HASH32_START, p->name, strlen(p->name))};
    switch (p->init.kind) {
    case LM_INIT_ZERO:
    case LM_INIT_DIRAC:
    case LM_INIT_ONE:
        for (int64_t k = 0; k < n; k++) w[k] = p->init.kind == LM_INIT_ONE;
        break;
    case LM_INIT_FAN_IN: {
        double bound = 1 / sqrt((double)p->init.value);
        for (int64_t k = 0; k < n; k++) w[k] = (float)(bound * (2 * lm_stream_uniform(&s) - 1));
        break;
    }
    case LM_INIT_NORMAL:
        lm_random_normal(w, n, seed, LM_FOR_INIT, s.item, 0, 0);
        for (int64_t k = 0; k < n; k++) w[k] *= p->init.value;
        break;
    }
    if (p->init.kind == LM_INIT_DIRAC) // [O,I,3]: every channel passes its middle frame on
        for (int64_t c = 0; c < p->desc.dim[0]; c++)
            w[(c * p->desc.dim[1] + c) * p->desc.dim[2] + p->desc.dim[2] / 2] = 1;
}
