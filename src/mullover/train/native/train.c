// Forward and backward of what stands between the matrix products of a layer. All numbers are float32.
#include <stdlib.h>

#include "../../engine/native/common.h"

#define ROWS 4       // queries that are computed side by side
#define WIDE 4       // vectors of a head, at most

INLINE float sum_of(vec v) {
    float s = 0;
    for (int i = 0; i < LANES; i++) s += v[i];
    return s;
}

// y = x * scale * weight; scale = 1 / root mean square of the row.
void norm_forward(const float *x, const float *weight, float *y, float *scale, num rows, num width, float eps, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (num i = 0; i < rows; i++) {
        const float *in = x + i * width;
        float s = 1.0f / sqrtf(dot(in, in, width) / width + eps);
        scale[i] = s;
        for (num d = 0; d < width; d++) y[i * width + d] = in[d] * s * weight[d];
    }
}

// dweight: (threads, width), a sum of each thread's own rows.
void norm_backward(const float *dy, const float *x, const float *weight, const float *scale, float *dx, float *dweight,
                   num rows, num width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int t = 0; t < threads; t++) {
        float *dw = dweight + t * width;
        for (num d = 0; d < width; d++) dw[d] = 0;
        for (num i = rows * t / threads; i < rows * (t + 1) / threads; i++) {
            const float *in = x + i * width, *g = dy + i * width;
            float s = scale[i], along = 0;
            for (num d = 0; d < width; d++) along += g[d] * weight[d] * in[d];
            along *= s * s * s / width;
            for (num d = 0; d < width; d++) {
                dx[i * width + d] = g[d] * weight[d] * s - in[d] * along;
                dw[d] += g[d] * in[d] * s;
            }
        }
    }
}

INLINE float sigmoid_of(float x) {
    float less = exp_of(x < 0 ? x : -x);  // of what is not above 0, so that nothing overflows
    return (x < 0 ? less : 1.0f) / (1.0f + less);
}

// x: (rows, 2 * width), gates and then what they let through.
void swiglu_forward(const float *x, float *y, num rows, num width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (num i = 0; i < rows; i++) {
        const float *gate = x + 2 * i * width, *up = gate + width;
        for (num d = 0; d < width; d++) y[i * width + d] = gate[d] * sigmoid_of(gate[d]) * up[d];
    }
}

void swiglu_backward(const float *dy, const float *x, float *dx, num rows, num width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (num i = 0; i < rows; i++) {
        const float *gate = x + 2 * i * width, *up = gate + width, *g = dy + i * width;
        float *dgate = dx + 2 * i * width, *dup = dgate + width;
        for (num d = 0; d < width; d++) {
            float s = sigmoid_of(gate[d]);
            dup[d] = g[d] * gate[d] * s;
            dgate[d] = g[d] * up[d] * s * (1.0f + gate[d] * (1.0f - s));
        }
    }
}

// One head of one document, in places of its own.
typedef struct {
    num count, room;          // tokens; columns of what is transposed, a multiple of 2 * LANES
    float *q, *k, *v, *dout;  // (tokens, size); q is rotated and scaled, k rotated
    float *kt, *vt;           // (size, room)
    float *dq, *dk, *dv;      // (tokens, size)
    float *s, *ds;            // (ROWS, room)
} Head;

INLINE void turned(const float *x, const float *cos, const float *sin, float sign, float scale, num half, float *y) {
    for (num d = 0; d < half; d++) {
        y[d] = (x[d] * cos[d] - sign * x[d + half] * sin[d]) * scale;
        y[d + half] = (x[d + half] * cos[d] + sign * x[d] * sin[d]) * scale;
    }
}

INLINE void transposed(const float *x, num count, num room, num size, float *y) {
    for (num d = 0; d < size; d++) {
        for (num j = 0; j < count; j++) y[d * room + j] = x[j * size + d];
        for (num j = count; j < room; j++) y[d * room + j] = 0;
    }
}

