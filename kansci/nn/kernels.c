/* The bilinear map of edge weights and basis jets, and its adjoints, point by point on the CPU.

   Weights w_iof, basis functions B_if of the sources, jets y_ci of the sources in units of the grid:

       sums             s_co = sum_if w_iof b_cif
       source_adjoint   derivatives of sum_co g_co s_co by the channels of the sources
       weight_adjoint   sum_cn g_con b_cifn
       weight_squares   sum_n (sum_c g_con b_cifn)^2
       columns          sum_c g_con b_cifn, point by point

   with b_0 = B(y_0), b_c = B'(y_0) y_c, and for channels of second order the sum of B''(y_0) y_a y_b besides.
   Points are handled in tiles of a few vectors, so that everything about a source stays in the first cache. All arrays
   are contiguous, points along the last axis. REAL is float or double. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { BYTES = 64, VECTORS = 4, LANES = BYTES / sizeof(REAL), TILE = LANES * VECTORS };
typedef REAL Vector __attribute__((vector_size(64)));
typedef union { Vector v[VECTORS]; REAL s[TILE]; } Row;
typedef int64_t Index;

#define INLINE static inline __attribute__((always_inline))
#define EACH_VECTOR for (int q = 0; q < VECTORS; q++)
#define EACH_POINT for (int s = 0; s < TILE; s++)

typedef struct {
    Index sources, targets, points;
    Index channels, second;                /* of the jets; how many of them are of second order */
    Index pairs;
    Index grid, degree, functions, splines;
    const Index *pair;                     /* (pairs, 3): y_a y_b is part of second-order channel c */
    const REAL *knots;                     /* (sources, grid + 2 degree + 1) */
    const Index *period;                   /* (sources) whether periodic, or null where none is */
    const REAL *breaks;                    /* (sources, grid + 1) positions of the knots, or null where equidistant */
    const REAL *pieces;                    /* ([sources, grid,] power, spline), in powers of position - middle */
    const REAL *base;                      /* (orders, sources, points) of the base function, or null for silu */
    const REAL *jets;                      /* (channels, sources, points) of the sources */
    double slopes[2];                      /* of the base function at the ends of its domain [-1, 1] */
} Edges;

/* What is known of one source at the points of a tile. */
typedef struct {
    Row *y, *squares, *values;             /* (channels), (second), (orders, rows) */
    Index rows;                            /* of all functions where dense, else of those alive */
    int dense;
    REAL scale;                            /* intervals in a unit of the source */
    int32_t first[TILE];                   /* first spline alive */
} Source;

/* Call a function with a constant number of orders, `least` or up to two more: each gets a version of its own. */
#define WITH_ORDERS(least, function, e, ...)                         \
    switch (orders - least) {                                        \
        case 0: function(e, least, __VA_ARGS__); break;              \
        case 1: function(e, least + 1, __VA_ARGS__); break;          \
        default: function(e, least + 2, __VA_ARGS__);                \
    }

/* Call it for each tile, in `rows` rows of work for each thread, and return whether there was no memory for them. */
#define RETURN_ON_TILES(rows, least, function, e, ...)                                             \
    Index size = rows;                                                                             \
    Row *work = work_for(threads, size);                                                           \
    if (!work) return 1;                                                                           \
    _Pragma("omp parallel for num_threads(threads) schedule(static)")                              \
    for (Index tile = 0; tile < tiles_of(e); tile++)                                               \
        WITH_ORDERS(least, function, e, tile, work + thread() * size, __VA_ARGS__)                 \
    free(work);                                                                                    \
    return 0

/* Derivatives of the edges that jets take. */
static int orders_of(const Edges *e) { return e->second ? 3 : e->channels > 1 ? 2 : 1; }

/* Whether to take all functions, most of them zero, or to look for the weights of those alive: by instructions. */
static int is_dense(const Edges *e, int orders) {
    Index alive = e->degree + 1;
    Index all = orders * (alive * TILE + e->targets * e->functions * VECTORS);
    return all < e->targets * alive * (TILE + orders * VECTORS);
}

static Index rows_of(const Edges *e, int orders) {
    return is_dense(e, orders) ? e->functions : e->degree + 1 + e->functions - e->splines;
}

static Index tiles_of(const Edges *e) { return (e->points + TILE - 1) / TILE; }

