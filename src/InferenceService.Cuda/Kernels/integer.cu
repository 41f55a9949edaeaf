// Products of weights in 8 and 4 bits with x rounded to signed bytes: sums of products of codes are exact, scales come after. A row of a weight:
// its codes (4 bits: byte i of a group of 32 holds elements i and i + 16, each + 8), then its scales (f32 a run of 256, or f16 a group of 32).
#include "prelude.cuh"

enum { RUN = 256, GROUP = 32, ROWS = 4, WARPS = 4 };

struct RoundArgs { const float* x; u8* codes; float* scales; i64 xStride; int columns, runs; };

// x to signed bytes with one scale a run: largest magnitude / 127; zeros below 2^-100, NaN where something is not finite.
// grid = (rows, runs), block = 256
extern "C" __global__ void __launch_bounds__(256) round_rows(RoundArgs a) {
  __shared__ float part[8];
  const int tid = threadIdx.x, column = blockIdx.y * RUN + tid;
  const u64 row = blockIdx.x;
  const float value = column < a.columns ? a.x[row * a.xStride + column] : 0.f;
  u32 magnitude = kv_float_bits(value) & 0x7fffffff;                // magnitudes compare as integers do, and a NaN's is above infinity's
  for (int mask = 16; mask; mask >>= 1) {
    const u32 other = kv_shuffle_xor_bits(magnitude, mask);
    magnitude = magnitude > other ? magnitude : other;
  }
  if ((tid & 31) == 0) part[tid >> 5] = kv_bits_float(magnitude);
  __syncthreads();
  u32 most = 0;
  for (int i = 0; i < 8; i++) most = kv_float_bits(part[i]) > most ? kv_float_bits(part[i]) : most;
  const float largest = kv_bits_float(most);
  const bool finite = most < 0x7f800000, usable = finite && largest >= 7.888609e-31f;
  if (column < a.columns) {
    const int code = usable ? (int)kv_round(kv_multiply(value, kv_divide(127.f, largest))) : 0;
    a.codes[row * a.columns + column] = (u8)code;
  }
  if (tid == 0) a.scales[row * a.runs + blockIdx.y] = usable ? kv_divide(largest, 127.f) : finite ? 0.f : kv_bits_float(0x7fc00000);
}

struct IntegerArgs { const u8* codes; const float* scales; const u8* weight; float* output; i64 weightBytes, outputStride; int rows, inner, columns, runs; };

__device__ __forceinline__ int kv_dot16(const uint4& a, const uint4& b) {
  return kv_dot4(a.x, b.x, kv_dot4(a.y, b.y, kv_dot4(a.z, b.z, kv_dot4(a.w, b.w, 0))));
}

// A warp owns one output column of four rows: the weight is read once for them. grid = (columns / 4, rows / 4), block = 128
template<int BITS> __device__ __forceinline__ void integer_product(const IntegerArgs& a) {
  constexpr int STEP = BITS == 8 ? 16 : GROUP;                      // columns of one 16-byte load
  const int lane = threadIdx.x & 31, column = blockIdx.x * WARPS + (threadIdx.x >> 5), firstRow = blockIdx.y * ROWS;
  const bool there = column < a.columns;                            // shuffles want the whole warp, and a warp has one column
  const u8* weight = a.weight + (i64)(there ? column : 0) * a.weightBytes;
  const u8* scales = weight + (BITS == 8 ? a.inner : a.inner / 2);
  float sum[ROWS];
  KV_UNROLL for (int r = 0; r < ROWS; r++) sum[r] = 0.f;
  for (int k = lane * STEP; k < a.inner; k += 32 * STEP) {
    const uint4 w = *(const uint4*)(weight + (BITS == 8 ? k : k / 2));
    const float scale = BITS == 8 ? ((const float*)scales)[k / RUN] : kv_half_float(((const u16*)scales)[k / GROUP]);
    KV_UNROLL for (int r = 0; r < ROWS; r++) {
      if (firstRow + r < a.rows) {
        const u8* x = a.codes + (u64)(firstRow + r) * a.inner + k;
        const uint4 low = *(const uint4*)x;
        int dot;
        if (BITS == 8) dot = kv_dot16(w, low);
        else {
          const uint4 high = *(const uint4*)(x + 16), one = {0x01010101, 0x01010101, 0x01010101, 0x01010101};
          const uint4 first = {w.x & 0x0f0f0f0f, w.y & 0x0f0f0f0f, w.z & 0x0f0f0f0f, w.w & 0x0f0f0f0f};
          const uint4 second = {w.x >> 4 & 0x0f0f0f0f, w.y >> 4 & 0x0f0f0f0f, w.z >> 4 & 0x0f0f0f0f, w.w >> 4 & 0x0f0f0f0f};
          dot = kv_dot16(first, low) + kv_dot16(second, high) - 8 * (kv_dot16(one, low) + kv_dot16(one, high));
        }
        sum[r] = kv_fma((float)dot, kv_multiply(scale, a.scales[(u64)(firstRow + r) * a.runs + k / RUN]), sum[r]);
      }
    }
  }
  KV_UNROLL for (int r = 0; r < ROWS; r++) {
    const float total = kv_warp_sum(sum[r]);
    if (lane == 0 && there && firstRow + r < a.rows) a.output[(u64)(firstRow + r) * a.outputStride + column] = total;
  }
}

extern "C" __global__ void __launch_bounds__(128) product_int8(IntegerArgs a) { integer_product<8>(a); }
extern "C" __global__ void __launch_bounds__(128) product_int4(IntegerArgs a) { integer_product<4>(a); }
