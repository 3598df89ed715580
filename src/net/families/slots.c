#include "net/families/slots.h"

#include "base/memory.h"

#include <string.h>

lm_slot lm_param_slot(const lm_param_info *p) {
    lm_slot slot = {.name = p->name, .rank = p->desc.rank, .offset = p->offset};
    memcpy(slot.dim, p->desc.dim, sizeof slot.dim);
    return slot;
}

lm_status lm_graph_slots(lm_error *e, const lm_graph *g, lm_slot **out) {
    int count = lm_graph_params(g);
    lm_slot *slots = *out = lm_alloc((size_t)count, sizeof *slots);
    if (!slots) return lm_fail_memory(e, (double)count * sizeof *slots, "the list of weights");
    for (int i = 0; i < count; i++) slots[i] = lm_param_slot(lm_graph_param(g, i));
    return LM_OK;
}
