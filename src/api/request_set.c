// A request made, given its settings and inputs, and read.
#include "api/request_handle.h"

#include "base/memory.h"
#include "store/file_digest.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

lumiere_status lm_request_done(lumiere_request *r, lm_status status, const lm_error *e) {
    if (status == LM_OK)
        lm_error_clear(&r->error);
    else
        r->error = *e;
    return (lumiere_status)status;
}

static uint64_t request_number(void) {
    uint64_t number = 0;
    if (getrandom(&number, sizeof number, 0) != sizeof number) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        number = (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
    }
    return number | 1;
}

void lm_request_changed(lumiere_request *r) {
    if (r->is_resolved) lm_settings_free(&r->resolved);
    r->is_resolved = false;
}

// A model that has the request's styles no longer does.
static void styles_changed(lumiere_request *r, const char *name) {
    const lm_setting *row = name ? lm_setting_find(r->asked.task, name) : NULL;
    bool other = row && row->id != LM_KEY_style && row->id != LM_KEY_style_alpha && row->id != LM_KEY_style_hash;
    if (!other) r->number = request_number();
}

static lm_status create(lm_error *e, const char *name, lumiere_request *r) {
    r->chance = -1;
    r->number = request_number();
    if (lm_task_find(name, &r->asked.task)) return LM_OK;
    return lm_fail(e, LM_USAGE,
                   "there is no task \"%.40s\"; generate, animate, inpaint, outpaint, cinemagraph, edit, stylize and "
                   "upscale are",
                   name ? name : "");
}

lumiere_status lumiere_request_create(const char *name, lumiere_request **out) {
    lm_error e = {0};
    lumiere_request *r = *out = lm_alloc_zero(1, sizeof *r);
    return r ? lm_request_done(r, create(&e, name, r), &e) : LUMIERE_MEMORY;
}

// A recipe names its task, but for text to video.
static lm_status create_from(lm_error *e, const char *recipe, lumiere_request *r) {
    json_error_t where;
    json_t *object = recipe ? json_loads(recipe, JSON_REJECT_DUPLICATES, &where) : NULL;
    const json_t *named = json_object_get(object, "task");
    const char *name = named ? json_string_value(named) : "generate";
    lm_status status =
        json_is_object(object) ? create(e, name, r) : lm_fail(e, LM_USAGE, "this is no recipe, which is a JSON object");
    if (status == LM_OK) status = lm_settings_set_json(e, &r->asked, object, true);
    json_decref(object);
    return status;
}

lumiere_status lumiere_request_create_from(const char *recipe, lumiere_request **out) {
    lm_error e = {0};
    lumiere_request *r = *out = lm_alloc_zero(1, sizeof *r);
    return r ? lm_request_done(r, create_from(&e, recipe, r), &e) : LUMIERE_MEMORY;
}

void lumiere_request_free(lumiere_request **handle) {
    lumiere_request *r = *handle;
    if (!r) return;
    lm_request_changed(r);
    lm_settings_free(&r->asked);
    lumiere_clip_free(&r->input);
    lumiere_clip_free(&r->mask);
    lm_free(r->text);
    lm_free(r);
    *handle = NULL;
}

const char *lumiere_request_task(const lumiere_request *r) {
    return lm_task_name(r->asked.task);
}

const char *lumiere_request_error(const lumiere_request *r) {
    return r ? r->error.text : "no memory for a request";
}

lumiere_status lumiere_request_set(lumiere_request *r, const char *name, const char *text) {
    lm_error e = {0};
    lm_request_changed(r);
    styles_changed(r, name);
    return lm_request_done(r, lm_settings_set(&e, &r->asked, name, text), &e);
}

// Where a setting's clip is kept; NULL: it has none.
static lumiere_clip **place_of(lumiere_request *r, lm_key id) {
    return id == LM_KEY_input ? &r->input : id == LM_KEY_mask ? &r->mask : NULL;
}

