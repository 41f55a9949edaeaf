// Products of few rows, bound by the bandwidth of the weight: tensor cores multiply 16 rows of the weight by 8 rows of x at the price of one, and
// every lane reads whole 16-byte pieces (4 bytes of 4-bit weights) straight from memory, in the order in which they come: a sum of products does
// not care which of its terms stand side by side. Eight warps share the columns of a row, and their sums are added in order, so that the bits of
// a row of the output do not depend on the other rows.
#include "weights.cuh"

enum { THREADS = 256, WARPS = THREADS / 32, OUTPUTS = 16 };

struct SkinnyArgs { const u8* x; const u8* weight; float* output; i64 xBytes, weightBytes, outputStride; int rows, inner, columns, padding; };

// What the warps have summed for 16 columns and 8·TILES rows, to the output.
template<int TILES> __device__ __forceinline__ void kv_finish(const SkinnyArgs& a, const float (&sum)[TILES][4]) {
  __shared__ float shared[WARPS][8 * TILES][OUTPUTS];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, firstRow = blockIdx.y * 8 * TILES, firstColumn = blockIdx.x * OUTPUTS;
  KV_UNROLL for (int n = 0; n < TILES; n++) {
    KV_UNROLL for (int i = 0; i < 4; i++) shared[warp][n * 8 + 2 * (lane & 3) + (i & 1)][lane / 4 + 8 * (i >> 1)] = sum[n][i];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 8 * TILES * OUTPUTS; i += THREADS) {
    const int row = i / OUTPUTS, column = i % OUTPUTS;
    float total = 0.f;
    for (int w = 0; w < WARPS; w++) total += shared[w][row][column];
    if (firstRow + row < a.rows && firstColumn + column < a.columns) a.output[(u64)(firstRow + row) * a.outputStride + firstColumn + column] = total;
  }
}

// Two rows of the weight, which a lane reads; null where there is none.
__device__ __forceinline__ void kv_weight_rows(const SkinnyArgs& a, const u8* (&rows)[2]) {
  KV_UNROLL for (int r = 0; r < 2; r++) {
    const int column = blockIdx.x * OUTPUTS + (threadIdx.x & 31) / 4 + 8 * r;
    rows[r] = column < a.columns ? a.weight + (i64)column * a.weightBytes : (const u8*)0;
  }
}

__device__ __forceinline__ uint4 kv_piece(const u8* row, i64 byte, bool there) { return row && there ? *(const uint4*)(row + byte) : uint4{0, 0, 0, 0}; }

// Eight elements of a row of x as the weight has them: rounded here, or as they lie.
template<int T, int X> __device__ __forceinline__ uint4 kv_columns(const u8* row, int k, int inner) {
  if (X == T) return kv_piece(row, 2 * (i64)k, k < inner);
  float v[EACH_LANE];
  kv_load_columns((const float*)row, k, inner, v);
  return kv_narrow_columns<T>(v);
}
template<int T> __device__ __forceinline__ void kv_multiply_tiles(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  if (T == KV_F16) kv_mma_half(d, a, b0, b1);
  else kv_mma_bf16(d, a, b0, b1);
}

