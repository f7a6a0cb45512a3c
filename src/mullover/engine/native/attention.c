// Attention of single queries over the blocks of the cache.
#include "common.h"

#define SHARED 6  // query vectors of a block from which they are computed side by side

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
    float top = most(scores, BLOCK, *one->peak);
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

// As many queries as there are lanes, or fewer, read a block together. Hidden slots count 0 times: where one reader
// sees NaN, so may the others.
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
            for (int c = 3; c >= 0; c--)  // the first one last: what stands in for missing ones was put in its place
                store(out[c] + d, a[c]), store(out[c] + d + LANES, b[c]);
        }
        for (int c = 0; c < 4 && i + c < count; c++)
            for (num j = first; j < last; j++)
                for (num k = d; k < width; k++) out[c][k] += scores[j][i + c] * values[j * width + k];
    }
}

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

void attend_by_all(const Pass *p) {
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
