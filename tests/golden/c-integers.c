/* C[i] = A[i] // B[i] + A[i] % B[i] * 3 << cast(2, int32) */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline int32_t te_shl_i32(int32_t a, int32_t n) { return (uint32_t)n < 32 ? (int32_t)((uint32_t)a << n) : 0; }
static inline int32_t te_floordiv_i32(int32_t a, int32_t b)
{   /* rounds down; 0 for a division by zero, wraps for -1 */
    if (b == 0) return 0;
    if (b == -1) return (int32_t)(0 - (uint32_t)a);
    return (int32_t)(a / b - ((a % b != 0) & ((a < 0) != (b < 0))));
}
static inline int32_t te_mod_i32(int32_t a, int32_t b)
{   /* the sign of b; 0 for a division by zero */
    if (b == 0 || b == -1) return 0;
    int32_t r = (int32_t)(a % b);
    return (int32_t)(r + ((r != 0 && (r < 0) != (b < 0)) ? b : 0));
}

int64_t C(const int32_t *A,
          const int32_t *B,
          int32_t *C,
          int64_t *fault,
          int32_t threads)
{
    (void)fault; (void)threads;
    #pragma GCC ivdep
    for (int64_t i = 0; i < 9; i++) {  /* C.i */
        C[i] = te_shl_i32((int32_t)((uint32_t)te_floordiv_i32(A[i], B[i]) + (uint32_t)(int32_t)((uint32_t)te_mod_i32(A[i], B[i]) * (uint32_t)3)), (int32_t)2);
    }
    return 0;
}

int64_t C_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return C(buffers[0], buffers[1], buffers[2], fault, threads);
}
