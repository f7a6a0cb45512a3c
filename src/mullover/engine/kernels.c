// What a CPU computes for sequences that grow by one token: attention over cached blocks, and the small operations
// around the matrix products, each in one pass over its numbers. kernels.py compiles this file and calls it.
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#define BLOCK 32   // slots of a block, a multiple of 2 * LANES
#define SHARED 6   // query vectors of a block from which they are computed side by side
#define CHUNK 256   // probabilities that are added up before the chunks are: a sum of many small ones keeps its digits
#define WORTH 4096  // numbers from which a second thread gains more than it costs to wake
#define INLINE static inline __attribute__((always_inline))

typedef int64_t num;
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec v) { *(vec *)p = v; }

// exp(x) to 1e-7 of it; 0 below -87; NaN stays NaN.
INLINE float exp_of(float x) {
    float n = floorf((x < -87.0f ? -87.0f : x) * 1.44269504f + 0.5f);
    float r = (x < -87.0f ? -87.0f : x) - n * 0.693359375f + n * 2.12194440e-4f, p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    union { int32_t bits; float power; } two = {.bits = ((int32_t)n + 127) * (1 << 23)};
    return x < -87.0f ? 0.0f : (p * r * r + r + 1.0f) * two.power;
}

INLINE float dot(const float *a, const float *b, num width) {
    float sum = 0;
    for (num d = 0; d < width; d++) sum += a[d] * b[d];
    return sum;
}

// The largest of a block's numbers and `top`; not NaN unless that is.
INLINE float most(const float *x, float top) {
    float best[LANES];
    for (int i = 0; i < LANES; i++) best[i] = top;
    for (int j = 0; j < BLOCK; j += LANES)
        for (int i = 0; i < LANES; i++) best[i] = x[j + i] > best[i] ? x[j + i] : best[i];
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) best[i] = best[i + half] > best[i] ? best[i + half] : best[i];
    return best[0];
}

typedef struct {
    const float *q;
    float *out, *peak, *total;  // out: not yet divided by `total`
    num from, to;               // slots of the block that it sees
} Query;

// What was seen so far counts less, since a larger score was found.
INLINE void shrink(const Query *one, float top, num width) {
    float less = exp_of(*one->peak - top);
    *one->peak = top;
    *one->total *= less;
    for (num d = 0; d < width; d++) one->out[d] *= less;
}

// One query reads a block.
INLINE void read_alone(const Query *one, const float *keys, const float *values, float cap, num width) {
    float scores[BLOCK] __attribute__((aligned(64))), sum = 0;
    for (num j = 0; j < BLOCK; j++) scores[j] = -INFINITY;
    for (num j = one->from; j < one->to; j++) scores[j] = dot(one->q, keys + j * width, width);
    if (cap > 0)
        for (num j = one->from; j < one->to; j++) scores[j] = cap * tanhf(scores[j] / cap);
    float top = most(scores, *one->peak);
    if (top > *one->peak) shrink(one, top, width);
    for (num j = 0; j < BLOCK; j++) sum += scores[j] = exp_of(scores[j] - top);
    *one->total += sum;
    num d = 0;
    for (; d + 4 * LANES <= width; d += 4 * LANES) {
        vec seen[4];
        for (int c = 0; c < 4; c++) seen[c] = load(one->out + d + c * LANES);
        for (num j = one->from; j < one->to; j++)
            for (int c = 0; c < 4; c++) seen[c] += scores[j] * load(values + j * width + d + c * LANES);
        for (int c = 0; c < 4; c++) store(one->out + d + c * LANES, seen[c]);
    }
    for (num j = one->from; j < one->to; j++)
        for (num k = d; k < width; k++) one->out[k] += scores[j] * values[j * width + k];
}

