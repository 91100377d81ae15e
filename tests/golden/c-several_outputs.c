/* both_0[i, j], both_1[i, j] = X[i, j] + 1.0, X[i, j] * 2.0 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


int64_t both_0(const float *restrict X,
               float *restrict both_0,
               float *restrict both_1,
               int64_t *fault,
               int32_t threads)
{
    (void)fault; (void)threads;
    for (int64_t i = 0; i < 4; i++) {  /* both_0.i */
        for (int64_t j = 0; j < 5; j++) {  /* both_0.j */
            both_0[5 * i + j] = X[5 * i + j] + 1.0f;
            both_1[5 * i + j] = X[5 * i + j] * 2.0f;
        }
    }
    return 0;
}

int64_t both_0_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return both_0(buffers[0], buffers[1], buffers[2], fault, threads);
}
