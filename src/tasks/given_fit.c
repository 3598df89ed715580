#include "tasks/given.h"

lm_fit lm_given_fit(const lm_given_options *o) {
    return lm_fit_make(o->fit, o->input->width + o->left + o->right, o->input->height + o->top + o->bottom, o->width,
                       o->height);
}
