// What the kernels share. ../kernels.py compiles them, for the processor at hand, and calls them.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#define BLOCK 32    // slots of a block, a multiple of LANES
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

// The largest of these numbers and `top`; not NaN unless that is.
INLINE float most(const float *x, num size, float top) {
    float best[LANES];
    num j = 0;
    for (int i = 0; i < LANES; i++) best[i] = top;
    for (; j + LANES <= size; j += LANES)
        for (int i = 0; i < LANES; i++) best[i] = x[j + i] > best[i] ? x[j + i] : best[i];
    for (; j < size; j++) best[0] = x[j] > best[0] ? x[j] : best[0];
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) best[i] = best[i + half] > best[i] ? best[i + half] : best[i];
    return best[0];
}

// One pass of attention: its arguments are those of `attend`.
typedef struct {
    const float *q, *cache;
    float *out;
    const int32_t *tiles, *entries, *rows, *ends, *positions;
    num count, stride, heads, each, width, window;  // count: of tiles
    float cap;
} Pass;

// To be run by all threads of a region.
void attend_by_all(const Pass *p);