// As many queries as there are lanes, or fewer, read a block together.
INLINE void read_shared(const Query *queries, int count, const float *keys, const float *values, float cap, num width) {
    float q[width][LANES] __attribute__((aligned(64))), scores[BLOCK][LANES] __attribute__((aligned(64)));
    float top[LANES], sum[LANES];
    num first = BLOCK, last = 0;
    for (int i = 0; i < LANES; i++) {
        const Query *one = queries + (i < count ? i : 0);
        first = one->from < first ? one->from : first;
        last = one->to > last ? one->to : last;
        top[i] = *one->peak;
        sum[i] = 0;
        for (num d = 0; d < width; d++) q[d][i] = one->q[d];
    }
    for (num j = 0; j < BLOCK; j += 8) {
        vec found[8];
        for (int c = 0; c < 8; c++) found[c] = (vec){0};
        for (num d = 0; d < width; d++)
            for (int c = 0; c < 8; c++) found[c] += keys[(j + c) * width + d] * load(q[d]);
        for (int c = 0; c < 8; c++) store(scores[j + c], found[c]);
    }
    if (cap > 0)
        for (num j = first; j < last; j++)
            for (int i = 0; i < LANES; i++) scores[j][i] = cap * tanhf(scores[j][i] / cap);
    for (int i = 0; i < count; i++) {
        for (num j = first; j < queries[i].from; j++) scores[j][i] = -INFINITY;
        for (num j = queries[i].to; j < last; j++) scores[j][i] = -INFINITY;
    }
    for (num j = first; j < last; j++)
        for (int i = 0; i < LANES; i++) top[i] = scores[j][i] > top[i] ? scores[j][i] : top[i];
    for (int i = 0; i < count; i++)
        if (top[i] > *queries[i].peak) shrink(queries + i, top[i], width);
    for (num j = first; j < last; j++)
        for (int i = 0; i < LANES; i++) sum[i] += scores[j][i] = exp_of(scores[j][i] - top[i]);
    for (int i = 0; i < count; i++) *queries[i].total += sum[i];
    for (int i = 0; i < count; i += 4) {
        float *out[4];
        for (int c = 0; c < 4; c++) out[c] = queries[i + c < count ? i + c : i].out;
        num d = 0;
        for (; d + 2 * LANES <= width; d += 2 * LANES) {
            vec a[4], b[4];
            for (int c = 0; c < 4; c++) a[c] = load(out[c] + d), b[c] = load(out[c] + d + LANES);
            for (num j = first; j < last; j++) {
                vec v = load(values + j * width + d), w = load(values + j * width + d + LANES);
                for (int c = 0; c < 4; c++) a[c] += scores[j][i + c] * v, b[c] += scores[j][i + c] * w;
            }
            for (int c = 3; c >= 0; c--) store(out[c] + d, a[c]), store(out[c] + d + LANES, b[c]);
        }
        for (int c = 0; c < 4 && i + c < count; c++)
            for (num j = first; j < last; j++)
                for (num k = d; k < width; k++) out[c][k] += scores[j][i + c] * values[j * width + k];
    }
}

typedef struct {
    const float *q, *cache;
    float *out;
    const int32_t *tiles, *entries, *rows, *ends, *positions;
    num count, stride, heads, each, width, window;  // count: of tiles
    float cap;
} Pass;

// What the rows of one tile see through one key head.
INLINE void tile(const Pass *p, num number, num head, num width) {
    const int32_t *here = p->tiles + 2 * number;
    num each = p->each, begin = here[1], rows = here[3] - begin, queries = p->heads * each;
    float peak[rows * each], total[rows * each];
    for (num i = 0; i < rows * each; i++) peak[i] = -INFINITY, total[i] = 0;
    for (num r = 0; r < rows; r++) memset(p->out + ((begin + r) * queries + head * each) * width, 0, 4 * each * width);
    for (num e = here[0]; e < here[2]; e++) {
        const int32_t *entry = p->entries + 4 * e;
        const float *keys = p->cache + (entry[0] * p->heads + head) * 2 * BLOCK * width, *values = keys + BLOCK * width;
        Query waiting[LANES];
        int count = 0, shared = (entry[7] - entry[3]) * each >= SHARED;
        for (num u = entry[3]; u < entry[7]; u++) {
            num row = p->rows[u], from = entry[1], to = p->ends[u];
            if (p->window) {
                num seen = p->positions[row] - p->window + 1 - entry[2];
                from = seen > from ? seen : from;
            }
            for (num g = 0; g < each && from < to; g++) {
                num i = (row - begin) * each + g;
                const float *q = p->q + row * p->stride + (head * each + g) * width;
                waiting[count] = (Query){q, p->out + (row * queries + head * each + g) * width, peak + i, total + i, from, to};
                if (!shared) read_alone(waiting, keys, values, p->cap, width);
                else if (++count == LANES) read_shared(waiting, count, keys, values, p->cap, width), count = 0;
            }
        }
        if (count) read_shared(waiting, count, keys, values, p->cap, width);
    }
    for (num r = 0; r < rows; r++)
        for (num g = 0; g < each; g++) {
            float *out = p->out + ((begin + r) * queries + head * each + g) * width, share = 1 / total[r * each + g];
            for (num d = 0; d < width; d++) out[d] *= share;
        }
}

