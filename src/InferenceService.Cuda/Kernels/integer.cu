// Products of weights in 8 and 4 bits, for many rows: x rounded to signed bytes, sums of products of codes by tensor cores, exact; scales come after.
#include "weights.cuh"

struct IntegerArgs { const u8* codes; const u8* weight; float* output; i64 codeBytes, weightBytes, outputStride; int rows, inner, columns, padding; };

enum { OUTPUTS = 128, ROWS = 64, COLUMNS = 128, THREADS = 256 };    // a CTA's tile: rows of the weight, rows of x; columns of a step

// Where 16 bytes of a row lie in a tile, in 16-byte units: what ldmatrix reads together lies in different banks.
template<int BITS> __device__ __forceinline__ int kv_weight_place(int row, int chunk) { return BITS == 8 ? row * 8 + (chunk ^ (row & 7)) : row * 4 + (chunk ^ (row >> 1 & 3)); }

// COLUMNS of some rows, from a column on, into a tile; zeros where there are none.
template<int BITS> __device__ __forceinline__ void kv_tile(uint4* tile, const u8* first, i64 rowBytes, int rows, int count, int column, int inner) {
  constexpr int CHUNKS = COLUMNS * BITS / 128, EACH = 128 / BITS;
  for (int i = threadIdx.x; i < rows * CHUNKS; i += THREADS) {
    const int row = i / CHUNKS, chunk = i % CHUNKS, k = column + chunk * EACH;
    uint4* to = tile + kv_weight_place<BITS>(row, chunk);
    if (row < count && k < inner) kv_copy16(to, first + (i64)row * rowBytes + (i64)k * BITS / 8);
    else *to = uint4{0, 0, 0, 0};
  }
}

