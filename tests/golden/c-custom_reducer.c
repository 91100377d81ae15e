/* best_0[i], best_1[i] = reduce((X[i, k], Y[i, k]), axis=k)[0], reduce((X[i, k], Y[i, k]), axis=k)[1] */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>


int64_t best_0(const float *restrict X,
               const float *restrict Y,
               float *restrict best_0,
               float *restrict best_1,
               int64_t *fault,
               int32_t threads)
{
    (void)fault; (void)threads;
    for (int64_t i = 0; i < 4; i++) {  /* best_0.i */
        float best_0_acc0;
        float best_0_acc1;
        best_0_acc0 = -1e+30f;
        best_0_acc1 = 0.0f;
        for (int64_t k = 0; k < 5; k++) {  /* best_0.k */
            float best_0_new0;
            float best_0_new1;
            best_0_new0 = X[5 * i + k] > best_0_acc0 ? X[5 * i + k] : best_0_acc0;
            best_0_new1 = X[5 * i + k] > best_0_acc0 ? Y[5 * i + k] : best_0_acc1;
            best_0_acc0 = best_0_new0;
            best_0_acc1 = best_0_new1;
        }
        best_0[i] = best_0_acc0;
        best_1[i] = best_0_acc1;
    }
    return 0;
}

int64_t best_0_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return best_0(buffers[0], buffers[1], buffers[2], buffers[3], fault, threads);
}