static void attend_by_all(const Pass *p) {
#pragma omp for schedule(dynamic)
    for (num i = 0; i < p->count * p->heads; i++) {
        if (p->width == 64) tile(p, i / p->heads, i % p->heads, 64);
        else if (p->width == 128) tile(p, i / p->heads, i % p->heads, 128);
        else tile(p, i / p->heads, i % p->heads, p->width);
    }
}

// Single queries over the blocks that they may see.
//   q: (rows, query heads, width), rows `stride` numbers apart; out: the same, close together
//   cache: (blocks, heads, 2, BLOCK, width); tiles, entries, rows, ends, positions: see reads.py
void attend(const float *q, const float *cache, float *out, const int32_t *tiles, const int32_t *entries, const int32_t *rows,
            const int32_t *ends, const int32_t *positions, num count, num stride, num heads, num each, num width, num window,
            float cap, int threads) {
    Pass p = {q, cache, out, tiles, entries, rows, ends, positions, count, stride, heads, each, width, window, cap};
#pragma omp parallel num_threads(threads)
    attend_by_all(&p);
}

// out = x over its root mean square, times `weight`; `out` may be `x`.
INLINE void normed(const float *x, const float *weight, float *out, num width, float eps) {
    float scale = 1 / sqrtf(dot(x, x, width) / (float)width + eps);
    for (num d = 0; d < width; d++) out[d] = x[d] * scale * weight[d];
}

// normed, for each of `count` rows
void norm(const float *x, const float *weight, float *out, num count, num width, float eps, int threads) {
#pragma omp parallel for num_threads(threads) if (count * width > WORTH)
    for (num i = 0; i < count; i++) normed(x + i * width, weight, out + i * width, width, eps);
}

// silu(gate) * up
INLINE float let_through(float gate, float up) {
    float less = exp_of(gate < 0 ? gate : -gate);  // of what is not above 0, so that nothing overflows
    return gate * up * (gate < 0 ? less : 1) / (1 + less);
}

// out = silu(gate) * up, of rows that hold both
void gated(const float *both, float *out, num count, num width, int threads) {
#pragma omp parallel for num_threads(threads) if (count * width > WORTH)
    for (num i = 0; i < count; i++) {
        const float *gate = both + 2 * i * width;
        for (num d = 0; d < width; d++) out[i * width + d] = let_through(gate[d], gate[width + d]);
    }
}

// Where the keys and values of new tokens go: `writes` says which of all tokens they are, or NULL if all are new.
typedef struct {
    const num *writes, *blocks, *slots;
    num news;
} Places;

// Turn queries and keys of one layer by their positions, where they lie, and store new keys and values. Run by all
// threads of a region.
//   qkv: (count, query heads + 2 heads, width); cos, sin: (count, width), the second half of which is not read
//   norms: weights of the norms of queries and of keys, or NULL
static void turn_by_all(float *qkv, const float *cos, const float *sin, const float *query_norm, const float *key_norm,
                        float *cache, const Places *places, num count, num queries, num heads, num width, float scale, float eps) {
    num half = width / 2, stride = (queries + 2 * heads) * width;
#pragma omp for
    for (num t = 0; t < count; t++)
        for (num h = 0; h < queries + heads; h++) {
            float *x = qkv + t * stride + h * width, by = h < queries ? scale : 1;
            const float *c = cos + t * width, *s = sin + t * width;
            if (query_norm) normed(x, h < queries ? query_norm : key_norm, x, width, eps);
            for (num d = 0; d < half; d++) {
                float a = x[d] * by, b = x[d + half] * by;
                x[d] = a * c[d] - b * s[d];
                x[d + half] = b * c[d] + a * s[d];
            }
        }
#pragma omp for
    for (num i = 0; i < places->news; i++) {
        const float *k = qkv + (places->writes ? places->writes[i] : i) * stride + queries * width, *v = k + heads * width;
        for (num h = 0; h < heads; h++) {
            float *to = cache + ((places->blocks[i] * heads + h) * 2 * BLOCK + places->slots[i]) * width;
            memcpy(to, k + h * width, 4 * width);
            memcpy(to + BLOCK * width, v + h * width, 4 * width);
        }
    }
}

void turn(float *qkv, const float *cos, const float *sin, const float *query_norm, const float *key_norm, float *cache,
          const num *writes, const num *blocks, const num *slots, num count, num news, num queries, num heads, num width,
          float scale, float eps, int threads) {
    Places places = {writes, blocks, slots, news};
#pragma omp parallel num_threads(threads) if (count * queries * width > WORTH)
    turn_by_all(qkv, cos, sin, query_norm, key_norm, cache, &places, count, queries, heads, width, scale, eps);
}

