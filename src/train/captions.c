#include "train/captions.h"

#include "base/memory.h"

#include <string.h>

char *lm_caption_compose(const lm_sprite *sprite, int motion, int color, lm_stream *random) {
    const char *words = sprite->captions[lm_stream_below(random, sprite->caption_count)];
    const char *moves = lm_motion_names[motion];
    if (motion == 0 && sprite->frames > 1 && sprite->motion && lm_stream_uniform(random) < 0.5 &&
        !strstr(words, sprite->motion))
        moves = sprite->motion;
    bool say_color = color != 0 || lm_stream_uniform(random) < 0.3;
    return lm_format("%s%s%s%s%s%s", words, *moves ? ", " : "", moves, say_color ? ", on a " : "",
                     say_color ? lm_colors[color].name : "", say_color ? " background" : "");
}