// grid = (columns / 16, rows / (8·TILES)), block = 256. A warp's share of a row of the weight: 256 bytes, then 2 KiB further on
template<int T, int X, int TILES> __device__ __forceinline__ void skinny_narrow(const SkinnyArgs& a) {
  constexpr int STEPS = 4, SHARE = STEPS * 32;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, firstRow = blockIdx.y * 8 * TILES;
  const u8* rows[2];
  kv_weight_rows(a, rows);
  float sum[TILES][4];
  KV_UNROLL for (int n = 0; n < TILES; n++) {
    KV_UNROLL for (int i = 0; i < 4; i++) sum[n][i] = 0.f;
  }
  for (int base = warp * SHARE; base < a.inner; base += WARPS * SHARE) {
    uint4 w[STEPS][2];
    KV_UNROLL for (int step = 0; step < STEPS; step++) {            // all of them are on their way before the first is used
      const int k = base + step * 32 + (lane & 3) * 8;              // rows are padded to 16 bytes with zeros
      KV_UNROLL for (int r = 0; r < 2; r++) w[step][r] = kv_piece(rows[r], 2 * (i64)k, k < a.inner);
    }
    KV_UNROLL for (int step = 0; step < STEPS; step++) {
      const int k = base + step * 32 + (lane & 3) * 8;
      const u32 first[4] = {w[step][0].x, w[step][1].x, w[step][0].y, w[step][1].y}, second[4] = {w[step][0].z, w[step][1].z, w[step][0].w, w[step][1].w};
      KV_UNROLL for (int n = 0; n < TILES; n++) {
        const int row = firstRow + n * 8 + lane / 4;
        uint4 x = {0, 0, 0, 0};
        if (row < a.rows) x = kv_columns<T, X>(a.x + (i64)row * a.xBytes, k, a.inner);
        kv_multiply_tiles<T>(sum[n], first, x.x, x.y);
        kv_multiply_tiles<T>(sum[n], second, x.z, x.w);
      }
    }
  }
  kv_finish<TILES>(a, sum);
}

// sum += dot · weight's scale · x's scale, for a lane's two rows of the weight
template<int TILES> __device__ __forceinline__ void kv_scale(float (&sum)[TILES][4], const int (&dot)[TILES][4], const float (&scale)[2], const float (&xScale)[TILES][2]) {
  KV_UNROLL for (int n = 0; n < TILES; n++) {
    KV_UNROLL for (int i = 0; i < 4; i++) sum[n][i] = kv_fma(kv_sum(dot[n][i]), kv_multiply(scale[i >> 1], xScale[n][i & 1]), sum[n][i]);
  }
}
template<int TILES> __device__ __forceinline__ void kv_start(int (&dot)[TILES][4]) {
  KV_UNROLL for (int n = 0; n < TILES; n++) {
    KV_UNROLL for (int i = 0; i < 4; i++) dot[n][i] = KV_SUM_START;
  }
}

// The same grid; a warp's share is a run of 256 columns.
template<int BITS, int TILES> __device__ __forceinline__ void skinny_integer(const SkinnyArgs& a) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, t = lane & 3, firstRow = blockIdx.y * 8 * TILES;
  const u8* rows[2];
  kv_weight_rows(a, rows);
  const i64 scaleBytes = BITS == 8 ? a.inner : a.inner / 2;
  float sum[TILES][4];
  KV_UNROLL for (int n = 0; n < TILES; n++) {
    KV_UNROLL for (int i = 0; i < 4; i++) sum[n][i] = 0.f;
  }
  for (int run = warp; run * RUN < a.inner; run += WARPS) {
    const int base = run * RUN;
    const u8* x[TILES];
    float xScale[TILES][2];
    KV_UNROLL for (int n = 0; n < TILES; n++) {
      const int row = firstRow + n * 8 + lane / 4;
      x[n] = row < a.rows ? a.x + (i64)row * a.xBytes : (const u8*)0;
      KV_UNROLL for (int i = 0; i < 2; i++) {
        const int column = firstRow + n * 8 + 2 * t + i;
        xScale[n][i] = column < a.rows ? ((const float*)(a.x + (i64)column * a.xBytes + a.inner))[run] : 0.f;
      }
    }
    int dot[TILES][4];
    if (BITS == 8) {
      uint4 w[RUN / 64][2];
      KV_UNROLL for (int step = 0; step < RUN / 64; step++) {
        const int k = base + step * 64 + t * 16;
        KV_UNROLL for (int r = 0; r < 2; r++) w[step][r] = kv_piece(rows[r], k, k < a.inner);
      }
      const float scale[2] = {rows[0] ? ((const float*)(rows[0] + scaleBytes))[run] : 0.f, rows[1] ? ((const float*)(rows[1] + scaleBytes))[run] : 0.f};
      kv_start<TILES>(dot);
      KV_UNROLL for (int step = 0; step < RUN / 64; step++) {
        const int k = base + step * 64 + t * 16;
        const u32 first[4] = {w[step][0].x, w[step][1].x, w[step][0].y, w[step][1].y}, second[4] = {w[step][0].z, w[step][1].z, w[step][0].w, w[step][1].w};
        KV_UNROLL for (int n = 0; n < TILES; n++) {
          const uint4 codes = kv_piece(x[n], k, k < a.inner);
          kv_mma_bytes(dot[n], first, codes.x, codes.y);
          kv_mma_bytes(dot[n], second, codes.z, codes.w);
        }
      }
      kv_scale<TILES>(sum, dot, scale, xScale);
    } else {
      u32 w[RUN / GROUP][2];
      KV_UNROLL for (int g = 0; g < RUN / GROUP; g++) {
        const int k = base + g * GROUP;
        KV_UNROLL for (int r = 0; r < 2; r++) w[g][r] = rows[r] && k < a.inner ? *(const u32*)(rows[r] + k / 2 + t * 4) : 0x88888888u;
      }
      KV_UNROLL for (int g = 0; g < RUN / GROUP; g++) {
        const int k = base + g * GROUP;
        if (k >= a.inner) break;
        float scale[2];
        KV_UNROLL for (int r = 0; r < 2; r++) scale[r] = rows[r] ? kv_half_float(((const u16*)(rows[r] + scaleBytes))[k / GROUP]) : 0.f;
        const u32 codes[4] = {kv_nibbles(w[g][0]), kv_nibbles(w[g][1]), kv_nibbles(w[g][0] >> 4), kv_nibbles(w[g][1] >> 4)};
        kv_start<TILES>(dot);
        KV_UNROLL for (int n = 0; n < TILES; n++)
          kv_mma_bytes(dot[n], codes, x[n] ? *(const u32*)(x[n] + k + t * 4) : 0u, x[n] ? *(const u32*)(x[n] + k + 16 + t * 4) : 0u);
        kv_scale<TILES>(sum, dot, scale, xScale);
      }
    }
  }
  kv_finish<TILES>(a, sum);
}

