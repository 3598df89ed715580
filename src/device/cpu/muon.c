// Muon on the CPU. What the iteration does to x [m,n], m <= n, is a polynomial q of g = x x' times x: so the iteration
// runs on m x m matrices, and x is met twice, for g and for q x:
//
//     p = a I + b g + c g g,   q = p q,   g = p g p
//
// All of these are polynomials of one symmetric matrix: they commute and are symmetric, and of their products only the
// lower half is computed, in bands of rows, and reflected. (Not where the processor multiplies tiles of matrices: there
// the other half takes less time than its reflection.) An error of g grows twelvefold with every step, so that in bf16
// x = q x and g = x x' are computed anew after two of them; floats need that never.
//
// A piece is a matrix, the costliest first, so results don't depend on the number of threads.
#include "base/arithmetic.h"
#include "base/memory.h"
#include "base/threads.h"
#include "device/cpu/onednn.h"
#include "device/cpu/units.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BANDS = 8, BAND_ROWS = 64 };

// c[m,n] = a[m,k] b[k,n], c in floats; row and column strides in elements, those of c are c_row and 1.
typedef struct product_form {
    int64_t m, k, n, a_row, a_column, b_row, b_column, c_row;
    lm_dtype type;
} product_form;

typedef struct product {
    product_form form;
    dn_primitive primitive;
} product;

// Matrices of one shape: indices of products.
typedef struct muon_class {
    lm_matrix_shape shape;
    int64_t m, n;
    bool tall;      // x' is stored: [n,m]
    int64_t stride; // of the rows of m x m matrices
    int bands, gram[BANDS], square[BANDS], apply;
    int64_t edge[BANDS + 1]; // rows where bands begin
} muon_class;

typedef struct muon_item {
    int matrix, class;
    double flops;
} muon_item;

typedef struct cpu_muon_work {
    lm_muon_work base;
    const cpu_dnnl *dnnl;
    const cpu_simd *simd;
    struct lm_pool *pool;
    lm_muon_form form;
    lm_dtype type; // of the products' operands
    bool whole;    // products of symmetric matrices aren't halved
    int classes, products, room, count;
    muon_class *class;
    product *product;
    muon_item *item; // count of them, the costliest first
    // a thread's scratch: its stride and what lies where
    size_t stride, at_x, at_u, at_f, at_g, at_p, at_q, at_t, at_dnnl;
    char *scratch;
    char name[96];
} cpu_muon_work;

// ---- preparing ----

static dnnl_status_t describe(const cpu_dnnl *d, const product_form *f, dnnl_primitive_desc_t *out) {
    const dnnl_dims_t a_size = {f->m, f->k}, a_stride = {f->a_row, f->a_column}, b_size = {f->k, f->n},
                      b_stride = {f->b_row, f->b_column}, c_size = {f->m, f->n}, c_stride = {f->c_row, 1};
    dn_op op = {.kind = DN_MATMUL};
    dnnl_status_t status = lm_dn_layout_strided(&op.x, 2, a_size, f->type, a_stride);
    if (status == dnnl_success) status = lm_dn_layout_strided(&op.weights, 2, b_size, f->type, b_stride);
    if (status == dnnl_success) status = lm_dn_layout_strided(&op.y, 2, c_size, LM_F32, c_stride);
    if (status == dnnl_success) status = lm_dn_describe(d, &op, false, NULL, out);
    lm_dn_op_free(&op);
    return status;
}

static const int product_args[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};

static lm_status create_product(lm_error *e, cpu_muon_work *w, const product_form *f) {
    if (w->products == w->room) {
        const int room = w->room ? 2 * w->room : 64;
        product *grown = lm_realloc(w->product, (size_t)room, sizeof *grown);
        if (!grown) return lm_fail_memory(e, (double)room * sizeof *grown, "Muon");
        w->product = grown;
        w->room = room;
    }
    product *p = &w->product[w->products];
    *p = (product){.form = *f};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = describe(w->dnnl, f, &pd);
    if (status != dnnl_success) return lm_dn_fail(e, status, "a matrix product");
    lm_status result = lm_dn_create(e, w->dnnl, pd, product_args, 3, &p->primitive);
    dnnl_primitive_desc_destroy(pd);
    if (result == LM_OK) w->products++;
    return result;
}

// The index of a product, made if new.
static lm_status find_product(lm_error *e, cpu_muon_work *w, const product_form *f, int *out) {
    for (*out = 0; *out < w->products; ++*out) {
        const product_form *g = &w->product[*out].form;
        if (f->m == g->m && f->k == g->k && f->n == g->n && f->a_row == g->a_row && f->a_column == g->a_column &&
            f->b_row == g->b_row && f->b_column == g->b_column && f->c_row == g->c_row && f->type == g->type)
            return LM_OK;
    }
    return create_product(e, w, f);
}

