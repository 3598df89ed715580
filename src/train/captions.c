#include "train/captions.h"

#include "base/memory.h"

#include <string.h>

enum { WORDINGS = 5 };

// Other words for the motions, in the order of lm_motion_names.
static const char *const motion_words[LM_MOTIONS][WORDINGS] = {
    {"", "", "", "", ""},
    {"going from left to right", "crossing the picture from the left", "gliding to the right", "moving rightwards",
     "travelling from the left side to the right side"},
    {"going from right to left", "crossing the picture from the right", "gliding to the left", "moving leftwards",
     "travelling from the right side to the left side"},
    {"rising", "moving upwards", "going up from below", "ascending", "lifting off from the bottom"},
    {"falling", "moving downwards", "coming down from above", "descending", "tumbling from the top"},
    {"bouncing", "bouncing like a ball", "leaping up and down", "springing up and down", "bobbing up and down"},
    {"rotating clockwise", "turning clockwise", "revolving clockwise", "spinning to the right", "whirling clockwise"},
    {"rotating counterclockwise", "turning counterclockwise", "revolving counterclockwise", "spinning to the left",
     "whirling counterclockwise"},
    {"growing", "getting bigger", "becoming larger", "coming closer", "expanding"},
    {"shrinking", "becoming smaller", "diminishing", "going away into the distance", "contracting"},
    {"swinging", "swinging left and right", "swaying from side to side", "rocking from side to side",
     "tilting left and right"},
    {"going around in a circle", "moving around in circles", "orbiting the middle", "travelling along a circle",
     "flying in circles"},
    {"zigzagging", "zigzagging to the right", "moving in a zigzag", "going along a zigzag line",
     "wobbling across from left to right"},
};

static const char *const color_words[] = {"with a %s background", "%s background", "in front of a %s background",
                                          "the background is %s"};
// With the caption as it is, and without its article.
static const char *const subject_words[] = {"a drawing of %s", "an emoji of %s", "a cartoon of %s", "there is %s"};
static const char *const bare_words[] = {"%s", "the %s", "one %s", "a cute %s", "a picture of one %s"};
enum {
    COLOR_WORDS = sizeof color_words / sizeof *color_words,
    SUBJECT_WORDS = sizeof subject_words / sizeof *subject_words,
    BARE_WORDS = sizeof bare_words / sizeof *bare_words,
};

static const char *without_article(const char *words) {
    return !strncmp(words, "a ", 2) ? words + 2 : !strncmp(words, "an ", 3) ? words + 3 : NULL;
}

static char *reword_subject(const char *words, lm_stream *random) {
    const char *bare = without_article(words);
    int i = (int)lm_stream_below(random, bare ? SUBJECT_WORDS + BARE_WORDS : SUBJECT_WORDS);
    return i < SUBJECT_WORDS ? lm_format(subject_words[i], words) : lm_format(bare_words[i - SUBJECT_WORDS], bare);
}

// part: subject, motion, colour; "" ones are left out. In any order where they are shuffled.
static char *join(char *const part[3], bool shuffled, lm_stream *random) {
    int order[3] = {0, 1, 2};
    for (int i = 2; i > 0 && shuffled; i--) {
        int j = (int)lm_stream_below(random, i + 1), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
    const char *text[3];
    bool any = false, comma[3];
    for (int i = 0; i < 3; i++) {
        text[i] = part[order[i]];
        comma[i] = any && *text[i];
        any |= *text[i] != 0;
    }
    return lm_format("%s%s%s%s%s", text[0], comma[1] ? ", " : "", text[1], comma[2] ? ", " : "", text[2]);
}

static char *reword(const char *words, const char *moves, int motion, const char *color, lm_stream *random) {
    const char *moved = motion ? motion_words[motion][lm_stream_below(random, WORDINGS)] : moves;
    char *part[3] = {reword_subject(words, random), lm_strdup(moved),
                     color ? lm_format(color_words[lm_stream_below(random, COLOR_WORDS)], color) : lm_strdup("")};
    char *text = NULL;
    if (part[0] && part[1] && part[2]) text = join(part, lm_stream_uniform(random) < 0.5, random);
    for (int i = 0; i < 3; i++) lm_free(part[i]);
    return text;
}

char *lm_caption_compose(const lm_sprite *sprite, int motion, int color, const lm_caption_shares *shares,
                         lm_stream *random) {
    bool any = shares->caption == 0 || lm_stream_uniform(random) >= shares->caption;
    const char *words = sprite->captions[any ? lm_stream_below(random, sprite->caption_count) : 0];
    const char *moves = lm_motion_names[motion];
    if (motion == 0 && sprite->frames > 1 && sprite->motion && lm_stream_uniform(random) < 0.5 &&
        !strstr(words, sprite->motion))
        moves = sprite->motion;
    bool say_color = color != 0 || lm_stream_uniform(random) < 0.3;
    if (shares->wording > 0 && lm_stream_uniform(random) < shares->wording)
        return reword(words, moves, motion, say_color ? lm_colors[color].name : NULL, random);
    return lm_format("%s%s%s%s%s%s", words, *moves ? ", " : "", moves, say_color ? ", on a " : "",
                     say_color ? lm_colors[color].name : "", say_color ? " background" : "");
}
