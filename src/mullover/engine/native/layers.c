// What lies between a layer's matrix products, and a whole pass of all layers over single tokens.
#include "common.h"

// 1 over the root mean square
INLINE float rms_scale(const float *x, num width, float eps) { return 1 / sqrtf(dot(x, x, width) / (float)width + eps); }

// out = x over its root mean square, times `weight`; `out` may be `x`.
INLINE void rms_normed(const float *x, const float *weight, float *out, num width, float eps) {
    float scale = rms_scale(x, width, eps);
    for (num d = 0; d < width; d++) out[d] = x[d] * scale * weight[d];
}

// rms_normed, of each of `count` rows
void rms_norm(const float *x, const float *weight, float *out, num count, num width, float eps, int threads) {
#pragma omp parallel for num_threads(threads) if (count * width > WORTH)
    for (num i = 0; i < count; i++) rms_normed(x + i * width, weight, out + i * width, width, eps);
}

// silu(gate) * up
INLINE float swiglu_of(float gate, float up) {
    float less = exp_of(gate < 0 ? gate : -gate);  // of what is not above 0, so that nothing overflows
    return gate * up * (gate < 0 ? less : 1) / (1 + less);
}

// out = silu(gate) * up, of rows that hold both
void swiglu(const float *both, float *out, num count, num width, int threads) {
#pragma omp parallel for num_threads(threads) if (count * width > WORTH)
    for (num i = 0; i < count; i++) {
        const float *gate = both + 2 * i * width;
        for (num d = 0; d < width; d++) out[i * width + d] = swiglu_of(gate[d], gate[width + d]);
    }
}

// Where the keys and values of new tokens go: `writes` says which of all tokens they are, or NULL if all are new.
typedef struct {
    const num *writes, *blocks, *slots;
    num news;
} Places;

