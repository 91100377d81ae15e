/* B[j, i] = A[i, j] * 2.0 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


int64_t B(const float *restrict A,
          float *restrict B,
          int64_t m,
          int64_t n,
          int64_t *fault,
          int32_t threads)
{
    (void)fault; (void)threads;
    for (int64_t j = 0; j < m; j++) {  /* B.j */
        for (int64_t i = 0; i < n; i++) {  /* B.i */
            B[(n * j) + i] = A[(m * i) + j] * 2.0f;
        }
    }
    return 0;
}

int64_t B_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    return B(buffers[0], buffers[1], sizes[0], sizes[1], fault, threads);
}