static Index count_of(const Edges *e, Index tile) {
    Index left = e->points - tile * TILE;
    return left < TILE ? left : TILE;
}

/* Rows that a source takes, and one in that many of them. */
static Index source_size(const Edges *e, int orders) {
    return e->channels + e->second + orders * rows_of(e, orders);
}

static Source source_in(const Edges *e, int orders, Row *work) {
    Row *squares = work + e->channels;
    Source source = {work, squares, squares + e->second, rows_of(e, orders), is_dense(e, orders), 1, {0}};
    return source;
}

static Row *work_for(int threads, Index size) { return aligned_alloc(BYTES, threads * size * sizeof(Row)); }

static int thread(void) {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

static void read_row(Row *to, const REAL *from, Index count) {
    if (count < TILE) memset(to, 0, sizeof *to);
    memcpy(to, from, count * sizeof(REAL));
}

static void write_row(const Edges *e, Index tile, const Row *from, REAL *to) {
    memcpy(to + tile * TILE, from, count_of(e, tile) * sizeof(REAL));
}

/* Jets of a source in units of the grid, and the products of its first derivatives. */
INLINE void load(const Edges *e, Index i, Index tile, Source *at) {
    Index start = tile * TILE, count = count_of(e, tile);
    const REAL *knots = e->knots + i * (e->grid + 2 * e->degree + 1) + e->degree;
    REAL grid = (REAL)e->grid, low = knots[0], width = knots[e->grid] - low;
    at->scale = grid / width;
    for (Index c = 0; c < e->channels; c++) {
        read_row(at->y + c, e->jets + (c * e->sources + i) * e->points + start, count);
        if (c) EACH_VECTOR at->y[c].v[q] *= at->scale;
        else EACH_VECTOR at->y[c].v[q] = (at->y[c].v[q] - low) / width * grid;
    }
    memset(at->squares, 0, e->second * sizeof(Row));
    for (Index p = 0; p < e->pairs; p++) {
        const Index *pair = e->pair + 3 * p;
        EACH_VECTOR at->squares[pair[2]].v[q] += at->y[1 + pair[0]].v[q] * at->y[1 + pair[1]].v[q];
    }
}

static Index interval_of(const REAL *breaks, Index grid, REAL position) {
    Index low = 0, high = grid - 1;
    while (low < high) {
        Index middle = (low + high + 1) / 2;
        if (position >= breaks[middle]) low = middle;
        else high = middle - 1;
    }
    return low;
}

/* Where points stand: on the grid, how far outside, in which interval and how far from its middle. */
INLINE int place(const Edges *e, Index i, Source *at, Row *inside, Row *outside, Row *v) {
    REAL top = (REAL)e->grid;
    int32_t last = (int32_t)e->grid - 1;
    int any = 0;
    if (e->period && e->period[i]) EACH_POINT {
        REAL rest = (REAL)__builtin_fmod(at->y->s[s], top);
        at->y->s[s] = rest < 0 ? rest + top : rest;
    }
    EACH_POINT {
        REAL position = at->y->s[s];
        inside->s[s] = position > 0 ? (position < top ? position : top) : 0;
        outside->s[s] = position - inside->s[s];
        any |= !(outside->s[s] == 0);
    }
    if (e->breaks) {
        const REAL *breaks = e->breaks + i * (e->grid + 1);
        EACH_POINT {
            Index interval = interval_of(breaks, e->grid, inside->s[s]);
            at->first[s] = (int32_t)interval;
            v->s[s] = inside->s[s] - (breaks[interval] + breaks[interval + 1]) / 2;
        }
    } else EACH_POINT {
        int32_t interval = (int32_t)inside->s[s];
        at->first[s] = interval < last ? interval : last;
        v->s[s] = inside->s[s] - (REAL)at->first[s] - (REAL)0.5;
    }
    if (any) EACH_POINT if (outside->s[s] != outside->s[s]) v->s[s] = inside->s[s] = outside->s[s];
    return any;
}

/* Horner's rule for spline a and its derivatives at once. */
INLINE void horner(const Edges *e, Index i, Index a, const int32_t *first, const Row *v, int orders, Row *found) {
    Index size = e->degree + 1;
    Vector own[4][VECTORS];
    for (int m = 0; m < orders; m++) EACH_VECTOR own[m][q] = (Vector){0};
    for (Index power = e->degree; power >= 0; power--) {
        for (int m = orders - 1; m > 0; m--) EACH_VECTOR own[m][q] = own[m][q] * v->v[q] + own[m - 1][q];
        if (e->breaks) {
            const REAL *pieces = e->pieces + (i * e->grid * size + power) * size + a;
            Row coefficients;
            EACH_POINT coefficients.s[s] = pieces[first[s] * size * size];
            EACH_VECTOR own[0][q] = own[0][q] * v->v[q] + coefficients.v[q];
        } else {
            REAL coefficient = e->pieces[power * size + a];
            EACH_VECTOR own[0][q] = own[0][q] * v->v[q] + coefficient;
        }
    }
    for (int m = 0; m < orders; m++) EACH_VECTOR found[m].v[q] = own[m][q];
}

/* exp on [-1, 1]: 1 / m! for as many m as there are digits. */
static const REAL EXP[] = {
    1.0, 1.0, 1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800,
    1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800, 1.0 / 87178291200, 1.0 / 1307674368000,
    1.0 / 20922789888000, 1.0 / 355687428096000, 1.0 / 6402373705728000,
};
enum { TERMS = sizeof(REAL) == 4 ? 12 : sizeof EXP / sizeof *EXP };

/* silu and its derivatives on [-1, 1]. */
INLINE void silu(const Row *x, int orders, Row *found, Index rows) {
    Vector power[VECTORS];
    EACH_VECTOR power[q] = x->v[q] - x->v[q] + EXP[TERMS - 1];
    for (int m = TERMS - 2; m >= 0; m--) EACH_VECTOR power[q] = EXP[m] - power[q] * x->v[q];
    EACH_VECTOR {
        Vector own = x->v[q], s = 1 / (1 + power[q]), slope = s * (1 - s), tilt = 1 - 2 * s;
        found[0].v[q] = own * s;
        if (orders > 1) found[rows].v[q] = s + own * slope;
        if (orders > 2) found[2 * rows].v[q] = slope * (2 + own * tilt);
        if (orders > 3) found[3 * rows].v[q] = slope * (3 * tilt + own * (1 - 6 * slope));
    }
}

/* The base function of the place on the grid, scaled to [-1, 1]. */
INLINE void evaluate_base(
    const Edges *e, Index i, Index tile, int orders, const Row *inside, const Row *outside, const Row *within,
    int beyond, Source *at
) {
    Row *base = at->values + at->rows - 1, x;
    REAL step = 2 / (REAL)e->grid, unit = 1;
    EACH_VECTOR x.v[q] = inside->v[q] * step - 1;
    if (!e->base) silu(&x, orders, base, at->rows);
    for (int m = 0; m < orders; m++, unit *= step, base += at->rows) {
        if (e->base) read_row(base, e->base + (m * e->sources + i) * e->points + tile * TILE, count_of(e, tile));
        if (m == 0 && beyond) EACH_POINT base->s[s] += outside->s[s] * step * (REAL)e->slopes[outside->s[s] > 0];
        if (m == 1) EACH_VECTOR base->v[q] *= unit;
        if (m > 1) EACH_VECTOR base->v[q] *= unit * within->v[q];
    }
}

/* Derivatives of order 0, ..., orders - 1 of the functions of a source; linear outside of the grid. */
INLINE void evaluate(const Edges *e, Index i, Index tile, int orders, Source *at) {
    Row inside, outside, within, v, own[4];
    int beyond = place(e, i, at, &inside, &outside, &v);
    EACH_POINT within.s[s] = outside.s[s] == 0;
    if (at->dense) memset(at->values, 0, orders * at->rows * sizeof(Row));
    for (Index a = 0; a <= e->degree; a++) {
        if (beyond && orders < 2) horner(e, i, a, at->first, &v, 2, own);
        else horner(e, i, a, at->first, &v, orders, own);
        if (beyond) EACH_VECTOR own[0].v[q] += outside.v[q] * own[1].v[q];
        for (int m = 2; m < orders; m++) EACH_VECTOR own[m].v[q] *= within.v[q] * (REAL)(m == 2 ? 2 : 6);
        for (int m = 0; m < orders; m++)
            if (at->dense) EACH_POINT at->values[m * at->rows + at->first[s] + a].s[s] = own[m].s[s];
            else at->values[m * at->rows + a] = own[m];
    }
    if (e->functions > e->splines) evaluate_base(e, i, tile, orders, &inside, &outside, &within, beyond, at);
}

/* Derivatives of order `from` to `to` - 1 of an edge. */
INLINE void curves(const Edges *e, const Source *at, int from, int to, const REAL *weights, Row *phi) {
    Vector total[4][VECTORS];
    for (int m = from; m < to; m++) EACH_VECTOR total[m][q] = (Vector){0};
    if (at->dense) {
        for (Index f = 0; f < at->rows; f++)
            for (int m = from; m < to; m++)
                EACH_VECTOR total[m][q] += at->values[m * at->rows + f].v[q] * weights[f];
    } else {
        for (Index a = 0; a < at->rows; a++) {
            Row own;
            if (a > e->degree) EACH_POINT own.s[s] = weights[e->splines];
            else EACH_POINT own.s[s] = weights[at->first[s] + a];
            for (int m = from; m < to; m++)
                EACH_VECTOR total[m][q] += at->values[m * at->rows + a].v[q] * own.v[q];
        }
    }
    for (int m = from; m < to; m++) EACH_VECTOR phi[m].v[q] = total[m][q];
}

INLINE void sums_of_tile(
    const Edges *e, int orders, Index tile, Row *work, const REAL *weights, const REAL *bias, REAL *found
) {
    Index n_out = e->targets, outputs = e->channels * n_out, curved = e->channels - e->second;
    Source at = source_in(e, orders, work);
    Row *total = work + source_size(e, orders), phi[3];
    memset(total, 0, outputs * sizeof(Row));
    if (bias) for (Index o = 0; o < n_out; o++) EACH_VECTOR total[o].v[q] += bias[o];
    for (Index i = 0; i < e->sources; i++) {
        load(e, i, tile, &at);
        evaluate(e, i, tile, orders, &at);
        for (Index o = 0; o < n_out; o++, weights += e->functions) {
            curves(e, &at, 0, orders, weights, phi);
            EACH_VECTOR total[o].v[q] += phi[0].v[q];
            for (Index c = 1; c < e->channels; c++)
                EACH_VECTOR total[c * n_out + o].v[q] += phi[1].v[q] * at.y[c].v[q];
            for (Index c = 0; c < e->second; c++)
                EACH_VECTOR total[(curved + c) * n_out + o].v[q] += phi[2].v[q] * at.squares[c].v[q];
        }
    }
    for (Index row = 0; row < outputs; row++) write_row(e, tile, total + row, found + row * e->points);
}

/* found (channels, targets, points) from weights (sources, targets, functions) and bias (targets) or null */
int sums(const Edges *e, int threads, const REAL *weights, const REAL *bias, REAL *found) {
    int orders = orders_of(e);
    Index rows = source_size(e, orders) + e->channels * e->targets;
    RETURN_ON_TILES(rows, 1, sums_of_tile, e, weights, bias, found);
}

/* Seeds (channels, targets) of a tile, next to each other. */
static void read_seeds(const Edges *e, Index tile, const REAL *seeds, Row *found) {
    for (Index row = 0; row < e->channels * e->targets; row++)
        read_row(found + row, seeds + row * e->points + tile * TILE, count_of(e, tile));
}

INLINE void source_adjoint_of_tile(
    const Edges *e, int orders, Index tile, Row *work, const REAL *weights, const REAL *seeds, REAL *found
) {
    Index n_out = e->targets, outputs = e->channels * n_out, curved = e->channels - e->second;
    Source at = source_in(e, orders, work);
    Row *seed = work + source_size(e, orders), *y = seed + outputs, *squares = y + e->channels, phi[4];
    read_seeds(e, tile, seeds, seed);
    for (Index i = 0; i < e->sources; i++) {
        load(e, i, tile, &at);
        evaluate(e, i, tile, orders, &at);
        memset(y, 0, (e->channels + e->second) * sizeof(Row));
        for (Index o = 0; o < n_out; o++, weights += e->functions) {
            curves(e, &at, 1, orders, weights, phi);
            EACH_VECTOR y->v[q] += seed[o].v[q] * phi[1].v[q];
            for (Index c = 1; c < e->channels; c++) {
                const Row *own = seed + c * n_out + o;
                EACH_VECTOR y[c].v[q] += own->v[q] * phi[1].v[q];
                EACH_VECTOR y->v[q] += own->v[q] * at.y[c].v[q] * phi[2].v[q];
            }
            for (Index c = 0; c < e->second; c++) {
                const Row *own = seed + (curved + c) * n_out + o;
                EACH_VECTOR squares[c].v[q] += own->v[q] * phi[2].v[q];
                EACH_VECTOR y->v[q] += own->v[q] * at.squares[c].v[q] * phi[3].v[q];
            }
        }
        for (Index p = 0; p < e->pairs; p++) {
            const Index *pair = e->pair + 3 * p, a = 1 + pair[0], b = 1 + pair[1];
            EACH_VECTOR y[a].v[q] += squares[pair[2]].v[q] * at.y[b].v[q];
            EACH_VECTOR y[b].v[q] += squares[pair[2]].v[q] * at.y[a].v[q];
        }
        for (Index c = 0; c < e->channels; c++) {
            EACH_VECTOR y[c].v[q] *= at.scale;
            write_row(e, tile, y + c, found + (c * e->sources + i) * e->points);
        }
    }
}

/* found (channels, sources, points) from weights and seeds (channels, targets, points) */
int source_adjoint(const Edges *e, int threads, const REAL *weights, const REAL *seeds, REAL *found) {
    int orders = orders_of(e) + 1;
    Index rows = source_size(e, orders) + e->channels * e->targets + e->channels + e->second;
    RETURN_ON_TILES(rows, 2, source_adjoint_of_tile, e, weights, seeds, found);
}

/* Derivatives of sum_c g_c phi(y)_c by phi, phi' and phi''. */
INLINE void order_seeds(const Edges *e, int orders, Index o, const Row *seeds, const Source *at, Row *found) {
    Index curved = e->channels - e->second;
    found[0] = seeds[o];
    for (int m = 1; m < orders; m++) memset(found + m, 0, sizeof(Row));
    for (Index c = 1; c < e->channels; c++)
        EACH_VECTOR found[1].v[q] += seeds[c * e->targets + o].v[q] * at->y[c].v[q];
    for (Index c = 0; c < e->second; c++)
        EACH_VECTOR found[2].v[q] += seeds[(curved + c) * e->targets + o].v[q] * at->squares[c].v[q];
}

INLINE Row weigh(const Source *at, int orders, const Row *seeds, Index row) {
    Row total;
    EACH_VECTOR total.v[q] = seeds->v[q] * at->values[row].v[q];
    for (int m = 1; m < orders; m++)
        EACH_VECTOR total.v[q] += seeds[m].v[q] * at->values[m * at->rows + row].v[q];
    return total;
}

static REAL sum_of(Vector lanes) {
    REAL total = 0;
    for (int lane = 0; lane < LANES; lane++) total += lanes[lane];
    return total;
}

/* Lanes (targets, rows) collect what belongs to one function everywhere; other splines alive go to their places. */
INLINE void weights_of_tile(
    const Edges *e, int orders, int squared, Index i, Index tile, Row *work, const Row *seeds, Vector *lanes,
    REAL *found
) {
    Source at = source_in(e, orders, work);
    load(e, i, tile, &at);
    evaluate(e, i, tile, orders, &at);
    Index places = at.dense ? 0 : e->degree + 1;
    for (Index o = 0; o < e->targets; o++, found += e->functions, lanes += at.rows) {
        Row own[3];
        order_seeds(e, orders, o, seeds, &at, own);
        for (Index row = places; squared && row < at.rows; row++) {
            Row part = weigh(&at, orders, own, row);
            EACH_VECTOR lanes[row] += part.v[q] * part.v[q];
        }
        for (Index row = places; !squared && row < at.rows; row++) {
            Vector total[2] = {lanes[row], {0}};
            for (int m = 0; m < orders; m++)
                EACH_VECTOR total[q % 2] += own[m].v[q] * at.values[m * at.rows + row].v[q];
            lanes[row] = total[0] + total[1];
        }
        for (Index row = 0; row < places; row++) {
            Row part = weigh(&at, orders, own, row);
            EACH_POINT found[at.first[s] + row] += squared ? part.s[s] * part.s[s] : part.s[s];
        }
    }
}

/* Seeds are (tiles, channels, targets) rows. */
static void weights_of_part(
    const Edges *e, int squared, Index i, Index first, Index last, Row *work, const Row *seeds, REAL *found
) {
    int orders = orders_of(e), dense = is_dense(e, orders);
    Index rows = rows_of(e, orders), size = e->channels * e->targets;
    Vector *lanes = (Vector *)(work + source_size(e, orders));
    memset(lanes, 0, e->targets * rows * sizeof(Vector));
    for (Index tile = first; tile < last; tile++)
        if (squared) WITH_ORDERS(1, weights_of_tile, e, 1, i, tile, work, seeds + tile * size, lanes, found)
        else WITH_ORDERS(1, weights_of_tile, e, 0, i, tile, work, seeds + tile * size, lanes, found)
    for (Index o = 0; o < e->targets; o++, found += e->functions, lanes += rows)
        for (Index row = dense ? 0 : e->degree + 1; row < rows; row++)
            found[e->functions - rows + row] += sum_of(lanes[row]);
}

static int weights_of_parts(const Edges *e, int threads, int squared, Index parts, const REAL *seeds, REAL *found) {
    int orders = orders_of(e);
    Index tiles = tiles_of(e), weights = e->targets * e->functions, outputs = e->channels * e->targets;
    Index size = source_size(e, orders) + (e->targets * rows_of(e, orders) + VECTORS - 1) / VECTORS;
    Row *work = work_for(1, threads * size + tiles * outputs), *packed = work + threads * size;
    if (!work) return 1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index tile = 0; tile < tiles; tile++) read_seeds(e, tile, seeds, packed + tile * outputs);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (Index own = 0; own < parts * e->sources; own++) {
        Index part = own / e->sources, first = part * tiles / parts, last = (part + 1) * tiles / parts;
        weights_of_part(
            e, squared, own % e->sources, first, last, work + thread() * size, packed, found + own * weights
        );
    }
    free(work);
    return 0;
}