// The log of the sum of each row's exponentials
void log_sums(const float *logits, float *out, num count, num size, int threads) {
#pragma omp parallel for num_threads(threads) if (count * size > WORTH)
    for (num i = 0; i < count; i++) {
        const float *x = logits + i * size;
        float best[LANES], top = -INFINITY;
        double total = 0;
        for (int c = 0; c < LANES; c++) best[c] = -INFINITY;
        for (num j = 0; j + LANES <= size; j += LANES)
            for (int c = 0; c < LANES; c++) best[c] = x[j + c] > best[c] ? x[j + c] : best[c];
        for (num j = size / LANES * LANES; j < size; j++) top = x[j] > top ? x[j] : top;
        for (int c = 0; c < LANES; c++) top = best[c] > top ? best[c] : top;
        for (num j = 0; j < size; j += CHUNK) {
            float sum = 0;
            for (num k = j; k < (size < j + CHUNK ? size : j + CHUNK); k++) sum += exp_of(x[k] - (top > -INFINITY ? top : 0));
            total += sum;
        }
        out[i] = top == INFINITY ? NAN : top > -INFINITY || total != total ? top + (float)log(total) : -INFINITY;
    }
}

// The token at each row's quantile, in the order of token ids; never one of probability 0 where there is another.
//   logits: (count, size) with norms, the logs of the sums of their exponentials; uniform: (count,) in [0, 1)
void quantile(const float *logits, const float *norms, const double *uniform, num *tokens, num count, num size, int threads) {
#pragma omp parallel for num_threads(threads) if (count * size > WORTH)
    for (num i = 0; i < count; i++) {
        const float *x = logits + i * size;
        double total = 0, before = 0, target;
        num begin = 0, last = 0;
        for (num j = 0; j < size; j += CHUNK) {
            float sum = 0;
            for (num k = j; k < (size < j + CHUNK ? size : j + CHUNK); k++) sum += exp_of(x[k] - norms[i]);
            total += sum;
        }
        target = uniform[i] * total;
        for (; begin < size; begin += CHUNK) {  // the chunk in which it lies
            float sum = 0;
            for (num k = begin; k < (size < begin + CHUNK ? size : begin + CHUNK); k++) sum += exp_of(x[k] - norms[i]);
            if (sum > 0) last = begin;
            if (before + sum > target) break;
            before += sum;
        }
        if (begin >= size) begin = last;
        tokens[i] = begin;
        for (num k = begin; k < (size < begin + CHUNK ? size : begin + CHUNK); k++) {
            float chance = exp_of(x[k] - norms[i]);
            if (chance > 0) tokens[i] = k;
            before += chance;
            if (before > target && chance > 0) break;
        }
    }
}

// ---- a whole pass over single tokens ----

// Rows of x by `many` to blocks that lie (width, many), normed if there is a `weight`; zeros stand in for missing rows.
static void turned_by_all(const float *x, const float *weight, float *to, num rows, num width, int many, float eps) {
#pragma omp for
    for (num b = 0; b < (rows + many - 1) / many; b++) {
        float scale[8], *out = to + b * width * many;
        for (int i = 0; i < many; i++) {
            const float *row = x + (b * many + i) * width;
            scale[i] = b * many + i >= rows ? 0 : weight ? 1 / sqrtf(dot(row, row, width) / (float)width + eps) : 1;
        }
        for (int i = 0; i < many; i++) {
            const float *row = b * many + i < rows ? x + (b * many + i) * width : x;
            if (weight) for (num k = 0; k < width; k++) out[k * many + i] = row[k] * scale[i] * weight[k];
            else for (num k = 0; k < width; k++) out[k * many + i] = row[k] * scale[i];
        }
    }
}

// What becomes of a product: stored, added to what is there, or let through by its other half to the next product.
enum { STORE, ADD, GATE };

