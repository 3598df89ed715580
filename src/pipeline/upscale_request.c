// Options of super-resolution: defaults, checks, windows, and the plan of one window.
#include "pipeline/upscale.h"

#include "base/arithmetic.h"

#include "base/memory.h"
#include "diffusion/cascade.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_STEPS = 1000, MAX_PROMPT_BYTES = 4096, TILE = 512, TILE_OVERLAP = 32, WINDOW_OVERLAP = 2, USUAL_FPS = 16 };

void lm_upscaler_free(upscaler **u) {
    if (!*u) return;
    lm_weights_let_go(&(*u)->weights);
    lm_network_free(&(*u)->network);
    lm_free(*u);
    *u = NULL;
}

// What the output's sides are rounded up to: whole pixels of the input as well.
static int side_multiple(const lm_unet_config *c) {
    int side = lm_unet_size_multiple(c), n = side;
    while (n % LM_ENLARGEMENT) n += side;
    return n;
}

static lm_status resolve_windows(lm_error *e, const lumiere_model *m, const lm_upscale_options *o, upscale_request *r) {
    int most = m->ssr->config.max_frames;
    r->window = o->window ? o->window : most;
    if (r->window < 1 || r->window > most)
        return lm_fail(e, LM_USAGE, "windows of %d frames; this model's network takes 1 to %d", r->window, most);
    int overlap = WINDOW_OVERLAP < r->window ? WINDOW_OVERLAP : r->window - 1;
    r->overlap = o->overlap || o->overlap_set ? o->overlap : overlap;
    if (r->overlap < 0 || r->overlap >= r->window)
        return lm_fail(e, LM_USAGE, "windows of %d frames that overlap by %d; 0 to %d are possible", r->window,
                       r->overlap, r->window - 1);
    return LM_OK;
}

static lm_status resolve_tiles(lm_error *e, const lumiere_model *m, const lm_upscale_options *o, upscale_request *r) {
    int side = side_multiple(&m->ssr->config);
    r->tile = o->tile ? o->tile : (int)lm_round_up(TILE, side);
    if (r->tile < side || r->tile > LM_MAX_SIDE || r->tile % side)
        return lm_fail(e, LM_USAGE, "tiles of %d pixels; multiples of %d up to %d are possible", r->tile, side,
                       LM_MAX_SIDE);
    int overlap = (int)lm_round_up(TILE_OVERLAP, side);
    r->tile_overlap = o->tile_overlap || o->tile_overlap_set ? o->tile_overlap
                      : overlap < r->tile                    ? overlap
                                                             : r->tile - side;
    if (r->tile_overlap < 0 || r->tile_overlap >= r->tile || r->tile_overlap % side)
        return lm_fail(e, LM_USAGE, "tiles of %d pixels that overlap by %d; multiples of %d below %d are possible",
                       r->tile, r->tile_overlap, side, r->tile);
    return LM_OK;
}

static lm_status resolve_sampling(lm_error *e, const lumiere_model *m, const lm_upscale_options *o,
                                  upscale_request *r) {
    if (strlen(r->prompt) > MAX_PROMPT_BYTES)
        return lm_fail(e, LM_USAGE, "the prompt has %zu bytes; at most %d are possible", strlen(r->prompt),
                       MAX_PROMPT_BYTES);
    if (r->seed > INT64_MAX) return lm_fail(e, LM_USAGE, "the seed must be below 2^63");
    double steps = o->steps ? o->steps : lm_model_folder_default(m->folder, "upscale_steps", 8);
    if (!(steps >= 1 && steps <= MAX_STEPS && steps == floor(steps)))
        return lm_fail(e, LM_USAGE, "steps is %.10g; it must be a whole number from 1 to %d", steps, MAX_STEPS);
    r->steps = (int)steps;
    bool given = o->noise_level != 0 || o->noise_level_set;
    r->noise_level = given ? o->noise_level : lm_model_folder_default(m->folder, "upscale_noise", 0);
    if (!(r->noise_level >= 0 && r->noise_level <= LM_MOST_LEVEL))
        return lm_fail(e, LM_USAGE, "the noise level is %g; it must be from 0 to %g", r->noise_level, LM_MOST_LEVEL);
    return LM_OK;
}