/* found (parts, sources, targets, functions), zeros at first, each from its part of the points: sums of the parts do
   not depend on the number of threads */
int weight_adjoint(const Edges *e, int threads, Index parts, const REAL *seeds, REAL *found) {
    return weights_of_parts(e, threads, 0, parts, seeds, found);
}

int weight_squares(const Edges *e, int threads, Index parts, const REAL *seeds, REAL *found) {
    return weights_of_parts(e, threads, 1, parts, seeds, found);
}

INLINE void columns_of_tile(
    const Edges *e, int orders, Index tile, Row *work, const REAL *seeds, REAL *splines, REAL *base
) {
    Index start = tile * TILE, count = count_of(e, tile), n = e->points;
    Source at = source_in(e, orders, work);
    Row *packed = work + source_size(e, orders);
    read_seeds(e, tile, seeds, packed);
    for (Index i = 0; i < e->sources; i++) {
        load(e, i, tile, &at);
        evaluate(e, i, tile, orders, &at);
        for (Index o = 0; o < e->targets; o++) {
            Row own[3];
            order_seeds(e, orders, o, packed, &at, own);
            REAL *to = splines ? splines + (o * e->sources + i) * e->splines * n + start : NULL;
            if (splines && !at.dense)
                for (Index f = 0; f < e->splines; f++) memset(to + f * n, 0, count * sizeof(REAL));
            for (Index row = 0; row < at.rows; row++) {
                int is_base = e->functions > e->splines && row == at.rows - 1;
                if (!(is_base ? base : splines)) continue;
                Row part = weigh(&at, orders, own, row);
                if (is_base) write_row(e, tile, &part, base + (o * e->sources + i) * n);
                else if (at.dense) memcpy(to + row * n, part.s, count * sizeof(REAL));
                else for (Index s = 0; s < count; s++) to[(at.first[s] + row) * n + s] = part.s[s];
            }
        }
    }
}

/* splines (targets, sources, splines, points) and base (targets, sources, points), either of which may be null */
int columns(const Edges *e, int threads, const REAL *seeds, REAL *splines, REAL *base) {
    int orders = orders_of(e);
    Index rows = source_size(e, orders) + e->channels * e->targets;
    RETURN_ON_TILES(rows, 1, columns_of_tile, e, seeds, splines, base);
}
