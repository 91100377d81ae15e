/* H[i, j] = X[i, j] + X[i, j + 1] + X[i, j + 2] */
/* V[i, j] = H[i, j] + H[i + 1, j] + H[i + 2, j] */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x8_u __attribute__((vector_size(32), aligned(4), may_alias));
typedef float f32x8_a __attribute__((vector_size(32), may_alias));

static inline int64_t te_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }

int64_t V(const float *restrict X,
          float *restrict V,
          int64_t *fault,
          int32_t threads)
{
    (void)fault; (void)threads;
    for (int64_t i_o = 0; i_o < 3; i_o++) {  /* V.i_o: tile("i", "j", 8, 16) */
        for (int64_t j_o = 0; j_o < 2; j_o++) {  /* V.j_o: tile("i", "j", 8, 16) */
            float H[160] __attribute__((aligned(64)));
            for (int64_t i = 0; i < te_min_i64(8, 18 - 8 * i_o) + 2; i++) {  /* H.i */
                *(f32x8_a *)&H[16 * i] = ((*(const f32x8_u *)&X[272 * i_o + 34 * i + 16 * j_o] + *(const f32x8_u *)&X[272 * i_o + 34 * i + 16 * j_o + 1]) + *(const f32x8_u *)&X[272 * i_o + 34 * i + 16 * j_o + 2]);
                *(f32x8_a *)&H[16 * i + 8] = ((*(const f32x8_u *)&X[272 * i_o + 34 * i + 16 * j_o + 8] + *(const f32x8_u *)&X[272 * i_o + 34 * i + 16 * j_o + 9]) + *(const f32x8_u *)&X[272 * i_o + 34 * i + 16 * j_o + 10]);
            }
            for (int64_t i_i = 0; i_i < te_min_i64(8, 18 - 8 * i_o); i_i++) {  /* V.i_i: tile("i", "j", 8, 16) */
                *(f32x8_u *)&V[256 * i_o + 32 * i_i + 16 * j_o] = ((*(const f32x8_a *)&H[16 * i_i] + *(const f32x8_a *)&H[16 * i_i + 16]) + *(const f32x8_a *)&H[16 * i_i + 32]);
                *(f32x8_u *)&V[256 * i_o + 32 * i_i + 16 * j_o + 8] = ((*(const f32x8_a *)&H[16 * i_i + 8] + *(const f32x8_a *)&H[16 * i_i + 24]) + *(const f32x8_a *)&H[16 * i_i + 40]);
            }
        }
    }
    return 0;
}

int64_t V_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return V(buffers[0], buffers[1], fault, threads);
}
