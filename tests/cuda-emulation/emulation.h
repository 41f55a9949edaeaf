// CPU emulation of the CUDA execution model for the kernels' third life: one fibre per thread of a block, blocks one after another.
// What it cannot show: races between blocks, wrong asm text, bank conflicts, register and shared memory limits, speed.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define KV_DYNAMIC_SHARED(T, name) T* name = (T*)emulation::block->shared

struct uint3 { u32 x, y, z; };
struct dim3 { u32 x, y, z; };
struct alignas(16) uint4 { u32 x, y, z, w; };
struct alignas(8) uint2 { u32 x, y; };

namespace emulation {
struct Fibre { void* stack; uint3 thread; bool done; };
struct Warp { u32 slot[2][32]; u32 generation; int arrived, live; };
struct Block {
  void* shared; Fibre* fibres; Warp* warps; int threads; uint3 index; dim3 grid, size;
  int arrived, live, current, idle; u32 generation; void* launcher; void (*body)(void*); void* argument;
};
extern Block* block;
void yield();                                                      // the next fibre of the block that has not ended, round robin
void launch(void (*body)(void*), void* argument, dim3 grid, dim3 size, size_t shared);

inline void barrier() {
  Block* b = block;
  const u32 generation = b->generation;
  b->idle = 0;
  if (++b->arrived == b->live) { b->arrived = 0; b->generation = generation + 1; }
  else while (b->generation == generation) yield();
}

// Puts the lane's word down, waits for the whole warp, and reads another lane's. Two parities: one rendezvous is enough.
inline u32 exchange(u32 value, int mask) {
  Block* b = block;
  const int lane = b->current & 31;
  Warp& warp = b->warps[b->current >> 5];
  const u32 generation = warp.generation;
  b->idle = 0;
  warp.slot[generation & 1][lane] = value;
  if (++warp.arrived == warp.live) { warp.arrived = 0; warp.generation = generation + 1; }
  else while (warp.generation == generation) yield();
  return warp.slot[generation & 1][lane ^ mask];
}

inline float half_float(u16 h) {
  const u32 sign = (u32)(h & 0x8000) << 16, exponent = (h >> 10) & 31, fraction = h & 1023;
  u32 bits;
  if (exponent == 31) bits = sign | 0x7f800000 | (fraction << 13);
  else if (exponent) bits = sign | ((exponent + 112) << 23) | (fraction << 13);
  else { const float f = fraction * 0x1p-24f; memcpy(&bits, &f, 4); bits |= sign; }
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

inline u16 half_of_number(float f) {                               // to nearest even; f is a number
  u32 bits;
  memcpy(&bits, &f, 4);
  const u32 sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
  if (size >= 0x47800000) return (u16)(sign | 0x7c00);             // 65536 and above, infinity
  if (size < 0x38800000) {                                         // subnormal: a whole number of 2^-24
    float magnitude;
    memcpy(&magnitude, &size, 4);
    return (u16)(sign | (u32)rintf(magnitude * 0x1p24f));
  }
  const u32 rounded = size + 0xfff + ((size >> 13) & 1) - 0x38000000;
  return (u16)(sign | (rounded >> 13));
}
}

#define threadIdx (emulation::block->fibres[emulation::block->current].thread)
#define blockIdx (emulation::block->index)
#define blockDim (emulation::block->size)
#define gridDim (emulation::block->grid)
inline void __syncthreads() { emulation::barrier(); }
inline u32 kv_shuffle_xor_bits(u32 v, int mask) { return emulation::exchange(v, mask); }
inline int kv_dot4(u32 a, u32 b, int c) {
  for (int i = 0; i < 32; i += 8) c += (int)(signed char)(a >> i) * (signed char)(b >> i);
  return c;
}
inline float kv_bits_float(u32 u) { float f; memcpy(&f, &u, 4); return f; }
inline u32 kv_float_bits(float f) { u32 u; memcpy(&u, &f, 4); return u; }
inline float kv_exp2(float x) { return exp2f(x); }
inline float kv_sqrt(float x) { return sqrtf(x); }
inline float kv_divide(float a, float b) { return a / b; }
inline float kv_fma(float a, float b, float c) { return fmaf(a, b, c); }
inline float kv_multiply(float a, float b) { return a * b; }
inline float kv_round(float x) { return rintf(x); }
inline float kv_max(float a, float b) { return fmaxf(a, b); }
inline float kv_min(float a, float b) { return fminf(a, b); }
inline float kv_half_float(u16 h) { return emulation::half_float(h); }
inline u16 kv_half_of_number(float f) { return emulation::half_of_number(f); }
