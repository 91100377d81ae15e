/* B.global[j, k] = B[j, k] */
/* C.register[i, j] = sum(A[i, k] * B.global[j, k], axis=k) */
/* C[i, j] = C.register[i, j] */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef float f32x4 __attribute__((vector_size(16)));
typedef float f32x4_u __attribute__((vector_size(16), aligned(4), may_alias));
typedef float f32x4_a __attribute__((vector_size(16), may_alias));

typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x8_u __attribute__((vector_size(32), aligned(4), may_alias));
typedef float f32x8_a __attribute__((vector_size(32), may_alias));

static inline int64_t te_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline f32x4 te_part0_f32x8to4(f32x8 x) { union { f32x8 w; f32x4 n[2]; } u = {x}; return u.n[0]; }

int64_t C(const float *restrict A,
          const float *restrict B,
          float *restrict C,
          int64_t *fault,
          int32_t threads)
{
    (void)fault;
    float B_global[736] __attribute__((aligned(64)));
    for (int64_t k = 0; k < 23; k++) {  /* C.register.k */
        for (int64_t j = 13; j < 16; j++) {  /* B.global, padding */
            B_global[16 * k + j + 368] = 0.0f;
        }
    }
    for (int64_t j_o = 0; j_o < 2; j_o++) {  /* B.global.j_o: split("j", factor=16) */
        for (int64_t j_i = 0; j_i < te_min_i64(16, 29 - 16 * j_o); j_i++) {  /* B.global.j_i: split("j", factor=16) */
            for (int64_t k = 0; k < 23; k++) {  /* B.global.k */
                B_global[368 * j_o + 16 * k + j_i] = B[368 * j_o + 23 * j_i + k];
            }
        }
    }
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i_o = 0; i_o < 10; i_o++) {  /* C.i_o: tile("i", "j", 4, 16) */
        if (i_o < 9) {
            f32x8 C_register_0, C_register_8, C_register_16, C_register_24, C_register_32, C_register_40, C_register_48, C_register_56;
            C_register_0 = (f32x8){0};
            C_register_8 = (f32x8){0};
            C_register_16 = (f32x8){0};
            C_register_24 = (f32x8){0};
            C_register_32 = (f32x8){0};
            C_register_40 = (f32x8){0};
            C_register_48 = (f32x8){0};
            C_register_56 = (f32x8){0};
            for (int64_t k = 0; k < 23; k++) {  /* C.register.k */
                C_register_0 = (C_register_0 + (A[92 * i_o + k] * *(const f32x8_a *)&B_global[16 * k]));
                C_register_8 = (C_register_8 + (A[92 * i_o + k] * *(const f32x8_a *)&B_global[16 * k + 8]));
                C_register_16 = (C_register_16 + (A[92 * i_o + k + 23] * *(const f32x8_a *)&B_global[16 * k]));
                C_register_24 = (C_register_24 + (A[92 * i_o + k + 23] * *(const f32x8_a *)&B_global[16 * k + 8]));
                C_register_32 = (C_register_32 + (A[92 * i_o + k + 46] * *(const f32x8_a *)&B_global[16 * k]));
                C_register_40 = (C_register_40 + (A[92 * i_o + k + 46] * *(const f32x8_a *)&B_global[16 * k + 8]));
                C_register_48 = (C_register_48 + (A[92 * i_o + k + 69] * *(const f32x8_a *)&B_global[16 * k]));
                C_register_56 = (C_register_56 + (A[92 * i_o + k + 69] * *(const f32x8_a *)&B_global[16 * k + 8]));
            }
            *(f32x8_u *)&C[116 * i_o] = C_register_0;
            *(f32x8_u *)&C[116 * i_o + 8] = C_register_8;
            *(f32x8_u *)&C[116 * i_o + 29] = C_register_16;
            *(f32x8_u *)&C[116 * i_o + 37] = C_register_24;
            *(f32x8_u *)&C[116 * i_o + 58] = C_register_32;
            *(f32x8_u *)&C[116 * i_o + 66] = C_register_40;
            *(f32x8_u *)&C[116 * i_o + 87] = C_register_48;
            *(f32x8_u *)&C[116 * i_o + 95] = C_register_56;
            {
                f32x8 C_register_0, C_register_8, C_register_16, C_register_24, C_register_32, C_register_40, C_register_48, C_register_56;
                C_register_0 = (f32x8){0};
                C_register_8 = (f32x8){0};
                C_register_16 = (f32x8){0};
                C_register_24 = (f32x8){0};
                C_register_32 = (f32x8){0};
                C_register_40 = (f32x8){0};
                C_register_48 = (f32x8){0};
                C_register_56 = (f32x8){0};
                for (int64_t k = 0; k < 23; k++) {  /* C.register.k */
                    C_register_0 = (C_register_0 + (A[92 * i_o + k] * *(const f32x8_a *)&B_global[16 * k + 368]));
                    C_register_8 = (C_register_8 + (A[92 * i_o + k] * *(const f32x8_a *)&B_global[16 * k + 376]));
                    C_register_16 = (C_register_16 + (A[92 * i_o + k + 23] * *(const f32x8_a *)&B_global[16 * k + 368]));
                    C_register_24 = (C_register_24 + (A[92 * i_o + k + 23] * *(const f32x8_a *)&B_global[16 * k + 376]));
                    C_register_32 = (C_register_32 + (A[92 * i_o + k + 46] * *(const f32x8_a *)&B_global[16 * k + 368]));
                    C_register_40 = (C_register_40 + (A[92 * i_o + k + 46] * *(const f32x8_a *)&B_global[16 * k + 376]));
                    C_register_48 = (C_register_48 + (A[92 * i_o + k + 69] * *(const f32x8_a *)&B_global[16 * k + 368]));
                    C_register_56 = (C_register_56 + (A[92 * i_o + k + 69] * *(const f32x8_a *)&B_global[16 * k + 376]));
                }
                *(f32x8_u *)&C[116 * i_o + 16] = C_register_0;
                *(f32x4_u *)&C[116 * i_o + 24] = te_part0_f32x8to4(C_register_8);
                C[116 * i_o + 28] = C_register_8[4];
                *(f32x8_u *)&C[116 * i_o + 45] = C_register_16;
                *(f32x4_u *)&C[116 * i_o + 53] = te_part0_f32x8to4(C_register_24);
                C[116 * i_o + 57] = C_register_24[4];
                *(f32x8_u *)&C[116 * i_o + 74] = C_register_32;
                *(f32x4_u *)&C[116 * i_o + 82] = te_part0_f32x8to4(C_register_40);
                C[116 * i_o + 86] = C_register_40[4];
                *(f32x8_u *)&C[116 * i_o + 103] = C_register_48;
                *(f32x4_u *)&C[116 * i_o + 111] = te_part0_f32x8to4(C_register_56);
                C[116 * i_o + 115] = C_register_56[4];
            }
        }
        else {
            f32x8 C_register_0, C_register_8;
            C_register_0 = (f32x8){0};
            C_register_8 = (f32x8){0};
            for (int64_t k = 0; k < 23; k++) {  /* C.register.k */
                C_register_0 = (C_register_0 + (A[k + 828] * *(const f32x8_a *)&B_global[16 * k]));
                C_register_8 = (C_register_8 + (A[k + 828] * *(const f32x8_a *)&B_global[16 * k + 8]));
            }
            *(f32x8_u *)&C[1044] = C_register_0;
            *(f32x8_u *)&C[1052] = C_register_8;
            {
                f32x8 C_register_0, C_register_8;
                C_register_0 = (f32x8){0};
                C_register_8 = (f32x8){0};
                for (int64_t k = 0; k < 23; k++) {  /* C.register.k */
                    C_register_0 = (C_register_0 + (A[k + 828] * *(const f32x8_a *)&B_global[16 * k + 368]));
                    C_register_8 = (C_register_8 + (A[k + 828] * *(const f32x8_a *)&B_global[16 * k + 376]));
                }
                *(f32x8_u *)&C[1060] = C_register_0;
                *(f32x4_u *)&C[1068] = te_part0_f32x8to4(C_register_8);
                C[1072] = C_register_8[4];
            }
        }
    }
    return 0;
}

int64_t C_call(void *const *buffers, const int64_t *sizes, int64_t *fault, int32_t threads)
{
    (void)sizes;
    return C(buffers[0], buffers[1], buffers[2], fault, threads);
}
