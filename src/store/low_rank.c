#include "store/low_rank.h"

#include "base/memory.h"
#include "base/random.h"

#include <math.h>
#include <string.h>

enum { OVERSAMPLE = 8, ITERATIONS = 4, SWEEPS = 30 };

// The subspace: p columns. y [rows,p] and z [columns,p] are the matrix's range and what it makes of it.
typedef struct work {
    const float *a;
    int64_t rows, columns;
    int p;
    double *y, *z, *gram, *rotation; // the last two [p,p]
} work;

static void work_free(work *w) {
    lm_free(w->y);
    lm_free(w->z);
    lm_free(w->gram);
    lm_free(w->rotation);
}

static lm_status work_create(lm_error *e, work *w) {
    size_t p = (size_t)w->p;
    w->y = lm_alloc((size_t)w->rows * p, sizeof(double));
    w->z = lm_alloc((size_t)w->columns * p, sizeof(double));
    w->gram = lm_alloc(p * p, sizeof(double));
    w->rotation = lm_alloc(p * p, sizeof(double));
    if (w->y && w->z && w->gram && w->rotation) return LM_OK;
    return lm_fail_memory(e, 8.0 * (double)(w->rows + w->columns) * w->p, "a matrix's approximation");
}

// to [p] += scale * from [p]
static void add_scaled(double *to, const double *from, double scale, int p) {
    for (int i = 0; i < p; i++) to[i] += scale * from[i];
}

// y = a z
static void apply(const work *w) {
    memset(w->y, 0, (size_t)(w->rows * w->p) * sizeof(double));
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < w->columns; c++)
            add_scaled(w->y + r * w->p, w->z + c * w->p, (double)w->a[r * w->columns + c], w->p);
}

// z = a^T y
static void apply_transposed(const work *w) {
    memset(w->z, 0, (size_t)(w->columns * w->p) * sizeof(double));
    for (int64_t r = 0; r < w->rows; r++)
        for (int64_t c = 0; c < w->columns; c++)
            add_scaled(w->z + c * w->p, w->y + r * w->p, (double)w->a[r * w->columns + c], w->p);
}

static double product(const work *w, int i, int j) {
    double sum = 0;
    for (int64_t r = 0; r < w->rows; r++) sum += w->y[r * w->p + i] * w->y[r * w->p + j];
    return sum;
}

// Columns of y become orthonormal by Gram-Schmidt, done twice; those that depend on others become zero.
static void orthonormalise(const work *w) {
    for (int j = 0; j < w->p; j++) {
        double before = product(w, j, j);
        for (int i = 0; i < 2 * j; i++) {
            double along = product(w, i % j, j);
            for (int64_t r = 0; r < w->rows; r++) w->y[r * w->p + j] -= along * w->y[r * w->p + i % j];
        }
        double square = product(w, j, j), scale = square > 1e-26 * before ? 1 / sqrt(square) : 0;
        for (int64_t r = 0; r < w->rows; r++) w->y[r * w->p + j] *= scale;
    }
}

// gram = z^T z
static void fill_gram(const work *w) {
    memset(w->gram, 0, (size_t)w->p * (size_t)w->p * sizeof(double));
    for (int64_t c = 0; c < w->columns; c++)
        for (int i = 0; i < w->p; i++)
            add_scaled(w->gram + (int64_t)i * w->p, w->z + c * w->p, w->z[c * w->p + i], w->p);
}

// Rotates numbers i and j of p pairs that lie `step` apart.
static void rotate(double *m, int p, int64_t at_i, int64_t at_j, int64_t step, double cosine, double sine) {
    for (int k = 0; k < p; k++) {
        double x = m[at_i + k * step], y = m[at_j + k * step];
        m[at_i + k * step] = cosine * x - sine * y;
        m[at_j + k * step] = sine * x + cosine * y;
    }
}

// Makes gram diagonal by cyclic Jacobi rotations (Golub & Van Loan, Matrix Computations, 8.5); rotation's columns are
// its eigenvectors.
static void diagonalise(const work *w) {
    int p = w->p;
    double *g = w->gram, *v = w->rotation, trace = 0;
    for (int i = 0; i < p * p; i++) v[i] = i / p == i % p;
    for (int i = 0; i < p; i++) trace += g[i * p + i];
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        double off = 0;
        for (int i = 0; i < p; i++)
            for (int j = i + 1; j < p; j++) {
                double b = g[i * p + j];
                off = fmax(off, fabs(b));
                if (fabs(b) <= 1e-18 * trace) continue;
                double tau = (g[j * p + j] - g[i * p + i]) / (2 * b);
                double t = (tau < 0 ? -1 : 1) / (fabs(tau) + sqrt(1 + tau * tau));
                double cosine = 1 / sqrt(1 + t * t), sine = t * cosine;
                rotate(g, p, i, j, p, cosine, sine);
                rotate(g, p, (int64_t)i * p, (int64_t)j * p, 1, cosine, sine);
                rotate(v, p, i, j, p, cosine, sine);
            }
        if (off <= 1e-15 * trace) break;
    }
}

// from [count,p] times column `column` of rotation, times scale -> out [count]
static void take(const work *w, const double *from, int64_t count, int column, double scale, float *out) {
    for (int64_t r = 0; r < count; r++) {
        double sum = 0;
        for (int k = 0; k < w->p; k++) sum += from[r * w->p + k] * w->rotation[k * w->p + column];
        out[r] = (float)(scale * sum);
    }
}

static int largest_left(const work *w) {
    int best = 0;
    for (int i = 1; i < w->p; i++)
        if (w->gram[i * w->p + i] > w->gram[best * w->p + best]) best = i;
    return best;
}

lm_status lm_low_rank(lm_error *e, const float *a, int64_t rows, int64_t columns, int rank, float *left, float *right) {
    int64_t least = rows < columns ? rows : columns, wanted = (int64_t)rank + OVERSAMPLE;
    if (rank < 1 || rank > least)
        return lm_fail(e, LM_USAGE, "rank %d of a matrix of %lld x %lld; 1 to %lld are possible", rank, (long long)rows,
                       (long long)columns, (long long)least);
    work w = {.a = a, .rows = rows, .columns = columns, .p = (int)(wanted < least ? wanted : least)};
    lm_status status = work_create(e, &w);
    if (status == LM_OK) {
        lm_stream random = {.seed = 1, .purpose = LM_FOR_INIT};
        for (int64_t i = 0; i < columns * w.p; i++) w.z[i] = 2 * lm_stream_uniform(&random) - 1;
        for (int i = 0; i <= ITERATIONS; i++) {
            apply(&w);
            orthonormalise(&w);
            apply_transposed(&w);
        }
        fill_gram(&w);
        diagonalise(&w);
    }
    for (int i = 0; i < rank && status == LM_OK; i++) {
        int at = largest_left(&w);
        double root = sqrt(sqrt(fmax(w.gram[at * w.p + at], 0)));
        take(&w, w.y, rows, at, root, left + i * rows);
        take(&w, w.z, columns, at, root > 0 ? 1 / root : 0, right + i * columns);
        w.gram[at * w.p + at] = -1;
    }
    work_free(&w);
    return status;
}
