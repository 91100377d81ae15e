/* E[i, d] = T[idx[i], d] */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


int64_t E(const float *restrict T,
          const int32_t *restrict idx,
          float *restrict E,
          int64_t *fault,
          int32_t threads)
{
    (void)threads;
    for (int64_t i = 0; i < 5; i++) {  /* check of T */
        if (!(((int64_t)idx[i] >= 0) & ((int64_t)idx[i] < 8))) { fault[0] = (int64_t)idx[i]; fault[1] = 8; return 1; }
    }
    for (int64_t i = 0; i < 5; i++) {  /* E.i */
        for (int64_t d = 0; d < 3; d++) {  /* E.d */
            E[3 * i + d] = T[3 * (int64_t)idx[i] + d];
        }
    }
    return 0;
}

int64_t E_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return E(buffers[0], buffers[1], buffers[2], fault, threads);
}