static lm_status prepare_bands(lm_error *e, cpu_muon_work *w, muon_class *c) {
    const int64_t m = c->m, n = c->n, s = c->stride, x_m = c->tall ? 1 : n, x_n = c->tall ? m : 1; // strides of x
    int64_t rows = w->whole ? m : BAND_ROWS;
    while (lm_divide_up(m, rows) > BANDS) rows += BAND_ROWS;
    c->bands = (int)lm_divide_up(m, rows);
    for (int i = 0; i < c->bands; i++) {
        const int64_t first = i * rows, end = first + rows < m ? first + rows : m;
        c->edge[i] = first;
        c->edge[i + 1] = end;
        const product_form gram = {end - first, n, end, x_m, x_n, x_n, x_m, s, w->type},
                           square = {end - first, m, end, s, 1, s, 1, s, w->type};
        LM_TRY(find_product(e, w, &gram, &c->gram[i]));
        LM_TRY(find_product(e, w, &square, &c->square[i]));
    }
    return LM_OK;
}

static lm_status prepare_class(lm_error *e, cpu_muon_work *w, muon_class *c) {
    const int64_t m = c->m, n = c->n;
    // Rows that are a power of two apart would share few lines of a cache.
    c->stride = w->whole || m % 128 ? m : m + 16;
    product_form apply = {m, m, n, c->stride, 1, n, 1, n, w->type};
    if (c->tall) apply = (product_form){n, m, m, m, 1, c->stride, 1, m, w->type};
    LM_TRY(find_product(e, w, &apply, &c->apply));
    return prepare_bands(e, w, c);
}

static double product_flops(const cpu_muon_work *w, int index) {
    const product_form *f = &w->product[index].form;
    return 2.0 * (double)f->m * (double)f->k * (double)f->n;
}

static int steps_of(const cpu_muon_work *w) {
    int steps;
    lm_muon_steps(w->form, &steps);
    return steps;
}

// The step before which x and g are computed anew, after the step `done`: in floats never, in bf16 after two steps.
static int round_end(const cpu_muon_work *w, int done) {
    const int steps = steps_of(w);
    return w->type == LM_F32 || done + 2 > steps ? steps : done + 2;
}

static double class_flops(const cpu_muon_work *w, const muon_class *c) {
    double gram = 0, square = 0;
    for (int i = 0; i < c->bands; i++) {
        gram += product_flops(w, c->gram[i]);
        square += product_flops(w, c->square[i]);
    }
    const int steps = steps_of(w);
    int rounds = 0;
    for (int done = 0; done < steps; done = round_end(w, done)) rounds++;
    return rounds * (gram + product_flops(w, c->apply)) + (4 * steps - 3 * rounds) * square;
}

static size_t place(size_t *at, size_t bytes) {
    const size_t here = *at;
    *at += lm_align_size(bytes);
    return here;
}

static lm_status prepare_scratch(lm_error *e, cpu_muon_work *w, int threads) {
    size_t x = 0, square = 0, dnnl = 0;
    for (int i = 0; i < w->classes; i++) {
        const size_t whole = (size_t)(w->class[i].m * w->class[i].n),
                     part = (size_t)(w->class[i].m * w->class[i].stride);
        x = whole > x ? whole : x;
        square = part > square ? part : square;
    }
    for (int i = 0; i < w->products; i++)
        if (w->product[i].primitive.scratch > dnnl) dnnl = w->product[i].primitive.scratch;
    const size_t size = lm_dtype_size(w->type);
    w->at_x = place(&w->stride, x * size);
    w->at_u = place(&w->stride, x * sizeof(float));
    w->at_f = place(&w->stride, square * sizeof(float));
    w->at_g = place(&w->stride, square * size);
    w->at_p = place(&w->stride, square * size);
    w->at_q = place(&w->stride, square * size);
    w->at_t = place(&w->stride, square * size);
    w->at_dnnl = place(&w->stride, dnnl);
    w->base.held = w->stride * (size_t)threads;
    if (w->base.held > lm_memory_available()) return lm_fail_memory(e, (double)w->base.held, "Muon");
    w->scratch = lm_alloc_aligned(w->base.held);
    return w->scratch ? LM_OK : lm_fail_memory(e, (double)w->base.held, "Muon");
}

static int class_of(const cpu_muon_work *w, lm_matrix_shape s) {
    int i = 0;
    while (i < w->classes && (w->class[i].shape.rows != s.rows || w->class[i].shape.columns != s.columns)) i++;
    return i;
}

static void sort_items(muon_item *item, int count) { // few, and the order of equals is kept
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && item[j].flops > item[j - 1].flops; j--) {
            const muon_item swap = item[j];
            item[j] = item[j - 1];
            item[j - 1] = swap;
        }
}