// grid = (columns / 128, rows / 64), block = 256, dynamic shared memory: two stages of both tiles. A warp owns 32 rows of the weight and 32 of x.
template<int BITS> __device__ __forceinline__ void integer_product(const IntegerArgs& a) {
  KV_DYNAMIC_SHARED(uint4, shared);
  constexpr int LEFT = OUTPUTS * COLUMNS * BITS / 128, STAGE = LEFT + ROWS * COLUMNS / 16;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, t = lane & 3, firstColumn = blockIdx.x * OUTPUTS, firstRow = blockIdx.y * ROWS;
  const int left = warp % 4 * 32, right = warp / 4 * 32;            // the warp's place in the tile
  const u8* weight = a.weight + (i64)firstColumn * a.weightBytes;
  const u8* codes = a.codes + (i64)firstRow * a.codeBytes;
  const i64 scaleBytes = BITS == 8 ? a.inner : a.inner / 2;
  const u8* scales[4];                                              // of the lane's rows of the weight
  KV_UNROLL for (int i = 0; i < 4; i++) {
    const int column = left + (i >> 1) * 16 + (i & 1) * 8 + lane / 4;
    scales[i] = firstColumn + column < a.columns ? weight + (i64)column * a.weightBytes + scaleBytes : (const u8*)0;
  }
  float sum[2][4][4];
  int dot[2][4][4];
  KV_UNROLL for (int m = 0; m < 2; m++) {
    KV_UNROLL for (int n = 0; n < 4; n++) {
      KV_UNROLL for (int i = 0; i < 4; i++) { sum[m][n][i] = 0.f; dot[m][n][i] = KV_SUM_START; }
    }
  }

  kv_tile<BITS>(shared, weight, a.weightBytes, OUTPUTS, a.columns - firstColumn, 0, a.inner);
  kv_tile<8>(shared + LEFT, codes, a.codeBytes, ROWS, a.rows - firstRow, 0, a.inner);
  for (int base = 0, stage = 0; base < a.inner; base += COLUMNS, stage ^= 1) {
    kv_copy_wait();
    __syncthreads();                                                // the stage is there, and all are done with the other one
    if (base + COLUMNS < a.inner) {
      uint4* next = shared + (stage ^ 1) * STAGE;
      kv_tile<BITS>(next, weight, a.weightBytes, OUTPUTS, a.columns - firstColumn, base + COLUMNS, a.inner);
      kv_tile<8>(next + LEFT, codes, a.codeBytes, ROWS, a.rows - firstRow, base + COLUMNS, a.inner);
    }
    const uint4* w = shared + stage * STAGE;
    const uint4* x = w + LEFT;
    float xScale[4][2];
    KV_UNROLL for (int n = 0; n < 4; n++) {
      KV_UNROLL for (int i = 0; i < 2; i++) {
        const int row = firstRow + right + n * 8 + 2 * t + i;
        xScale[n][i] = row < a.rows ? ((const float*)(a.codes + (i64)row * a.codeBytes + a.inner))[base / RUN] : 0.f;
      }
    }
    u32 packed[2][4];
    KV_UNROLL for (int g = 0; g < COLUMNS / GROUP; g++) {
      if (base + g * GROUP >= a.inner) break;
      u32 b[2][4];
      KV_UNROLL for (int n = 0; n < 2; n++)
        kv_matrices(b[n], x + kv_weight_place<8>(right + n * 16 + (lane >> 4) * 8 + (lane & 7), 2 * g + (lane >> 3 & 1)));
      KV_UNROLL for (int m = 0; m < 2; m++) {
        const int row = left + m * 16 + (lane & 15);
        // 16 bytes are half a group of bytes, and a whole one of half bytes, of which the next is read along.
        if (BITS == 8 || g % 2 == 0) kv_matrices(packed[m], w + kv_weight_place<BITS>(row, (BITS == 8 ? 2 * g : g) + (lane >> 4)));
        u32 left16[4] = {packed[m][0], packed[m][1], packed[m][2], packed[m][3]};
        if (BITS == 4) {
          const u32 first = packed[m][2 * (g & 1)], second = packed[m][2 * (g & 1) + 1];
          left16[0] = kv_nibbles(first);
          left16[1] = kv_nibbles(second);
          left16[2] = kv_nibbles(first >> 4);
          left16[3] = kv_nibbles(second >> 4);
        }
        KV_UNROLL for (int n = 0; n < 4; n++) kv_mma_bytes(dot[m][n], left16, b[n >> 1][2 * (n & 1)], b[n >> 1][2 * (n & 1) + 1]);
      }
      const int end = base + (g + 1) * GROUP;
      if (BITS == 8 && end % RUN != 0 && end < a.inner) continue;   // sums of a run share their scales, sums of a group of half bytes theirs
      KV_UNROLL for (int m = 0; m < 2; m++) {
        KV_UNROLL for (int r = 0; r < 2; r++) {
          const u8* from = scales[2 * m + r];
          const float scale = !from ? 0.f : BITS == 8 ? ((const float*)from)[base / RUN] : kv_half_float(((const u16*)from)[base / GROUP + g]);
          KV_UNROLL for (int n = 0; n < 4; n++) {
            KV_UNROLL for (int i = 0; i < 2; i++) {
              sum[m][n][2 * r + i] = kv_fma(kv_sum(dot[m][n][2 * r + i]), kv_multiply(scale, xScale[n][i]), sum[m][n][2 * r + i]);
              dot[m][n][2 * r + i] = KV_SUM_START;
            }
          }
        }
      }
    }
  }

  KV_UNROLL for (int m = 0; m < 2; m++) {
    KV_UNROLL for (int n = 0; n < 4; n++) {
      KV_UNROLL for (int i = 0; i < 4; i++) {
        const int row = firstRow + right + n * 8 + 2 * t + (i & 1), column = firstColumn + left + m * 16 + lane / 4 + 8 * (i >> 1);
        if (row < a.rows && column < a.columns) a.output[(u64)row * a.outputStride + column] = sum[m][n][i];
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(256) product_int8(IntegerArgs a) { integer_product<8>(a); }
extern "C" __global__ void __launch_bounds__(256) product_int4(IntegerArgs a) { integer_product<4>(a); }
