// From logits to tokens.
#include "common.h"

#define CHUNK 256  // probabilities that are added up before the chunks are: a sum of many small ones keeps its digits

// The sum of exp(x - less) over the chunk that begins at `begin`
INLINE float chunk_sum(const float *x, num begin, num size, float less) {
    float sum = 0;
    for (num k = begin; k < (size < begin + CHUNK ? size : begin + CHUNK); k++) sum += exp_of(x[k] - less);
    return sum;
}

// The log of the sum of each row's exponentials
void log_sums(const float *logits, float *out, num count, num size, int threads) {
#pragma omp parallel for num_threads(threads) if (count * size > WORTH)
    for (num i = 0; i < count; i++) {
        const float *x = logits + i * size;
        float top = most(x, size, -INFINITY);
        double total = 0;
        for (num j = 0; j < size; j += CHUNK) total += chunk_sum(x, j, size, top > -INFINITY ? top : 0);
        out[i] = top == INFINITY ? NAN : top > -INFINITY || total != total ? top + (float)log(total) : -INFINITY;
    }
}

// The token at each row's quantile, in the order of token ids; never one of probability 0 where there is another.
//   logits: (count, size) with norms, the logs of the sums of their exponentials; uniform: (count,) in [0, 1)
void quantile(const float *logits, const float *norms, const double *uniform, num *tokens, num count, num size, int threads) {
#pragma omp parallel for num_threads(threads) if (count * size > WORTH)
    for (num i = 0; i < count; i++) {
        const float *x = logits + i * size;
        float sums[(size + CHUNK - 1) / CHUNK];
        double total = 0, before = 0, target;
        num begin = 0, last = 0;
        for (num j = 0; j < size; j += CHUNK) total += sums[j / CHUNK] = chunk_sum(x, j, size, norms[i]);
        target = uniform[i] * total;
        for (; begin < size; begin += CHUNK) {  // the chunk in which it lies
            float sum = sums[begin / CHUNK];
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
