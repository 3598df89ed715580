// lumiere animate, inpaint, outpaint, cinemagraph and edit: a given picture or clip and a prompt to a file.
#include "making.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct settings {
    making_settings making;
    const char *input, *mask, *box, *pad, *fit, *background, *input_hash, *mask_hash;
    double feather, strength;
    bool no_composite, strength_given;
} settings;

#define AT(member) offsetof(settings, member)
static const option_row input_rows[] = {
    {"input", 'i', OPTION_TEXT, AT(input), "FILE", "the picture or clip (or as the first argument)", 0, 0, 0},
    {"fit", 0, OPTION_CHOICE, AT(fit), "crop|pad|stretch",
     "how an input of another size is fitted (default: crop), and a mask of another size than the input's", 0, 0, 0},
    {"background", 0, OPTION_TEXT, AT(background), "COLOUR",
     "under what is transparent and around --fit pad: #rrggbb, white or black (default: white)", 0, 0, 0},
    {"input-hash", 0, OPTION_TEXT, AT(input_hash), "HEX", "warn when the input is not the one of this hash", 0, 0, 0},
    {.name = NULL},
};
static const option_row composite_rows[] = {
    {"no-composite", 0, OPTION_FLAG, AT(no_composite), NULL,
     "show what the network made of the part that is kept, not that part itself", 0, 0, 0},
    {.name = NULL},
};
static const option_row edge_rows[] = {
    {"feather", 0, OPTION_NUMBER, AT(feather), "PIXELS",
     "of the input, over which what is kept blends into what is made (default: 0)", 0, 1000, 0},
    OPTION_SHARED(composite_rows),
    {.name = NULL},
};

static const option_row held_rows[] = {
    {"strength", 0, OPTION_NUMBER, AT(strength), "S",
     "how far to go from the picture, held: 0 (still) to 1 (from noise alone; default: 0.7); takes S of the steps", 0,
     1, AT(strength_given)},
    {.name = NULL},
};
static const option_row animate_rows[] = {
    OPTION_SHARED(held_rows), OPTION_SHARED(input_rows), OPTION_SHARED(composite_rows), OPTION_SHARED(making_rows),
    {.name = NULL},
};
static const option_row masked_rows[] = {
    {"mask", 0, OPTION_TEXT, AT(mask), "FILE", "picture, clip or folder of frames: white is made anew", 0, 0, 0},
    {"box", 0, OPTION_TEXT, AT(box), "X,Y,W,H", "what is made anew, in pixels of the input", 0, 0, 0},
    {"mask-hash", 0, OPTION_TEXT, AT(mask_hash), "HEX", "warn when the mask is not the one of this hash", 0, 0, 0},
    OPTION_SHARED(edge_rows),
    OPTION_SHARED(input_rows),
    OPTION_SHARED(making_rows),
    {.name = NULL},
};
static const option_row cinemagraph_rows[] = {
    OPTION_SHARED(held_rows),
    OPTION_SHARED(masked_rows),
    {.name = NULL},
};
static const option_row outpaint_rows[] = {
    {"pad", 0, OPTION_TEXT, AT(pad), "L,T,R,B", "how far to go beyond each side, in pixels of the input", 0, 0, 0},
    OPTION_SHARED(edge_rows),
    OPTION_SHARED(input_rows),
    OPTION_SHARED(making_rows),
    {.name = NULL},
};
static const option_row edit_rows[] = {
    {"strength", 0, OPTION_NUMBER, AT(strength), "S",
     "how far to go from the input: 0 (the input itself) to 1 (default: 0.6); takes S of the steps", 0, 1,
     AT(strength_given)},
    OPTION_SHARED(input_rows),
    OPTION_SHARED(making_rows),
    {.name = NULL},
};