// `many` rows of x, laid out (inner, many), with two panels of LANES columns each, laid out (inner, LANES).
INLINE void product(const float *x, const float *panels, const float *bias, float *out, num inner, num outer, num first,
                    num rows, int many, int kind) {
    vec sum[8][2];
    for (int i = 0; i < many; i++) sum[i][0] = sum[i][1] = (vec){0};
    for (num k = 0; k < inner; k++) {
        vec a = load(panels + k * LANES), b = load(panels + (inner + k) * LANES);
        for (int i = 0; i < many; i++) {
            sum[i][0] += x[k * many + i] * a;
            sum[i][1] += x[k * many + i] * b;
        }
    }
    if (kind == GATE) {
        for (int i = 0; i < many; i++) {
            float gate[LANES], up[LANES];
            store(gate, sum[i][0]), store(up, sum[i][1]);
            for (int c = 0; c < LANES; c++) gate[c] = let_through(gate[c], up[c]);
            for (int c = 0; c < LANES; c++) out[(first / 2 + c) * many + i] = gate[c];
        }
        return;
    }
    for (int i = 0; i < many && i < rows; i++) {
        float *to = out + i * outer + first;
        vec a = sum[i][0], b = sum[i][1];
        if (bias) a += load(bias + first), b += load(bias + first + LANES);
        if (kind == ADD) a += load(to), b += load(to + LANES);
        store(to, a), store(to + LANES, b);
    }
}

INLINE void products(const float *x, const float *panels, const float *bias, float *out, num rows, num inner, num outer, int many, int kind) {
    num apart = kind == GATE ? outer / 2 * many : outer * many;
#pragma omp for
    for (num first = 0; first < outer; first += 2 * LANES)
        for (num r = 0; r < rows; r += many)
            product(x + r * inner, panels + first * inner, bias, out + r / many * apart, inner, outer, first, rows - r, many, kind);
}

static void products_by_all(const float *x, const float *panels, const float *bias, float *out, num rows, num inner, num outer, int many, int kind) {
    if (many == 8 && kind == STORE) products(x, panels, bias, out, rows, inner, outer, 8, STORE);
    else if (many == 8 && kind == ADD) products(x, panels, bias, out, rows, inner, outer, 8, ADD);
    else if (many == 8) products(x, panels, bias, out, rows, inner, outer, 8, GATE);
    else if (many == 4) products(x, panels, bias, out, rows, inner, outer, 4, kind);
    else products(x, panels, bias, out, rows, inner, outer, 1, kind);
}

typedef struct {
    const float *before, *qkv, *qkv_bias, *query_norm, *key_norm, *out, *out_bias, *after, *gate_up, *down;
    float *cache;
    num window;
} Layer;

// All layers for tokens that are single queries, and the last norm: `x` becomes what the head is multiplied with.
//   x: (count, hidden) embeddings; layers: see fused.py; room: numbers to work with; the others as in attend and turn
void whole(float *x, const Layer *layers, num depth, const float *last_norm, const float *cos, const float *sin,
          const int32_t *tiles, const int32_t *entries, const int32_t *rows, const int32_t *ends, const int32_t *positions,
          num tile_count, const num *writes, const num *blocks, const num *slots, num news, float *room, num count,
          num hidden, num inner, num queries, num heads, num width, float eps, int threads) {
    Places places = {writes, blocks, slots, news};
    int many = count > 4 ? 8 : count > 1 ? 4 : 1;
    num padded = (count + many - 1) / many * many, joined = (queries + 2 * heads) * width;
    float *turned = room, *qkv = turned + padded * (hidden > queries * width ? hidden : queries * width);
    float *seen = qkv + count * joined, *gated_ = seen + count * queries * width;
#pragma omp parallel num_threads(threads)
    for (const Layer *l = layers; l < layers + depth; l++) {
        Pass p = {qkv, l->cache, seen, tiles, entries, rows, ends, positions, tile_count, joined, heads, queries / heads, width, l->window, 0};
        turned_by_all(x, l->before, turned, count, hidden, many, eps);
        products_by_all(turned, l->qkv, l->qkv_bias, qkv, count, hidden, joined, many, STORE);
        turn_by_all(qkv, cos, sin, l->query_norm, l->key_norm, l->cache, &places, count, queries, heads, width, 1 / sqrtf((float)width), eps);
        attend_by_all(&p);
        turned_by_all(seen, NULL, turned, count, queries * width, many, eps);
        products_by_all(turned, l->out, l->out_bias, x, count, queries * width, hidden, many, ADD);
        turned_by_all(x, l->after, turned, count, hidden, many, eps);
        products_by_all(turned, l->gate_up, NULL, gated_, count, hidden, 2 * inner, many, GATE);
        products_by_all(gated_, l->down, NULL, x, count, inner, hidden, many, ADD);
    }
    norm(x, last_norm, x, count, hidden, eps, threads);
}

int lanes(void) { return LANES; }
