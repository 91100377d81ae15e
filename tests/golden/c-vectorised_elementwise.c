/* C[i] = where(M[i], maximum(A[i], 0.0) * 2.0 + 1.0, -A[i]) */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <stdint.h>
#ifndef TE_INLINE
#define TE_INLINE static inline __attribute__((always_inline, unused))
#define TE_COLD static __attribute__((noinline, cold, unused))
#ifndef __has_builtin
#define __has_builtin(name) 0
#endif
#endif

typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x4_u __attribute__((vector_size(16), aligned(4), may_alias));
typedef float f32x4_a __attribute__((vector_size(16), may_alias));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4_u __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t i32x4_a __attribute__((vector_size(16), may_alias));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef uint32_t u32x4_u __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint32_t u32x4_a __attribute__((vector_size(16), may_alias));
typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x8_u __attribute__((vector_size(32), aligned(4), may_alias));
typedef float f32x8_a __attribute__((vector_size(32), may_alias));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8_u __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i32x8_a __attribute__((vector_size(32), may_alias));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef uint32_t u32x8_u __attribute__((vector_size(32), aligned(4), may_alias));
typedef uint32_t u32x8_a __attribute__((vector_size(32), may_alias));

TE_INLINE f32x4 te_select_f32x4(i32x4 mask, f32x4 a, f32x4 b)
{
    return (f32x4)((((i32x4)a ^ (i32x4)b) & mask) ^ (i32x4)b);
}

TE_INLINE f32x4 te_maximum_f32x4(f32x4 x, f32x4 y)
{
#if defined(__SSE2__) && !defined(__clang__)
    f32x4 r = __builtin_ia32_maxps(x, y);
#else
    f32x4 r = te_select_f32x4(x > y, x, y); /* y where one is NaN */
#endif
    return te_select_f32x4(x != x, x, r);
}

TE_INLINE f32x8 te_select_f32x8(i32x8 mask, f32x8 a, f32x8 b)
{
    return (f32x8)((((i32x8)a ^ (i32x8)b) & mask) ^ (i32x8)b);
}

TE_INLINE f32x8 te_maximum_f32x8(f32x8 x, f32x8 y)
{
#if defined(__AVX__) && !defined(__clang__)
    f32x8 r = __builtin_ia32_maxps256(x, y);
#else
    f32x8 r = te_select_f32x8(x > y, x, y); /* y where one is NaN */
#endif
    return te_select_f32x8(x != x, x, r);
}

typedef uint8_t b8x4 __attribute__((vector_size(4)));
typedef uint8_t b8x4_u __attribute__((vector_size(4), aligned(1), may_alias));
typedef uint8_t b8x4_a __attribute__((vector_size(4), may_alias));

typedef uint8_t b8x8 __attribute__((vector_size(8)));
typedef uint8_t b8x8_u __attribute__((vector_size(8), aligned(1), may_alias));
typedef uint8_t b8x8_a __attribute__((vector_size(8), may_alias));

typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x4_u __attribute__((vector_size(16), aligned(4), may_alias));
typedef float f32x4_a __attribute__((vector_size(16), may_alias));

typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x8_u __attribute__((vector_size(32), aligned(4), may_alias));
typedef float f32x8_a __attribute__((vector_size(32), may_alias));

typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4_u __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t i32x4_a __attribute__((vector_size(16), may_alias));

typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8_u __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i32x8_a __attribute__((vector_size(32), may_alias));

static inline f32x8 te_pick_f32x8(i32x8 mask, f32x8 a, f32x8 b) { return (f32x8)((((i32x8)a ^ (i32x8)b) & mask) ^ (i32x8)b); }
static inline f32x4 te_pick_f32x4(i32x4 mask, f32x4 a, f32x4 b) { return (f32x4)((((i32x4)a ^ (i32x4)b) & mask) ^ (i32x4)b); }

int64_t C(const _Bool *restrict M,
          const float *A,
          float *C,
          int64_t *fault,
          int32_t threads)
{
    (void)fault; (void)threads;
    for (int64_t i_o = 0; i_o < 6; i_o++) {  /* C.i_o: split("i", factor=16) */
        *(f32x8_u *)&C[16 * i_o] = te_pick_f32x8(__builtin_convertvector((*(const b8x8_u *)&M[16 * i_o] != 0), i32x8), ((te_maximum_f32x8(*(const f32x8_u *)&A[16 * i_o], ((0.0f) - (f32x8){0})) * 2.0f) + 1.0f), -*(const f32x8_u *)&A[16 * i_o]);
        *(f32x8_u *)&C[16 * i_o + 8] = te_pick_f32x8(__builtin_convertvector((*(const b8x8_u *)&M[16 * i_o + 8] != 0), i32x8), ((te_maximum_f32x8(*(const f32x8_u *)&A[16 * i_o + 8], ((0.0f) - (f32x8){0})) * 2.0f) + 1.0f), -*(const f32x8_u *)&A[16 * i_o + 8]);
    }
    *(f32x4_u *)&C[96] = te_pick_f32x4(__builtin_convertvector((*(const b8x4_u *)&M[96] != 0), i32x4), ((te_maximum_f32x4(*(const f32x4_u *)&A[96], ((0.0f) - (f32x4){0})) * 2.0f) + 1.0f), -*(const f32x4_u *)&A[96]);
    return 0;
}

int64_t C_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return C(buffers[0], buffers[1], buffers[2], fault, threads);
}
