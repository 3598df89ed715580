// Where a public enumeration is cast to a room's own, the two must say the same.
#include "pipeline/context.h"

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours " is not " #theirs)

SAME(LUMIERE_OK, LM_OK); // context.c
SAME(LUMIERE_FAILED, LM_FAILED);
SAME(LUMIERE_USAGE, LM_USAGE);
SAME(LUMIERE_MODEL, LM_MODEL);
SAME(LUMIERE_MEMORY, LM_MEMORY);
SAME(LUMIERE_MEDIA, LM_MEDIA);
SAME(LUMIERE_CANCELLED, LM_CANCELLED);