// Where the digest of its file is kept, LM_DIGEST_HEX bytes; of a setting that has a place.
static char *digest_of(lumiere_request *r, lm_key id) {
    return id == LM_KEY_input ? r->input_digest : r->mask_digest;
}

static lm_status find(lm_error *e, const lumiere_request *r, const char *name, const lm_setting **out) {
    return lm_setting_expect(e, r->asked.task, name ? name : "", out);
}

lumiere_status lumiere_request_unset(lumiere_request *r, const char *name) {
    lm_error e = {0};
    const lm_setting *row;
    lm_request_changed(r);
    styles_changed(r, name);
    lm_status status = find(&e, r, name, &row);
    if (status != LM_OK) return lm_request_done(r, status, &e);
    lm_settings_unset(&r->asked, row->id);
    if (row->id == LM_KEY_seed) r->chance = -1;
    if (place_of(r, row->id)) {
        lumiere_clip_free(place_of(r, row->id));
        *digest_of(r, row->id) = 0;
    }
    return lm_request_done(r, LM_OK, &e);
}

lumiere_status lumiere_request_set_json(lumiere_request *r, const char *json) {
    lm_error e = {0};
    json_error_t where = {.text = "there is none"};
    lm_request_changed(r);
    styles_changed(r, NULL);
    json_t *object = json ? json_loads(json, JSON_REJECT_DUPLICATES, &where) : NULL;
    lm_status status = object ? lm_settings_set_json(&e, &r->asked, object, false)
                              : lm_fail(&e, LM_USAGE, "the settings are no JSON: line %d, column %d: %s", where.line,
                                        where.column, where.text);
    json_decref(object);
    return lm_request_done(r, status, &e);
}

static lm_status set_clip(lm_error *e, lumiere_request *r, const char *name, const lumiere_clip *clip) {
    const lm_setting *row;
    LM_TRY(find(e, r, name, &row));
    lumiere_clip **place = place_of(r, row->id);
    if (!place) return lm_fail(e, LM_USAGE, "\"%.40s\" is no clip; it is set by a text", name);
    *digest_of(r, row->id) = 0;
    lumiere_clip *held = clip ? lm_clip_hold(clip) : NULL; // before the old one goes, which may be the same
    lumiere_clip_free(place);
    *place = held;
    return LM_OK;
}

const lumiere_clip *lumiere_request_clip(const lumiere_request *r, const char *name) {
    const lm_setting *row = name ? lm_setting_find(r->asked.task, name) : NULL;
    return row && row->id == LM_KEY_input ? r->input : row && row->id == LM_KEY_mask ? r->mask : NULL;
}

lumiere_status lumiere_request_set_clip(lumiere_request *r, const char *name, const lumiere_clip *clip) {
    lm_error e = {0};
    lm_request_changed(r);
    return lm_request_done(r, set_clip(&e, r, name, clip), &e);
}

// How much of an input and its mask counts: the run's time and a second more, so that a clip which ends about there is
// read whole whatever its rate; of a picture its first frame. 0: all.
static double seconds_of(const lumiere_request *r, const lumiere_model *m) {
    const lm_settings *s = &r->asked;
    if (s->task == LM_TASK_UPSCALE) return 0;
    if (s->task == LM_TASK_ANIMATE || s->task == LM_TASK_CINEMAGRAPH) return 1e-6;
    if (!m) return 0;
    double frames = (double)lm_settings_whole(s, LM_KEY_frames), fps = lm_settings_number(s, LM_KEY_fps);
    if (!(frames > 0)) frames = lumiere_model_default(m, "frames");
    return frames / (fps > 0 ? fps : lumiere_model_default(m, "fps")) + 1;
}

// A folder of frames is no file: what was read of it is hashed.
static lm_status digest_file(lm_error *e, const char *path, char out[LM_DIGEST_HEX]) {
    struct stat info;
    uint8_t digest[LM_DIGEST_BYTES];
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode)) return LM_OK;
    lm_error why = {0};
    const lm_status status = lm_file_digest(&why, path, digest);
    if (status != LM_OK) return lm_fail(e, LM_MEDIA, "%s", why.text);
    lm_digest_hex(digest, out);
    return LM_OK;
}