lm_status lm_upscale_resolve(lm_error *e, const lumiere_model *m, const lm_upscale_options *o, int frames, int width,
                             int height, upscale_request *out) {
    upscale_request *r = out;
    if (!m->ssr)
        return lm_fail(e, LM_MODEL, "%s: this model has no super-resolution network; model.json names no part \"ssr\"",
                       lm_model_folder_path(m->folder));
    *r = (upscale_request){.prompt = o->prompt ? o->prompt : "", .seed = o->seed, .clip = o->clip, .frames = frames};
    if (frames < 1 || frames > LM_MAX_READ_FRAMES)
        return lm_fail(e, LM_USAGE, "%d frames to enlarge; 1 to %d are possible", frames, LM_MAX_READ_FRAMES);
    const int most = LM_MAX_SIDE / LM_ENLARGEMENT;
    if (width < 1 || height < 1 || width > most || height > most)
        return lm_fail(e, LM_USAGE, "a clip of %dx%d to enlarge; from 1 to %d pixels a side are possible", width,
                       height, most);
    if (o->fps != 0 && !(o->fps >= 0.01 && o->fps <= 1000))
        return lm_fail(e, LM_USAGE, "%g frames a second; 0.01 to 1000 are possible", o->fps);
    r->fps = o->fps;
    LM_TRY(resolve_sampling(e, m, o, r));
    LM_TRY(resolve_windows(e, m, o, r));
    LM_TRY(resolve_tiles(e, m, o, r));
    int side = side_multiple(&m->ssr->config);
    r->width = LM_ENLARGEMENT * width;
    r->height = LM_ENLARGEMENT * height;
    r->run_width = (int)lm_round_up(r->width, side);
    r->run_height = (int)lm_round_up(r->height, side);
    r->grid = (lm_grid){lm_windows_make(frames, r->window, r->overlap),
                        lm_windows_make(r->run_height, r->tile, r->tile_overlap),
                        lm_windows_make(r->run_width, r->tile, r->tile_overlap), 3};
    return LM_OK;
}

double lm_upscale_rate(const upscale_request *r, const lm_clip *in) {
    return r->fps > 0 ? r->fps : in->fps > 0 ? in->fps : in->frames > 1 ? USUAL_FPS : 0;
}

int64_t lm_upscale_evaluations(const upscale_request *r) {
    return (int64_t)r->steps * r->grid.time.count * r->grid.rows.count * r->grid.columns.count;
}

uint64_t lm_upscale_buffer_bytes(const upscale_request *r, int threads) {
    uint64_t pixels = (uint64_t)r->run_width * (uint64_t)r->run_height, rgb = 3 * sizeof(float);
    uint64_t noisy = (uint64_t)r->frames * pixels * rgb;
    uint64_t sum_and_condition = 2 * (uint64_t)r->grid.time.window * pixels * rgb;
    uint64_t tile = 2 * (uint64_t)lm_grid_floats(&r->grid) * sizeof(float); // and its condition
    uint64_t low = (uint64_t)threads * 2 * (pixels / (LM_ENLARGEMENT * LM_ENLARGEMENT)) * rgb;
    uint64_t made = (uint64_t)r->frames * (uint64_t)r->width * (uint64_t)r->height * 3;
    return noisy + sum_and_condition + tile + low + made;
}

static lm_net_use use_of(const lumiere_model *m, const lm_grid *g) {
    return (lm_net_use){.shape = {1, g->time.window, g->rows.window, g->columns.window, m->ssr->config.text_tokens}};
}

lm_net_use lm_upscale_use(const lumiere_model *m, const upscale_request *r) {
    return use_of(m, &r->grid);
}

lm_status lm_upscale_cost(lm_error *e, lumiere_model *m, const upscale_request *r, lm_net_cost *out) {
    const lm_net_use use = use_of(m, &r->grid);
    return lm_network_cost(e, m->ssr->network, &use, out);
}