// x is of another type than the weight (f32, rounded here), or of the same.
#define SKINNY_FLOATS(name, T, X, TILES) extern "C" __global__ void __launch_bounds__(256) name(SkinnyArgs a) { skinny_narrow<T, X, TILES>(a); }
SKINNY_FLOATS(skinny_bf16_8, KV_BF16, KV_F32, 1)
SKINNY_FLOATS(skinny_bf16_16, KV_BF16, KV_F32, 2)
SKINNY_FLOATS(skinny_bf16_32, KV_BF16, KV_F32, 4)
SKINNY_FLOATS(skinny_bf16_as_is_8, KV_BF16, KV_BF16, 1)
SKINNY_FLOATS(skinny_bf16_as_is_16, KV_BF16, KV_BF16, 2)
SKINNY_FLOATS(skinny_bf16_as_is_32, KV_BF16, KV_BF16, 4)
SKINNY_FLOATS(skinny_f16_8, KV_F16, KV_F32, 1)
SKINNY_FLOATS(skinny_f16_16, KV_F16, KV_F32, 2)
SKINNY_FLOATS(skinny_f16_32, KV_F16, KV_F32, 4)
SKINNY_FLOATS(skinny_f16_as_is_8, KV_F16, KV_F16, 1)
SKINNY_FLOATS(skinny_f16_as_is_16, KV_F16, KV_F16, 2)
SKINNY_FLOATS(skinny_f16_as_is_32, KV_F16, KV_F16, 4)
#define SKINNY_INTEGERS(name, T, BITS, TILES) extern "C" __global__ void __launch_bounds__(256) name(SkinnyArgs a) { skinny_integer<BITS, TILES>(a); }
SKINNY_INTEGERS(skinny_int8_8, KV_BYTES, 8, 1)
SKINNY_INTEGERS(skinny_int8_16, KV_BYTES, 8, 2)
SKINNY_INTEGERS(skinny_int8_32, KV_BYTES, 8, 4)
SKINNY_INTEGERS(skinny_int4_8, KV_BYTES, 4, 1)
SKINNY_INTEGERS(skinny_int4_16, KV_BYTES, 4, 2)
SKINNY_INTEGERS(skinny_int4_32, KV_BYTES, 4, 4)
