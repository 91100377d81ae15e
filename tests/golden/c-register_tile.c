/* B.global[j, k] = B[j, k] */
/* C.register[i, j] = sum(A[i, k] * B.global[j, k], axis=k) */
/* C[i, j] = C.register[i, j] */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef float f32x8 __attribute__((vector_size(32)));
typedef float f32x8_u __attribute__((vector_size(32), aligned(4), may_alias));
typedef float f32x8_a __attribute__((vector_size(32), may_alias));


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
    for (int64_t j_i = 0; j_i < 16; j_i++) {  /* B.global.j_i: split("j", factor=16) */
        for (int64_t k = 0; k < 23; k++) {  /* B.global.k */
            B_global[16 * k + j_i] = B[23 * j_i + k];
        }
    }
    for (int64_t j_i = 0; j_i < 13; j_i++) {  /* B.global.j_i: split("j", factor=16) */
        for (int64_t k = 0; k < 23; k++) {  /* B.global.k */
            B_global[16 * k + j_i + 368] = B[23 * j_i + k + 368];
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
                C[116 * i_o + 16] = C_register_0[0];
                C[116 * i_o + 17] = C_register_0[1];
                C[116 * i_o + 18] = C_register_0[2];
                C[116 * i_o + 19] = C_register_0[3];
                C[116 * i_o + 20] = C_register_0[4];
                C[116 * i_o + 21] = C_register_0[5];
                C[116 * i_o + 22] = C_register_0[6];
                C[116 * i_o + 23] = C_register_0[7];
                C[116 * i_o + 24] = C_register_8[0];
                C[116 * i_o + 25] = C_register_8[1];
                C[116 * i_o + 26] = C_register_8[2];
                C[116 * i_o + 27] = C_register_8[3];
                C[116 * i_o + 28] = C_register_8[4];
                C[116 * i_o + 45] = C_register_16[0];
                C[116 * i_o + 46] = C_register_16[1];
                C[116 * i_o + 47] = C_register_16[2];
                C[116 * i_o + 48] = C_register_16[3];
                C[116 * i_o + 49] = C_register_16[4];
                C[116 * i_o + 50] = C_register_16[5];
                C[116 * i_o + 51] = C_register_16[6];
                C[116 * i_o + 52] = C_register_16[7];
                C[116 * i_o + 53] = C_register_24[0];
                C[116 * i_o + 54] = C_register_24[1];
                C[116 * i_o + 55] = C_register_24[2];
                C[116 * i_o + 56] = C_register_24[3];
                C[116 * i_o + 57] = C_register_24[4];
                C[116 * i_o + 74] = C_register_32[0];
                C[116 * i_o + 75] = C_register_32[1];
                C[116 * i_o + 76] = C_register_32[2];
                C[116 * i_o + 77] = C_register_32[3];
                C[116 * i_o + 78] = C_register_32[4];
                C[116 * i_o + 79] = C_register_32[5];
                C[116 * i_o + 80] = C_register_32[6];
                C[116 * i_o + 81] = C_register_32[7];
                C[116 * i_o + 82] = C_register_40[0];
                C[116 * i_o + 83] = C_register_40[1];
                C[116 * i_o + 84] = C_register_40[2];
                C[116 * i_o + 85] = C_register_40[3];
                C[116 * i_o + 86] = C_register_40[4];
                C[116 * i_o + 103] = C_register_48[0];
                C[116 * i_o + 104] = C_register_48[1];
                C[116 * i_o + 105] = C_register_48[2];
                C[116 * i_o + 106] = C_register_48[3];
                C[116 * i_o + 107] = C_register_48[4];
                C[116 * i_o + 108] = C_register_48[5];
                C[116 * i_o + 109] = C_register_48[6];
                C[116 * i_o + 110] = C_register_48[7];
                C[116 * i_o + 111] = C_register_56[0];
                C[116 * i_o + 112] = C_register_56[1];
                C[116 * i_o + 113] = C_register_56[2];
                C[116 * i_o + 114] = C_register_56[3];
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
                C[1060] = C_register_0[0];
                C[1061] = C_register_0[1];
                C[1062] = C_register_0[2];
                C[1063] = C_register_0[3];
                C[1064] = C_register_0[4];
                C[1065] = C_register_0[5];
                C[1066] = C_register_0[6];
                C[1067] = C_register_0[7];
                C[1068] = C_register_8[0];
                C[1069] = C_register_8[1];
                C[1070] = C_register_8[2];
                C[1071] = C_register_8[3];
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