// "a,b,c,d", whole numbers.
static int parse_four(const char *option, const char *text, int out[4]) {
    const char *p = text;
    for (int i = 0; i < 4; i++) {
        char *end;
        errno = 0;
        long v = strtol(p, &end, 10);
        if (end == p || errno || v < -1000000 || v > 1000000 || *end != (i < 3 ? ',' : 0))
            return complain(2, "--%s is \"%.40s\"; it must be four whole numbers, such as 8,8,32,16", option, text);
        out[i] = (int)v;
        p = end + 1;
    }
    return GO_ON;
}

static int parse_colour(const char *text, uint8_t out[3]) {
    if (!text || !strcasecmp(text, "white")) text = "#ffffff";
    if (!strcasecmp(text, "black")) text = "#000000";
    const char *digits = text + (*text == '#');
    if (strlen(digits) != 6 || strspn(digits, "0123456789abcdefABCDEF") != 6)
        return complain(2, "--background is \"%.40s\"; it must be #rrggbb, white or black", text);
    unsigned long rgb = strtoul(digits, NULL, 16);
    for (int i = 0; i < 3; i++) out[i] = (uint8_t)(rgb >> (16 - 8 * i));
    return GO_ON;
}

typedef struct inputs {
    const settings *s;
    uint8_t background[3];
    lumiere_box box;
    lumiere_clip *input, *mask;
} inputs;

static void warn_if_changed(const lumiere_clip *clip, const char *path, const char *hash) {
    char now[17];
    if (!hash) return;
    lumiere_clip_hash(clip, now);
    if (strcmp(hash, now)) complain(0, "%s is not what it was: its hash is %s, not %.40s", path, now, hash);
}

// How much of an input counts: the run's time and a second more, so that a clip which ends about there is read whole
// whatever its rate; of a picture its first frame.
static double seconds_of(const making *m, const lumiere_model *model) {
    const making_settings *s = m->settings;
    if (m->o.task == LUMIERE_ANIMATE || m->o.task == LUMIERE_CINEMAGRAPH) return 1e-6;
    double frames = s->frames ? s->frames : lumiere_model_default(model, "frames");
    return frames / (s->fps > 0 ? s->fps : lumiere_model_default(model, "fps")) + 1;
}

static int read_inputs(lumiere_context *c, const lumiere_model *model, making *m) {
    inputs *in = m->user;
    const settings *s = in->s;
    lumiere_status status = lumiere_clip_read_over(c, s->input, in->background, seconds_of(m, model), &in->input);
    if (status == LUMIERE_OK && s->mask) status = lumiere_clip_read(c, s->mask, &in->mask);
    if (status != LUMIERE_OK) return report_failure(c, status);
    warn_if_changed(in->input, s->input, s->input_hash);
    if (in->mask) warn_if_changed(in->mask, s->mask, s->mask_hash);
    m->o.input = in->input;
    m->o.mask = in->mask;
    return GO_ON;
}

static int fill_task(const settings *s, inputs *in, lumiere_task_options *o) {
    static const char *const fits[] = {
        [LUMIERE_FIT_CROP] = "crop", [LUMIERE_FIT_PAD] = "pad", [LUMIERE_FIT_STRETCH] = "stretch"};
    int numbers[4];
    int code = parse_colour(s->background, in->background);
    for (int i = 1; i < 4 && s->fit; i++)
        if (!strcmp(s->fit, fits[i])) o->fit = (lumiere_fit)i;
    memcpy(o->background, in->background, sizeof o->background);
    o->background_given = true;
    o->feather = s->feather;
    o->strength = s->strength;
    o->strength_set = s->strength_given;
    o->no_composite = s->no_composite;
    if (code == GO_ON && s->box) {
        code = parse_four("box", s->box, numbers);
        in->box = (lumiere_box){numbers[0], numbers[1], numbers[2], numbers[3]};
        o->box = &in->box;
    }
    if (code == GO_ON && s->pad) {
        code = parse_four("pad", s->pad, numbers);
        o->pad = (lumiere_sides){numbers[0], numbers[1], numbers[2], numbers[3]};
    }
    return code;
}