// found[r][j] = a[r] . b[j] for the first `columns` of b, which is transposed.
INLINE void products(const float *a, const float *bt, num columns, num room, num size, float *found) {
    for (num j = 0; j < columns; j += 2 * LANES) {
        vec sum[ROWS][2];
        for (int r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = (vec){0};
        for (num d = 0; d < size; d++) {
            vec b0 = load(bt + d * room + j), b1 = load(bt + d * room + j + LANES);
            for (int r = 0; r < ROWS; r++) {
                sum[r][0] += a[r * size + d] * b0;
                sum[r][1] += a[r * size + d] * b1;
            }
        }
        for (int r = 0; r < ROWS; r++) {
            store(found + r * room + j, sum[r][0]);
            store(found + r * room + j + LANES, sum[r][1]);
        }
    }
}

// out[r] = sum over j of p[r][j] * x[j].
INLINE void mixed(const float *p, const float *x, num columns, num room, const int wide, float *out) {
    vec sum[ROWS][WIDE];
    num size = wide * LANES;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < wide; c++) sum[r][c] = (vec){0};
    for (num j = 0; j < columns; j++)
        for (int c = 0; c < wide; c++) {
            vec one = load(x + j * size + c * LANES);
            for (int r = 0; r < ROWS; r++) sum[r][c] += p[r * room + j] * one;
        }
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < wide; c++) store(out + r * size + c * LANES, sum[r][c]);
}

// x[j] += sum over r of p[r][j] * a[r].
INLINE void spread(const float *p, const float *a, num columns, num room, const int wide, float *x) {
    vec rows[ROWS][WIDE];
    num size = wide * LANES;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < wide; c++) rows[r][c] = load(a + r * size + c * LANES);
    for (num j = 0; j < columns; j++)
        for (int c = 0; c < wide; c++) {
            vec one = load(x + j * size + c * LANES);
            for (int r = 0; r < ROWS; r++) one += p[r * room + j] * rows[r][c];
            store(x + j * size + c * LANES, one);
        }
}

INLINE float *taken(float **room, num size) {
    float *found = *room;
    *room += (size + LANES - 1) / LANES * LANES;
    return found;
}

// Cuts `room` into the parts of a head; the tokens of each part are a multiple of ROWS, the last ones zeros.
static Head head_of(float *room, num count, num size) {
    num rows = (count + ROWS - 1) / ROWS * ROWS;
    Head h = {.count = count, .room = (rows + 2 * LANES - 1) / (2 * LANES) * (2 * LANES)};
    float **parts[] = {&h.q, &h.k, &h.v, &h.dout, &h.dq, &h.dk, &h.dv};
    for (int i = 0; i < 7; i++) {
        *parts[i] = taken(&room, rows * size);
        memset(*parts[i], 0, sizeof(float) * rows * size);
    }
    h.kt = taken(&room, h.room * size);
    h.vt = taken(&room, h.room * size);
    h.s = taken(&room, h.room * ROWS);
    h.ds = taken(&room, h.room * ROWS);
    return h;
}

num head_room(num longest, num size) {
    num rows = longest + 4 * LANES;
    return 7 * rows * size + 2 * rows * size + 2 * rows * ROWS + 16 * LANES;
}

static void read_head(Head *h, const float *qkv, const float *cos, const float *sin, num stride, num size) {
    num half = size / 2, width = stride / 3;
    float scale = 1.0f / sqrtf(size);
    for (num i = 0; i < h->count; i++) {
        const float *row = qkv + i * stride;
        turned(row, cos + i * half, sin + i * half, 1, scale, half, h->q + i * size);
        turned(row + width, cos + i * half, sin + i * half, 1, 1, half, h->k + i * size);
        memcpy(h->v + i * size, row + 2 * width, sizeof(float) * size);
    }
    transposed(h->k, h->count, h->room, size, h->kt);
}

INLINE void head_forward(const Head *h, float *out, float *norms, num width, num heads, const int wide) {
    num size = wide * LANES;
    float seen[ROWS * WIDE * LANES] __attribute__((aligned(64)));
    for (num i = 0; i < h->count; i += ROWS) {
        num last = i + ROWS < h->count ? i + ROWS : h->count;
        products(h->q + i * size, h->kt, last, h->room, size, h->s);
        float total[ROWS];
        for (num r = 0; r < ROWS; r++) {
            float *s = h->s + r * h->room, sum = 0;
            num own = i + r + 1 < last ? i + r + 1 : last;
            float top = most(s, own, -INFINITY);
            for (num j = 0; j < own; j++) sum += s[j] = exp_of(s[j] - top);
            for (num j = own; j < last; j++) s[j] = 0;
            total[r] = sum;
            if (i + r < h->count) norms[(i + r) * heads] = top + logf(sum);
        }
        mixed(h->s, h->v, last, h->room, wide, seen);
        for (num r = 0; i + r < last; r++)
            for (num d = 0; d < size; d++) out[(i + r) * width + d] = seen[r * size + d] / total[r];
    }
}

