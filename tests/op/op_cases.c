#include "op_cases.h"
#include "base/memory.h"
#include "formula.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64 }; // bytes behind an output that must stay as they are

static bool parse_shape(const char *s, lm_desc *d) { // "2x3x4"
    for (d->rank = 0; d->rank < LM_MAX_RANK; s++) {
        char *end;
        d->dim[d->rank++] = strtoll(s, &end, 10);
        if (end == s) return false;
        if (*end == '\0') return true;
        s = end;
    }
    return false;
}

static bool parse_operand(const char *word, op_case *c, int i) {
    if (strcmp(word, "-") == 0) return true;
    const char *colon = strchr(word, ':');
    if (!colon || !strchr("awpmki", *word)) return false;
    c->role[i] = *word;
    c->limit[i] = atoi(word + 1);
    return parse_shape(colon + 1, &c->in[i]);
}

static void set_attributes(lm_op *op, const int64_t *a) {
    switch (op->kind) {
    case LM_OP_CAST:
        op->attr.cast.type = a[0] ? LM_BF16 : LM_F32;
        break;
    case LM_OP_CONV:
    case LM_OP_CONV_GRAD_X:
    case LM_OP_CONV_GRAD_W:
        op->attr.conv = (lm_conv_attr){.axis = (lm_axis)a[0], .kernel = (int)a[1], .stride = (int)a[2]};
        break;
    case LM_OP_NORM:
    case LM_OP_NORM_GRAD:
        op->attr.norm = (lm_norm_attr){(int)a[0], a[2] == 5 ? 1e-5f : 1e-12f, a[1] != 0};
        break;
    case LM_OP_NORM_GRAD_SS:
        op->attr.clips.clips = a[0];
        break;
    case LM_OP_ADD_POSITION_GRAD_P:
    case LM_OP_EMBEDDING_GRAD:
        op->attr.rows.rows = a[0];
        break;
    case LM_OP_ATTENTION:
    case LM_OP_ATTENTION_GRAD:
        op->attr.attention = (lm_attention_attr){(lm_axis)a[0], (int)a[1]};
        break;
    case LM_OP_UPSAMPLE:
    case LM_OP_UPSAMPLE_GRAD:
        op->attr.upsample.time = (int)a[0], op->attr.upsample.space = (int)a[1];
        break;
    case LM_OP_SLICE:
        op->attr.slice.first = a[0], op->attr.slice.count = a[1];
        break;
    case LM_OP_SPACE_TO_DEPTH:
    case LM_OP_DEPTH_TO_SPACE:
        op->attr.shuffle.factor = (int)a[0];
        break;
    case LM_OP_FOURIER:
        op->attr.fourier = (lm_fourier_attr){.width = a[0], .scale = 1000};
        break;
    default:
        break;
    }
}

static bool parse_kind(const char *word, lm_op_kind *kind) {
    for (int k = 0; k < LM_OP_COUNT; k++)
        if (strcmp(lm_op_name((lm_op_kind)k), word) == 0) return *kind = (lm_op_kind)k, true;
    return false;
}

static bool parse_line(char *line, op_case *c) {
    memset(c, 0, sizeof *c);
    line[strcspn(line, "\n")] = '\0';
    snprintf(c->text, sizeof c->text, "%.*s", (int)sizeof c->text - 1, line);
    char *words[4], *rest = line;
    for (int i = 0; i < 4; i++)
        if (!(words[i] = strtok_r(rest, " ", &rest))) return false;
    if (!parse_kind(words[0], &c->op.kind)) return false;
    c->seed = strtoull(words[1], NULL, 10);
    c->wanted = (unsigned)atoi(words[3]);
    int64_t attr[8] = {0};
    int n = 0;
    for (char *at = words[2]; n < 8 && *at && *at != '-'; at += *at == ',') attr[n++] = strtoll(at, &at, 10);
    set_attributes(&c->op, attr);
    if (c->op.kind == LM_OP_CONV_GRAD_X) c->op.attr.conv.x = lm_desc_make(LM_F32, LM_MAX_RANK, attr + 3);
    char *word;
    for (int i = 0; (word = strtok_r(rest, " ", &rest)); i++)
        if (i == lm_op_inputs(c->op.kind) || !parse_operand(word, c, i)) return false;
    if (c->op.kind == LM_OP_CONV_GRAD_W) c->op.attr.conv.x = c->in[0];
    return true;
}