// The arguments are the input and the prompt, but for those that options name.
static int take_arguments(const command *c, settings *s, const char *const *arguments) {
    int n = 0;
    if (!s->input) s->input = arguments[n++];
    if (!s->input) return complain(2, "%s: no input; name a picture or clip", c->name);
    if (!s->making.prompt) s->making.prompt = arguments[n++];
    if (n < 2 && arguments[n]) return complain(2, "%s: one argument too many: \"%.60s\"", c->name, arguments[n]);
    if (!s->making.prompt || !*s->making.prompt)
        return complain(2, "%s: no prompt; try: lumiere %s %.60s \"a bee, moving from left to right\"", c->name,
                        c->name, s->input);
    return GO_ON;
}

static int check_task(const settings *s, lumiere_task task) {
    bool masked = task == LUMIERE_INPAINT || task == LUMIERE_CINEMAGRAPH;
    if (masked && s->mask && s->box) return complain(2, "both --mask and --box; give one");
    if (masked && !s->mask && !s->box)
        return complain(2, "%s: what is to be made anew? name a --mask (white is made anew) or a --box x,y,w,h",
                        lumiere_task_name(task));
    if (task == LUMIERE_OUTPAINT && !s->pad)
        return complain(2, "outpaint: how far beyond the input? give --pad l,t,r,b in pixels of the input");
    return GO_ON;
}

static json_t *recipe_members(const settings *s) {
    json_t *object = json_pack("{s:s}", "input", s->input);
    if (object && s->mask) json_object_set_new(object, "mask", json_string(s->mask));
    return object;
}

static int run_task(const command *c, lumiere_task task, int argc, char **argv) {
    settings s = {.making = MAKING_DEFAULTS};
    inputs in = {.s = &s};
    making m = {.settings = &s.making, .o = {.task = task}, .read_inputs = read_inputs, .user = &in};
    const char *arguments[2];
    int code = options_parse(c, argc, argv, &s, arguments);
    if (code == GO_ON) code = take_arguments(c, &s, arguments);
    if (code == GO_ON) code = check_task(&s, task);
    if (code == GO_ON) code = fill_task(&s, &in, &m.o);
    if (code != GO_ON) return code;
    m.recipe = recipe_members(&s);
    m.input = s.input;
    m.mask = s.mask;
    code = making_run(&m);
    lumiere_clip_free(&in.input);
    lumiere_clip_free(&in.mask);
    json_decref(m.recipe);
    return code;
}

#define KEPT                                                                                                           \
    "The input may be any picture, clip or folder of frames; how it was fitted to the run's size, length and rate "    \
    "is\n"                                                                                                             \
    "printed. What is kept of it is put over the result exactly."

#define TASK(name, NAME, arguments, summary, details, rows)                                                            \
    static int run_##name(const command *c, int argc, char **argv) {                                                   \
        return run_task(c, LUMIERE_##NAME, argc, argv);                                                                \
    }                                                                                                                  \
    const command command_##name = {#name, arguments, summary, details, rows, 2, run_##name}

TASK(animate, ANIMATE, "IMAGE PROMPT", "Lets a picture move: it is the first frame.", KEPT, animate_rows);
TASK(inpaint, INPAINT, "CLIP PROMPT", "Makes a part of a clip anew, by a mask or box.", KEPT, masked_rows);
TASK(outpaint, OUTPAINT, "CLIP PROMPT", "Makes what lies around a clip.", KEPT, outpaint_rows);
TASK(cinemagraph, CINEMAGRAPH, "IMAGE PROMPT", "Lets a part of a picture move, by a mask or box.", KEPT,
     cinemagraph_rows);
TASK(edit, EDIT, "CLIP PROMPT", "Makes a clip again, nearer to another prompt.",
     "SDEdit: the clip is made noisy, the more so the greater the strength, and denoised by the prompt.", edit_rows);