// bf16 where the processor has products of it that are no plain loops.
static lm_status choose_type(lm_error *e, cpu_muon_work *w, cpu_level level) {
    enum { TYPICAL = 256 };
    static const product_form f = {TYPICAL, TYPICAL, TYPICAL, TYPICAL, 1, TYPICAL, 1, TYPICAL, LM_BF16};
    if (level < CPU_AVX512_BF16) return LM_OK;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t status = describe(w->dnnl, &f, &pd);
    if (status == dnnl_unimplemented) return LM_OK;
    if (status != dnnl_success) return lm_dn_fail(e, status, "a matrix product");
    lm_status result = LM_OK;
    dn_primitive probe = {0};
    if (!lm_dn_is_plain(pd)) {
        w->type = LM_BF16;
        result = lm_dn_create(e, w->dnnl, pd, product_args, 3, &probe);
        w->whole = strstr(probe.impl, "amx") != NULL;
        lm_dn_destroy(&probe);
    }
    dnnl_primitive_desc_destroy(pd);
    return result;
}

static lm_status prepare(lm_error *e, cpu_muon_work *w, const lm_matrix_shape *shapes, int count) {
    w->class = lm_alloc_zero((size_t)count, sizeof *w->class);
    w->item = lm_alloc_zero((size_t)count, sizeof *w->item);
    if (!w->class || !w->item) return lm_fail_memory(e, (double)count * sizeof *w->class, "Muon");
    w->count = count;
    for (int i = 0; i < count; i++) {
        const lm_matrix_shape s = shapes[i];
        const int k = class_of(w, s);
        if (k == w->classes) {
            const bool tall = s.rows > s.columns;
            w->class[w->classes++] =
                (muon_class){.shape = s, .m = tall ? s.columns : s.rows, .n = tall ? s.rows : s.columns, .tall = tall};
            LM_TRY(prepare_class(e, w, &w->class[k]));
        }
        w->item[i] = (muon_item){i, k, class_flops(w, &w->class[k])};
        w->base.flops += w->item[i].flops;
    }
    sort_items(w->item, count);
    snprintf(w->name, sizeof w->name, "cpu muon %s, dnnl %s", lm_dtype_name(w->type), w->product[0].primitive.impl);
    w->base.name = w->name;
    return prepare_scratch(e, w, w->dnnl->threads);
}

lm_status lm_cpu_muon_prepare(lm_error *e, lm_device *d, const lm_matrix_shape *shapes, int count, lm_muon_form form,
                              bool bf16, lm_muon_work **out) {
    const cpu_state *s = d->state;
    cpu_muon_work *w = lm_alloc_zero(1, sizeof *w);
    if (!w) return lm_fail_memory(e, sizeof *w, "Muon");
    w->dnnl = s->dnnl;
    w->simd = lm_cpu_simd_of(s->level);
    w->pool = s->pool;
    w->form = form;
    w->type = LM_F32;
    lm_status status = bf16 && form == LM_MUON_PUBLISHED ? choose_type(e, w, s->level) : LM_OK;
    if (status == LM_OK) status = prepare(e, w, shapes, count);
    if (status != LM_OK) {
        lm_cpu_muon_release(d, &w->base);
        return status;
    }
    *out = &w->base;
    return LM_OK;
}

void lm_cpu_muon_release(lm_device *d, lm_muon_work *work) {
    (void)d;
    cpu_muon_work *w = (cpu_muon_work *)work;
    if (!w) return;
    for (int i = 0; i < w->products; i++) lm_dn_destroy(&w->product[i].primitive);
    lm_free(w->product);
    lm_free(w->class);
    lm_free(w->item);
    lm_free(w->scratch);
    lm_free(w);
}

// ---- running ----

typedef struct muon_run { // one matrix
    const cpu_muon_work *work;
    const muon_class *class;
    int thread;
    char *scratch;
    void *x, *g, *p, *q, *t;
    float *f;
    lm_status status; // of the first product that failed
    lm_error *error;
    double bound; // the form's, of this matrix
} muon_run;

static void *element_at(const muon_run *r, void *block, int64_t i) {
    return (char *)block + (size_t)i * lm_dtype_size(r->work->type);
}

static void multiply(muon_run *r, int index, void *a, void *b, void *c) {
    const cpu_muon_work *w = r->work;
    void *data[] = {a, b, c};
    if (r->status == LM_OK)
        r->status =
            lm_dn_run(r->error, w->dnnl, &w->product[index].primitive, r->thread, data, r->scratch + w->at_dnnl);
}

// to = a I + b g + c f
static void mix(const muon_run *r, void *to, float a, float b, const void *g, float c) {
    const cpu_muon_mix j = {r->class->m, r->class->stride, r->work->type, r->work->whole, to, g, r->f, a, b, c};
    r->work->simd->muon_mix(&j);
}

