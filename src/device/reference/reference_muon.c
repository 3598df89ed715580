// Muon as it is written down: every product in full, in double precision.
#include "base/memory.h"
#include "device/reference/reference.h"

#include <math.h>
#include <string.h>

typedef struct reference_muon {
    lm_muon_work base;
    lm_muon_form form;
    int count;
    lm_matrix_shape *shapes;
    double *x, *next, *s, *p; // of the largest matrix: n m, n m, m m, m m with m <= n
} reference_muon;

static int64_t shorter(lm_matrix_shape s) {
    return s.rows < s.columns ? s.rows : s.columns;
}
static int64_t longer(lm_matrix_shape s) {
    return s.rows < s.columns ? s.columns : s.rows;
}

void lm_reference_muon_release(lm_device *d, lm_muon_work *work) {
    (void)d;
    reference_muon *r = (reference_muon *)work;
    if (!r) return;
    lm_free(r->shapes);
    lm_free(r->x);
    lm_free(r->next);
    lm_free(r->s);
    lm_free(r->p);
    lm_free(r);
}

lm_status lm_reference_muon_prepare(lm_error *e, lm_device *d, const lm_matrix_shape *shapes, int count,
                                    lm_muon_form form, bool bf16, lm_muon_work **out) {
    (void)bf16; // doubles whatever is asked for
    reference_muon *r = lm_alloc_zero(1, sizeof *r);
    if (!r) return lm_fail_memory(e, sizeof *r, "Muon");
    int64_t whole = 1, square = 1;
    int steps;
    lm_muon_steps(form, &steps);
    r->form = form;
    for (int i = 0; i < count; i++) {
        const int64_t m = shorter(shapes[i]), n = longer(shapes[i]);
        if (m * n > whole) whole = m * n;
        if (m * m > square) square = m * m;
        r->base.flops += steps * (4.0 * (double)m + 2.0 * (double)n) * (double)(m * m);
    }
    r->base.name = "reference muon";
    r->base.held = (size_t)(2 * whole + 2 * square) * sizeof(double);
    r->count = count;
    r->shapes = lm_alloc((size_t)count, sizeof *shapes);
    r->x = lm_alloc((size_t)whole, sizeof *r->x);
    r->next = lm_alloc((size_t)whole, sizeof *r->next);
    r->s = lm_alloc((size_t)square, sizeof *r->s);
    r->p = lm_alloc((size_t)square, sizeof *r->p);
    if (!r->shapes || !r->x || !r->next || !r->s || !r->p) {
        lm_reference_muon_release(d, &r->base);
        return lm_fail_memory(e, (double)(2 * whole + 2 * square) * sizeof(double), "Muon");
    }
    memcpy(r->shapes, shapes, (size_t)count * sizeof *shapes);
    *out = &r->base;
    return LM_OK;
}

// x [m,n] = (a + b s + c s s) x with s = x x'; at the first step x is divided by the form's bound before.
static void iterate(reference_muon *r, const lm_muon_quintic *k, bool first, int64_t m, int64_t n) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < m; j++) {
            double sum = 0;
            for (int64_t l = 0; l < n; l++) sum += r->x[i * n + l] * r->x[j * n + l];
            r->s[i * m + j] = sum;
        }
    double eighth = 0;
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < m; j++) {
            double sum = 0;
            for (int64_t l = 0; l < m; l++) sum += r->s[i * m + l] * r->s[l * m + j];
            r->p[i * m + j] = sum;
            eighth += sum * sum;
        }
    const double bound = first ? lm_muon_bound(r->form, eighth) : 1, b = k->b / pow(bound, 2), c = k->c / pow(bound, 4);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < m; j++)
            r->p[i * m + j] = ((i == j ? k->a : 0) + b * r->s[i * m + j] + c * r->p[i * m + j]) / bound;
    memset(r->next, 0, (size_t)(m * n) * sizeof *r->next);
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = 0; l < m; l++)
            for (int64_t j = 0; j < n; j++) r->next[i * n + j] += r->p[i * m + l] * r->x[l * n + j];
    double *swap = r->x;
    r->x = r->next;
    r->next = swap;
}

static void step(reference_muon *r, lm_matrix_shape shape, const lm_muon *p, const lm_muon_matrix *a) {
    const int64_t m = shorter(shape), n = longer(shape), count = m * n;
    const bool tall = shape.rows > shape.columns;
    double squares = 0;
    for (int64_t i = 0; i < count; i++) {
        const float g = a->g[i] * p->clip;
        a->m[i] = a->m[i] * p->momentum + g;
        const double v = (double)g + (double)p->momentum * (double)a->m[i];
        const int64_t row = i / shape.columns, column = i % shape.columns;
        r->x[tall ? column * n + row : i] = v;
        squares += v * v;
    }
    for (int64_t i = 0; i < count; i++) r->x[i] /= sqrt(squares) + LM_MUON_FLOOR;
    int steps;
    const lm_muon_quintic *k = lm_muon_steps(r->form, &steps);
    for (int i = 0; i < steps; i++) iterate(r, &k[i], i == 0, m, n);
    const double scale = tall ? sqrt((double)shape.rows / (double)shape.columns) : 1;
    for (int64_t i = 0; i < count; i++) {
        const int64_t row = i / shape.columns, column = i % shape.columns;
        const double u = r->x[tall ? column * n + row : i], rate = (double)a->rate;
        a->w[i] = (float)((1 - rate * (double)p->decay) * (double)a->w[i] - rate * scale * u);
        if (a->average) a->average[i] += (1 - p->average) * (a->w[i] - a->average[i]);
    }
}

lm_status lm_reference_muon(lm_error *e, lm_device *d, lm_muon_work *work, const lm_muon *p,
                            const lm_muon_matrix *matrices) {
    (void)e, (void)d;
    reference_muon *r = (reference_muon *)work;
    for (int i = 0; i < r->count; i++) step(r, r->shapes[i], p, &matrices[i]);
    return LM_OK;
}