lumiere_status lumiere_request_clip_hash(lumiere_request *r, const char *name, const char *like, char out[65]) {
    lm_error e = {0};
    const lumiere_clip *clip = lumiere_request_clip(r, name);
    *out = 0;
    if (!clip) return lm_request_done(r, lm_fail(&e, LM_USAGE, "no \"%.40s\" was given", name ? name : ""), &e);
    const char *file = clip == r->input ? r->input_digest : r->mask_digest;
    if (*file && strlen(like) != 16)
        strcpy(out, file);
    else
        lm_held_clip_hash(clip, out);
    return lm_request_done(r, LM_OK, &e);
}

static lm_status read_clip(lm_error *e, lumiere_request *r, const lumiere_model *m, const char *name,
                           const char *path) {
    const lm_setting *row;
    lumiere_clip *clip;
    uint8_t background[3] = {0};
    LM_TRY(find(e, r, name, &row));
    if (!place_of(r, row->id)) return lm_fail(e, LM_USAGE, "\"%.40s\" is no clip; it is set by a text", name);
    if (row->id == LM_KEY_input && lm_setting_of(r->asked.task, LM_KEY_background))
        lm_settings_colour(&r->asked, LM_KEY_background, background);
    LM_TRY(lm_settings_set(e, &r->asked, name, path));
    LM_TRY(lm_clip_read(e, path, background, seconds_of(r, m), &clip));
    lm_status status = set_clip(e, r, name, clip);
    lumiere_clip_free(&clip);
    return status == LM_OK ? digest_file(e, path, digest_of(r, row->id)) : status;
}

lumiere_status lumiere_request_read_clip(lumiere_request *r, const lumiere_model *m, const char *name,
                                         const char *path) {
    lm_error e = {0};
    lm_request_changed(r);
    return lm_request_done(r, read_clip(&e, r, m, name, path), &e);
}

void lumiere_request_on_progress(lumiere_request *r, lumiere_progress progress, void *user) {
    r->watch.progress = progress;
    r->watch.progress_user = user;
}

void lumiere_request_on_base(lumiere_request *r, bool (*base)(void *user, const lumiere_clip *clip), void *user) {
    r->watch.base = base;
    r->watch.base_user = user;
}

bool lumiere_request_has(const lumiere_request *r, const char *name) {
    const lm_setting *row = name ? lm_setting_find(r->asked.task, name) : NULL;
    return row && (lm_settings_given(&r->asked, row->id) || lumiere_request_clip(r, name));
}

const char *lumiere_request_get(lumiere_request *r, const char *name) {
    const lm_setting *row = name ? lm_setting_find(r->asked.task, name) : NULL;
    lm_free(r->text);
    r->text = row ? lm_settings_print(r->is_resolved ? &r->resolved : &r->asked, row->id) : NULL;
    return r->text || !row ? r->text : row->face.preset;
}

static json_t *request_object(const lumiere_request *r) {
    const lm_settings *s = r->is_resolved ? &r->resolved : &r->asked;
    json_t *object = json_object();
    int failed = !object;
    for (int i = 0; i < lm_setting_count(); i++) {
        const lm_setting *row = lm_setting_row(i);
        if (!lm_setting_takes(row, s->task) || !lm_settings_given(s, row->id)) continue;
        failed |= json_object_set_new(object, row->face.key, lm_settings_json(s, row->id));
    }
    if (!failed) return object;
    json_decref(object);
    return NULL;
}

lumiere_status lumiere_request_json(lumiere_request *r, char **json) {
    lm_error e = {0};
    json_t *object = request_object(r);
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    *json = text ? lm_strdup(text) : NULL;
    free(text);
    json_decref(object);
    return lm_request_done(r, *json ? LM_OK : lm_fail_memory(&e, 4096, "a request as JSON"), &e);
}