INLINE void head_backward(const Head *h, const float *out, const float *norms, num width, num heads, const int wide) {
    num size = wide * LANES;
    for (num i = 0; i < h->count; i += ROWS) {
        num last = i + ROWS < h->count ? i + ROWS : h->count;
        products(h->q + i * size, h->kt, last, h->room, size, h->s);
        products(h->dout + i * size, h->vt, last, h->room, size, h->ds);
        for (num r = 0; r < ROWS; r++) {
            float *s = h->s + r * h->room, *ds = h->ds + r * h->room;
            num own = i + r < h->count ? i + r + 1 : 0;
            if (own) {
                float norm = norms[(i + r) * heads];
                float along = dot(h->dout + (i + r) * size, out + (i + r) * width, size);
                for (num j = 0; j < own; j++) {
                    s[j] = exp_of(s[j] - norm);
                    ds[j] = s[j] * (ds[j] - along);
                }
            }
            for (num j = own; j < last; j++) s[j] = ds[j] = 0;
        }
        mixed(h->ds, h->k, last, h->room, wide, h->dq + i * size);
        spread(h->ds, h->q + i * size, last, h->room, wide, h->dk);
        spread(h->s, h->dout + i * size, last, h->room, wide, h->dv);
    }
}

static void write_head(const Head *h, float *dqkv, const float *cos, const float *sin, num stride, num size) {
    num half = size / 2, width = stride / 3;
    float scale = 1.0f / sqrtf(size);
    for (num i = 0; i < h->count; i++) {
        float *row = dqkv + i * stride;
        turned(h->dq + i * size, cos + i * half, sin + i * half, -1, scale, half, row);
        turned(h->dk + i * size, cos + i * half, sin + i * half, -1, 1, half, row + width);
        memcpy(row + 2 * width, h->dv + i * size, sizeof(float) * size);
    }
}

// Causal attention within documents. qkv: (tokens, 3, heads, size); out: (tokens, heads, size); norms: (tokens, heads);
// starts: where each document begins, and the end; cos, sin: (places, size / 2).
// dout and dqkv: NULL for the way forward. Returns 0, or 1 where there is no memory.
int attend_packed(const float *qkv, const float *cos, const float *sin, const int32_t *starts, float *out, float *norms,
                  const float *dout, float *dqkv, num documents, num heads, num size, int threads) {
    num longest = 0, width = heads * size, stride = 3 * width;
    int failed = 0;
    for (num i = 0; i < documents; i++) longest = starts[i + 1] - starts[i] > longest ? starts[i + 1] - starts[i] : longest;
#pragma omp parallel num_threads(threads)
    {
        float *room = aligned_alloc(64, (head_room(longest, size) * sizeof(float) + 63) / 64 * 64);
        if (!room) failed = 1;
#pragma omp for schedule(dynamic)
        for (num task = 0; task < documents * heads; task++) {
            if (!room) continue;
            num first = starts[task / heads], head = task % heads;
            Head h = head_of(room, starts[task / heads + 1] - first, size);
            read_head(&h, qkv + first * stride + head * size, cos, sin, stride, size);
            float *seen = out + first * width + head * size, *norm = norms + first * heads + head;
            if (!dqkv) {
                if (size == LANES) head_forward(&h, seen, norm, width, heads, 1);
                else if (size == 2 * LANES) head_forward(&h, seen, norm, width, heads, 2);
                else head_forward(&h, seen, norm, width, heads, 4);
                continue;
            }
            for (num i = 0; i < h.count; i++)
                memcpy(h.dout + i * size, dout + (first + i) * width + head * size, sizeof(float) * size);
            transposed(h.v, h.count, h.room, size, h.vt);
            if (size == LANES) head_backward(&h, seen, norm, width, heads, 1);
            else if (size == 2 * LANES) head_backward(&h, seen, norm, width, heads, 2);
            else head_backward(&h, seen, norm, width, heads, 4);
            write_head(&h, dqkv + first * stride + head * size, cos, sin, stride, size);
        }
        free(room);
    }
    return failed;
}

int lanes(void) { return LANES; }