op_case *op_cases_read(lm_error *e, int *count) {
    FILE *f = fopen(LM_TEST_DATA "/op_cases.txt", "r");
    if (!f) return lm_fail(e, LM_FAILED, "no op_cases.txt"), NULL;
    char line[400];
    int room = 0;
    op_case *cases = NULL;
    for (*count = 0; fgets(line, sizeof line, f); ++*count) {
        if (*count == room) cases = lm_realloc(cases, (size_t)(room = 2 * room + 64), sizeof *cases);
        if (!cases || !parse_line(line, &cases[*count])) {
            lm_fail(e, LM_FAILED, "op_cases.txt, line %d is wrong", *count + 1);
            lm_free(cases);
            cases = NULL;
            break;
        }
    }
    fclose(f);
    return cases;
}

static double operand_value(const op_case *c, int i, int64_t at) {
    double v = formula_value(8 * c->seed + (uint64_t)i, at);
    if (c->role[i] == 'i') return floor((v + 1) / 2 * c->limit[i]);
    if (c->role[i] == 'k' && at % c->in[i].dim[c->in[i].rank - 1] == 0) return 1;
    return c->role[i] == 'm' || c->role[i] == 'k' ? v > -0.4 : v;
}

static void put(lm_dtype type, void *to, int64_t at, double v) {
    float f = (float)v;
    uint32_t bits;
    memcpy(&bits, &f, 4);
    switch (type) {
    case LM_F32:
        ((float *)to)[at] = f;
        break;
    case LM_BF16:
        ((uint16_t *)to)[at] = (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
        break;
    case LM_F64:
        ((double *)to)[at] = v;
        break;
    case LM_I32:
        ((int32_t *)to)[at] = (int32_t)v;
        break;
    }
}

static double get(lm_dtype type, const void *from, int64_t at) {
    uint32_t bits;
    float f;
    switch (type) {
    case LM_F32:
        return (double)((const float *)from)[at];
    case LM_F64:
        return ((const double *)from)[at];
    case LM_I32:
        return (double)((const int32_t *)from)[at];
    default:
        bits = (uint32_t)((const uint16_t *)from)[at] << 16;
        memcpy(&f, &bits, 4);
        return (double)f;
    }
}

static lm_dtype operand_type(char role, lm_dtype compute) {
    if (role == 'i') return LM_I32;
    return compute == LM_BF16 && role != 'a' ? LM_F32 : compute;
}

static lm_status upload_operand(lm_error *e, lm_device *d, const op_case *c, int i, lm_operand *o) {
    size_t bytes = (size_t)lm_desc_bytes(&o->desc);
    void *host = lm_alloc(bytes, 1);
    if (!host) return lm_fail_memory(e, (double)bytes, "an operand");
    for (int64_t k = 0; k < lm_desc_count(&o->desc); k++) put(o->desc.type, host, k, operand_value(c, i, k));
    lm_status s = d->backend->alloc(e, d, bytes, &o->data);
    if (s == LM_OK) s = d->backend->upload(e, d, o->data, host, bytes);
    lm_free(host);
    return s;
}

// Filled with a pattern (a NaN in every type), so that elements left out show.
static lm_status alloc_filled(lm_error *e, lm_device *d, size_t bytes, void **out) {
    uint8_t *host = lm_alloc(bytes, 1);
    if (!host) return lm_fail_memory(e, (double)bytes, "a buffer");
    memset(host, 0xff, bytes);
    lm_status s = d->backend->alloc(e, d, bytes, out);
    if (s == LM_OK) s = d->backend->upload(e, d, *out, host, bytes);
    lm_free(host);
    return s;
}

static lm_status download_output(lm_error *e, lm_device *d, const lm_operand *o, bool guarded, double **out) {
    size_t bytes = (size_t)lm_desc_bytes(&o->desc), all = bytes + (guarded ? GUARD : 0);
    int64_t n = lm_desc_count(&o->desc);
    uint8_t *host = lm_alloc(all, 1);
    *out = lm_alloc((size_t)n, sizeof **out);
    lm_status s = host && *out ? d->backend->download(e, d, host, o->data, all) : lm_fail_memory(e, (double)all, "it");
    for (int64_t k = 0; s == LM_OK && k < n; k++) (*out)[k] = get(o->desc.type, host, k);
    for (size_t k = bytes; s == LM_OK && k < all; k++)
        if (host[k] != 0xff) s = lm_fail(e, LM_FAILED, "wrote behind its output");
    lm_free(host);
    return s;
}

static lm_status run_prepared(lm_error *e, lm_device *d, const op_case *c, lm_kernel *k, lm_io *io, op_result *out) {
    void *workspace = NULL;
    int acc = lm_op_acc(c->op.kind);
    bool shared = acc >= 0 && io->in[acc].desc.rank && io->out[0].desc.rank && c->seed % 2;
    lm_status s = alloc_filled(e, d, k->workspace + GUARD, &workspace);
    for (int i = 0; i < LM_MAX_INPUTS && s == LM_OK; i++)
        if (io->in[i].desc.rank) s = upload_operand(e, d, c, i, &io->in[i]);
    for (int i = 0; i < LM_MAX_OUTPUTS && s == LM_OK; i++) {
        if (i == 0 && shared)
            io->out[0].data = io->in[acc].data;
        else if (io->out[i].desc.rank)
            s = alloc_filled(e, d, (size_t)lm_desc_bytes(&io->out[i].desc) + GUARD, &io->out[i].data);
    }
    if (s == LM_OK) s = d->backend->run(e, d, &(lm_call){k, io}, 1, workspace, 1);
    for (int i = 0; i < LM_MAX_OUTPUTS && s == LM_OK; i++)
        if (io->out[i].desc.rank) s = download_output(e, d, &io->out[i], !(i == 0 && shared), &out->out[i]);
    for (int i = 0; i < LM_MAX_INPUTS; i++)
        if (io->in[i].data) d->backend->release_memory(d, io->in[i].data);
    for (int i = 0; i < LM_MAX_OUTPUTS; i++)
        if (io->out[i].data && !(i == 0 && shared)) d->backend->release_memory(d, io->out[i].data);
    if (workspace) d->backend->release_memory(d, workspace);
    return s;
}

lm_status op_case_run(lm_error *e, lm_device *d, const op_case *c, lm_dtype compute, op_result *out) {
    lm_io io = {0};
    lm_desc in[LM_MAX_INPUTS], result[LM_MAX_OUTPUTS];
    memset(out, 0, sizeof *out);
    for (int i = 0; i < LM_MAX_INPUTS; i++) {
        in[i] = c->in[i];
        if (c->role[i]) in[i].type = operand_type(c->role[i], compute);
        io.in[i].desc = in[i];
    }
    lm_op op = c->op;
    if (op.kind == LM_OP_CONV_GRAD_X || op.kind == LM_OP_CONV_GRAD_W) op.attr.conv.x.type = in[0].type;
    LM_TRY(lm_op_infer(e, &op, in, result));
    for (int i = 0; i < LM_MAX_OUTPUTS; i++)
        if (c->wanted >> i & 1) out->desc[i] = io.out[i].desc = result[i];
    lm_kernel *k = NULL;
    LM_TRY(lm_kernel_create(e, d, &op, &io, &k));
    lm_status s = run_prepared(e, d, c, k, &io, out);
    d->backend->release(d, k);
    return s;
}

void op_result_free(op_result *r) {
    for (int i = 0; i < LM_MAX_OUTPUTS; i++) {
        lm_free(r->out[i]);
        r->out[i] = NULL;
    }
}

double op_case_tolerance(const op_case *c, lm_dtype compute, const op_result *r) {
    if (compute == LM_BF16) return 5e-5;
    for (int i = 0; i < LM_MAX_OUTPUTS; i++)
        if (r->desc[i].rank && r->desc[i].type == LM_BF16) return 5e-5;
    if (compute == LM_F64) return 1e-12; // samples are committed in fp32
    return strstr(lm_op_name(c->op.kind), "_grad") ? 1e-8 : 1e-10;
}
