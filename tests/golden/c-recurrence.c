/* S[0, j] = X[0, j] */
/* S[t, j] = 0.5 * S[t - 1, j] + X[t, j] */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


int64_t S(const float *restrict X,
          float *restrict S,
          int64_t *fault,
          int32_t threads)
{
    (void)fault; (void)threads;
    for (int64_t j = 0; j < 3; j++) {  /* S.j */
        S[j] = X[j];
    }
    for (int64_t t = 1; t < 6; t++) {  /* S.t */
        for (int64_t j = 0; j < 3; j++) {  /* S.j */
            S[3 * t + j] = 0.5f * S[3 * t + j - 3] + X[3 * t + j];
        }
    }
    return 0;
}

int64_t S_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return S(buffers[0], buffers[1], fault, threads);
}