// f's lower half, or all of it, = a b, both symmetric.
static void square(muon_run *r, void *a, void *b) {
    const muon_class *c = r->class;
    for (int i = 0; i < c->bands; i++)
        multiply(r, c->square[i], element_at(r, a, c->edge[i] * c->stride), b, r->f + c->edge[i] * c->stride);
}

// The same of x x'.
static void gram(muon_run *r) {
    const muon_class *c = r->class;
    for (int i = 0; i < c->bands; i++)
        multiply(r, c->gram[i], element_at(r, r->x, c->edge[i] * (c->tall ? 1 : c->n)), r->x,
                 r->f + c->edge[i] * c->stride);
}

// tr f f, of f's lower half.
static double trace_of_square(const muon_run *r) {
    double sum = 0;
    for (int64_t i = 0; i < r->class->m; i++) {
        const float *row = r->f + i * r->class->stride;
        sum += 2 * r->work->simd->squares(LM_F32, row, LM_F32, NULL, i) + (double)row[i] * (double)row[i];
    }
    return sum;
}

// q: what the steps from first to end multiply x by.
static void iterate(muon_run *r, int first, int end) {
    int steps;
    const lm_muon_quintic *k = lm_muon_steps(r->work->form, &steps);
    gram(r);
    mix(r, r->g, 0, 0, NULL, 1);
    for (int i = first; i < end; i++) {
        void *p = i > first ? r->p : r->q;
        square(r, r->g, r->g);
        // x was not divided by the bound: q is, at the second step.
        if (i == 0) r->bound = lm_muon_bound(r->work->form, trace_of_square(r));
        const double bound = i == 0 ? r->bound : 1;
        mix(r, p, (float)k[i].a, (float)(k[i].b / pow(bound, 2)), r->g, (float)(k[i].c / pow(bound, 4)));
        if (i + 1 < end) {
            square(r, p, r->g);
            mix(r, r->t, 0, 0, NULL, (float)(1 / pow(bound, 2)));
            square(r, r->t, p);
            mix(r, r->g, 0, 0, NULL, 1);
        }
        if (i == first) continue;
        square(r, r->p, r->q);
        mix(r, r->q, 0, 0, NULL, i == 1 ? (float)(1 / r->bound) : 1);
    }
}

// q x, or (x' q)' where x' is stored.
static float *apply(muon_run *r) {
    float *u = (float *)(r->scratch + r->work->at_u);
    if (r->class->tall)
        multiply(r, r->class->apply, r->x, r->q, u);
    else
        multiply(r, r->class->apply, r->q, r->x, u);
    return u;
}

static float *orthogonal(muon_run *r) {
    const cpu_muon_work *w = r->work;
    int done = 0, end = round_end(w, 0);
    for (; end < steps_of(w); done = end, end = round_end(w, end)) {
        iterate(r, done, end);
        w->simd->convert(w->type, r->x, LM_F32, apply(r), r->class->m * r->class->n);
    }
    iterate(r, done, end);
    return apply(r);
}

typedef struct muon_job {
    const cpu_muon_work *work;
    const lm_muon *p;
    const lm_muon_matrix *matrices;
} muon_job;

static lm_status run_matrix(lm_error *e, void *context, int64_t index, int thread) {
    const muon_job *j = context;
    const cpu_muon_work *w = j->work;
    const muon_item *item = &w->item[index];
    const lm_muon_matrix *a = &j->matrices[item->matrix];
    const muon_class *c = &w->class[item->class];
    char *s = w->scratch + (size_t)thread * w->stride;
    muon_run r = {.work = w, .class = c, .thread = thread, .scratch = s, .error = e, .bound = 1};
    r.x = s + w->at_x, r.g = s + w->at_g, r.p = s + w->at_p, r.q = s + w->at_q, r.t = s + w->at_t;
    r.f = (float *)(s + w->at_f);
    const int64_t n = c->m * c->n;
    const double squares = w->simd->muon_momentum(j->p, a->g, a->m, n);
    w->simd->muon_direction(j->p, (float)(1 / (sqrt(squares) + LM_MUON_FLOOR)), a->g, a->m, w->type, r.x, n);
    const float *u = orthogonal(&r);
    LM_TRY(r.status);
    const double scale = c->tall ? sqrt((double)c->n / (double)c->m) : 1, rate = (double)a->rate;
    w->simd->muon_update(j->p, (float)(1 - rate * (double)j->p->decay), (float)(rate * scale), u, a->w, a->average, n);
    return LM_OK;
}

lm_status lm_cpu_muon(lm_error *e, lm_device *d, lm_muon_work *work, const lm_muon *p, const lm_muon_matrix *matrices) {
    (void)d;
    const cpu_muon_work *w = (const cpu_muon_work *)work;
    muon_job j = {w, p, matrices};
    return lm_pool_run(e, w->pool, w->count, run_matrix, &j);
}
