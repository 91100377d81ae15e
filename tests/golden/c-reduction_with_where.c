/* L[i] = sum(X[i, k], axis=k, where=(k <= i) & (k % 2 == 0)) */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


int64_t L(const float *restrict X,
          float *restrict L,
          int64_t *fault,
          int32_t threads)
{
    (void)fault; (void)threads;
    for (int64_t i = 0; i < 6; i++) {  /* L.i */
        float L_acc;
        L_acc = 0.0f;
        for (int64_t k = 0; k < 2 * (i / 2) + 2; k += 2) {  /* L.k */
            L_acc = L_acc + X[6 * i + k];
        }
        L[i] = L_acc;
    }
    return 0;
}

int64_t L_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return L(buffers[0], buffers[1], fault, threads);
}
