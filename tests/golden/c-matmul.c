/* C[i, j] = sum(A[i, k] * B[j, k], axis=k) */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


int64_t C(const float *restrict A,
          const float *restrict B,
          float *restrict C,
          int64_t *fault,
          int32_t threads)
{
    (void)fault; (void)threads;
    for (int64_t i = 0; i < 5; i++) {  /* C.i */
        for (int64_t j = 0; j < 6; j++) {  /* C.j */
            float C_acc;
            C_acc = 0.0f;
            for (int64_t k = 0; k < 7; k++) {  /* C.k */
                C_acc = C_acc + A[7 * i + k] * B[7 * j + k];
            }
            C[6 * i + j] = C_acc;
        }
    }
    return 0;
}

int64_t C_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return C(buffers[0], buffers[1], buffers[2], fault, threads);
}
