// From logits to tokens.
#include "common.h"

#define CHUNK 256  // probabilities that are added up before the chunks are: a sum of many small ones keeps its digits

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