// Rotate queries and keys of one layer by their positions, where they lie, and store new keys and values. Run by all
// threads of a region.
//   qkv: (count, query heads + 2 heads, width); cos, sin: (count, width), the second half of which is not read
//   norms: weights of the norms of queries and of keys, or NULL
static void rotate_by_all(float *qkv, const float *cos, const float *sin, const float *query_norm, const float *key_norm,
                          float *cache, const Places *places, num count, num queries, num heads, num width,
                          float scale, float eps) {
    num half = width / 2, stride = (queries + 2 * heads) * width;
#pragma omp for
    for (num t = 0; t < count; t++)
        for (num h = 0; h < queries + heads; h++) {
            float *x = qkv + t * stride + h * width, by = h < queries ? scale : 1;
            const float *c = cos + t * width, *s = sin + t * width;
            if (query_norm) rms_normed(x, h < queries ? query_norm : key_norm, x, width, eps);
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

void rotate(float *qkv, const float *cos, const float *sin, const float *query_norm, const float *key_norm, float *cache,
          const num *writes, const num *blocks, const num *slots, num count, num news, num queries, num heads, num width,
          float scale, float eps, int threads) {
    Places places = {writes, blocks, slots, news};
#pragma omp parallel num_threads(threads) if (count * queries * width > WORTH)
    rotate_by_all(qkv, cos, sin, query_norm, key_norm, cache, &places, count, queries, heads, width, scale, eps);
}

// Rows of x by `many` to blocks that lie (width, many), normed if there is a `weight`. What stands in for missing rows
// is multiplied too, but nobody stores what comes of it.
static void transposed_by_all(const float *x, const float *weight, float *to, num rows, num width, int many, float eps) {
#pragma omp for
    for (num b = 0; b < (rows + many - 1) / many; b++) {
        float *out = to + b * width * many;
        for (int i = 0; i < many; i++) {
            int missing = b * many + i >= rows;
            const float *row = missing ? x : x + (b * many + i) * width;
            float scale = missing ? 0 : weight ? rms_scale(row, width, eps) : 1;
            if (weight) for (num k = 0; k < width; k++) out[k * many + i] = row[k] * scale * weight[k];
            else for (num k = 0; k < width; k++) out[k * many + i] = row[k] * scale;
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
            for (int c = 0; c < LANES; c++) gate[c] = swiglu_of(gate[c], up[c]);
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

INLINE void products(const float *x, const float *panels, const float *bias, float *out, num rows, num inner, num outer,
                     int many, int kind) {
    num apart = kind == GATE ? outer / 2 * many : outer * many;
#pragma omp for
    for (num first = 0; first < outer; first += 2 * LANES)
        for (num r = 0; r < rows; r += many)
            product(x + r * inner, panels + first * inner, bias, out + r / many * apart, inner, outer, first, rows - r, many,
                    kind);
}

// x: as transposed_by_all lays it out; panels: (outer / LANES, inner, LANES); out: (rows, outer), or as x if kind is GATE
static void products_by_all(const float *x, const float *panels, const float *bias, float *out, num rows, num inner,
                            num outer, int many, int kind) {
    if (many == 8) products(x, panels, bias, out, rows, inner, outer, 8, kind);
    else if (many == 4) products(x, panels, bias, out, rows, inner, outer, 4, kind);
    else products(x, panels, bias, out, rows, inner, outer, 1, kind);
}

typedef struct {
    const float *before, *qkv, *qkv_bias, *query_norm, *key_norm, *out, *out_bias, *after, *gate_up, *down;
    float *cache;
    num window;
} Layer;

// All layers for tokens that are single queries, and the last norm: `x` becomes what the head is multiplied with.
//   x: (count, hidden) embeddings; layers: see ../whole.py; room: numbers to work with; the others as in attend and rotate
void whole(float *x, const Layer *layers, num depth, const float *last_norm, const float *cos, const float *sin,
          const int32_t *tiles, const int32_t *entries, const int32_t *rows, const int32_t *ends, const int32_t *positions,
          num tile_count, const num *writes, const num *blocks, const num *slots, num news, float *room, num count,
          num hidden, num inner, num queries, num heads, num width, float eps, int threads) {
    Places places = {writes, blocks, slots, news};
    int many = count > 4 ? 8 : count > 1 ? 4 : 1;
    num padded = (count + many - 1) / many * many, joined = (queries + 2 * heads) * width;
    float *across = room, *qkv = across + padded * (hidden > queries * width ? hidden : queries * width);
    float *seen = qkv + count * joined, *gated = seen + count * queries * width;
#pragma omp parallel num_threads(threads)
    for (const Layer *l = layers; l < layers + depth; l++) {
        Pass p = {qkv, l->cache, seen, tiles, entries, rows, ends, positions, tile_count, joined, heads, queries / heads,
                  width, l->window, 0};
        transposed_by_all(x, l->before, across, count, hidden, many, eps);
        products_by_all(across, l->qkv, l->qkv_bias, qkv, count, hidden, joined, many, STORE);
        rotate_by_all(qkv, cos, sin, l->query_norm, l->key_norm, l->cache, &places, count, queries, heads, width,
                      1 / sqrtf((float)width), eps);
        attend_by_all(&p);
        transposed_by_all(seen, NULL, across, count, queries * width, many, eps);
        products_by_all(across, l->out, l->out_bias, x, count, queries * width, hidden, many, ADD);
        transposed_by_all(x, l->after, across, count, hidden, many, eps);
        products_by_all(across, l->gate_up, NULL, gated, count, hidden, 2 * inner, many, GATE);
        products_by_all(gated, l->down, NULL, x, count, inner, hidden, many, ADD);
    }
    rms_norm(x, last_norm, x, count, hidden, eps, threads);
}

// What the Python side relies on: it lays weights out by LANES, blocks by BLOCK, and layers as this struct.
int lanes(void) { return LANES; }
int block(void) { return BLOCK; }
int layer_words(void) { return sizeof(Layer) / sizeof(num); }