// Smaller tiles that make r fit in have bytes, or else the smallest and a number of frames that fit; *tile 0: nothing.
static void find_fitting(lumiere_model *m, const upscale_request *r, int threads, double have, int *tile, int *frames) {
    int side = side_multiple(&m->ssr->config);
    *tile = 0;
    for (int size = r->tile / 2 / side * side; size >= 64 && size >= side; size = size / 2 / side * side) {
        upscale_request s = *r;
        lm_error ignored = {0};
        lm_net_cost cost;
        int overlap = r->tile_overlap < size ? r->tile_overlap : size - side;
        s.grid.rows = lm_windows_make(r->run_height, size, overlap);
        s.grid.columns = lm_windows_make(r->run_width, size, overlap);
        if (lm_upscale_cost(&ignored, m, &s, &cost) != LM_OK) return;
        double room = have - (double)cost.bytes - (double)lm_upscale_buffer_bytes(&s, threads);
        double frame = 15.0 * r->run_width * r->run_height, less = ceil(fmax(-room, 0) / frame);
        // with fewer frames than a window's all of this would be another sum
        bool fits = less < r->frames && (less == 0 || r->frames - less >= s.grid.time.window);
        *tile = fits ? size : 0;
        *frames = fits ? r->frames - (int)less : 0;
        if (fits && less == 0) return;
    }
}

static lm_status refuse(lm_error *e, lumiere_model *m, const upscale_request *r, int threads, double need,
                        double have) {
    int tile, frames;
    char advice[80] = "nothing fits";
    find_fitting(m, r, threads, 0.8 * have, &tile, &frames);
    if (tile && frames == r->frames)
        snprintf(advice, sizeof advice, "tiles of %d pixels (--tile) fit", tile);
    else if (tile)
        snprintf(advice, sizeof advice, "%d frames in tiles of %d pixels (--tile) fit", frames, tile);
    return lm_fail(e, LM_MEMORY,
                   "%d frames enlarged to %dx%d in tiles of %d need about %.2f GB beside the weights and %.2f GB are "
                   "free; %s",
                   r->frames, r->width, r->height, r->tile, need / 1e9, have / 1e9, advice);
}

static lm_status check(lm_error *e, const lumiere_context *c, lumiere_model *m, const upscale_request *r,
                       double share) {
    const lm_net_use use = use_of(m, &r->grid);
    lm_network *n = m->ssr->network;
    lm_net_cost cost = {0};
    const bool made = lm_network_has(n, &use);
    if (!made) LM_TRY(lm_network_cost(e, n, &use, &cost));
    const double have = (double)(lm_memory_available() + (made ? 0 : lm_network_idle_bytes(n)));
    const double need = (double)(cost.bytes + lm_upscale_buffer_bytes(r, c->threads));
    return need > share * have ? refuse(e, m, r, c->threads, need, have) : LM_OK;
}

lm_status lm_upscale_check(lm_error *e, const lumiere_context *c, lumiere_model *m, const upscale_request *r) {
    return check(e, c, m, r, 1);
}

lm_status lm_upscale_load(lm_error *e, lumiere_model *m) {
    upscaler *u = m->ssr;
    return u->weights ? LM_OK : lm_network_weights(e, u->network, "", NULL, NULL, &u->weights);
}

lm_status lm_upscale_prepare(lm_error *e, const lumiere_context *c, lumiere_model *m, const upscale_request *r) {
    upscaler *u = m->ssr;
    const lm_net_use use = use_of(m, &r->grid);
    lm_error why = {0};
    LM_TRY(lm_upscale_load(e, m));
    LM_TRY(check(e, c, m, r, 1));
    lm_status status = lm_network_prepare(&why, u->network, &use);
    if (status == LM_OK) return check(e, c, m, r, 1); // beside the plan
    if (status == LM_MEMORY) LM_TRY(check(e, c, m, r, 0.8));
    return lm_fail(e, status, "%s", why.text);
}
