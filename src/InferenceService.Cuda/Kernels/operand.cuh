// What products read of x: f32, binary16, bfloat16, or signed bytes with one f32 scale a run of 256 columns. A row of bytes: its codes, then its
// scales, as a weight of bytes has them. Warps write it, each lane eight columns of a run.
#pragma once
#include "prelude.cuh"

enum { RUN = 256, EACH_LANE = 8 };

// Eight columns of a row of f32 from c on; zeros past its end.
__device__ __forceinline__ void kv_load_columns(const float* row, int c, int columns, float (&v)[EACH_LANE]) {
  if (c + EACH_LANE <= columns && ((u64)(row + c) & 15) == 0) {
    const uint4 low = ((const uint4*)(row + c))[0], high = ((const uint4*)(row + c))[1];
    const u32 words[EACH_LANE] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    KV_UNROLL for (int i = 0; i < EACH_LANE; i++) v[i] = kv_bits_float(words[i]);
  } else {
    KV_UNROLL for (int i = 0; i < EACH_LANE; i++) v[i] = c + i < columns ? row[c + i] : 0.f;
  }
}

__device__ __forceinline__ void kv_store_floats(float* row, int c, int columns, const float (&v)[EACH_LANE]) {
  if (c + EACH_LANE <= columns && ((u64)(row + c) & 15) == 0) {
    ((uint4*)(row + c))[0] = uint4{kv_float_bits(v[0]), kv_float_bits(v[1]), kv_float_bits(v[2]), kv_float_bits(v[3])};
    ((uint4*)(row + c))[1] = uint4{kv_float_bits(v[4]), kv_float_bits(v[5]), kv_float_bits(v[6]), kv_float_bits(v[7])};
  } else {
    KV_UNROLL for (int i = 0; i < EACH_LANE; i++) {
      if (c + i < columns) row[c + i] = v[i];
    }
  }
}

// Two numbers as binary16, or as bfloat16. Finite numbers that binary16 cannot hold become its largest; what is not finite stays so.
__device__ __forceinline__ float kv_in_half(float x) { return x - x == 0.f ? kv_min(kv_max(x, -65504.f), 65504.f) : x; }
template<int T> __device__ __forceinline__ u32 kv_narrow(float low, float high) {
  return T == KV_F16 ? kv_pack_half(kv_in_half(low), kv_in_half(high)) : kv_pack_bf16(low, high);
}
template<int T> __device__ __forceinline__ uint4 kv_narrow_columns(const float (&v)[EACH_LANE]) {
  return uint4{kv_narrow<T>(v[0], v[1]), kv_narrow<T>(v[2], v[3]), kv_narrow<T>(v[4], v[5]), kv_narrow<T>(v[6], v[7])};
}

// A run of a row to signed bytes: largest magnitude / 127; zeros below 2^-100, NaN where something is not finite. All lanes of the warp.
__device__ __forceinline__ void kv_store_bytes(u8* row, int c, int columns, const float (&v)[EACH_LANE]) {
  u32 most = 0;                                                     // magnitudes compare as integers do, and a NaN's is above infinity's
  KV_UNROLL for (int i = 0; i < EACH_LANE; i++) {
    const u32 magnitude = kv_float_bits(v[i]) & 0x7fffffff;
    most = magnitude > most ? magnitude : most;
  }
  for (int mask = 16; mask; mask >>= 1) {
    const u32 other = kv_shuffle_xor_bits(most, mask);
    most = other > most ? other : most;
  }
  const float largest = kv_bits_float(most);
  const bool finite = most < 0x7f800000, usable = finite && largest >= 7.888609e-31f;
  const float factor = usable ? kv_divide(127.f, largest) : 0.f;
  u32 codes[2] = {0, 0};
  KV_UNROLL for (int i = 0; i < EACH_LANE; i++) {
    const int code = usable ? (int)kv_round(kv_multiply(v[i], factor)) : 0;
    codes[i >> 2] |= (u32)(u8)code << (8 * (i & 3));
  }
  if (c < columns) *(uint2*)(row + c) = uint2{codes[0], codes[1]};  // columns are a multiple of 32
  if ((threadIdx.x & 31) == 0) ((float*)(row + columns))[c / RUN] = usable ? kv_divide(largest, 127.f) : finite ? 0.f : kv_bits_float(0x7fc00000);
}

// Eight columns of a row from c on, in a form; columns past the end hold zeros. All lanes of the warp, with the columns of one run.
__device__ __forceinline__ void kv_store_columns(int form, u8* row, int c, int columns, const float (&v)[EACH_LANE]) {
  if (form == KV_BYTES) kv_store_bytes(row, c, columns, v);
  else if (form == KV_F32) kv_store_floats((float*)row, c, columns, v);
  else if (c < columns)                                           // rows are padded to 16 bytes, with the zeros of the columns past the end
    *(uint4*)((u16*)row + c) = form == KV_F16 ? kv_narrow_columns<KV_F16>(v) : kv_narrow_columns<KV_BF16>(v);
}
