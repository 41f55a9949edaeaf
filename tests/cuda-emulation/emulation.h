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
struct Words { u32 word[6]; };
struct Warp { Words slot[2][32]; u32 generation; int arrived, live; };
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

// Puts the lane's words down, waits for the whole warp, and returns those of all lanes. Two parities: one rendezvous is enough.
inline const Words* exchange(const Words& mine) {
  Block* b = block;
  Warp& warp = b->warps[b->current >> 5];
  const u32 generation = warp.generation;
  b->idle = 0;
  warp.slot[generation & 1][b->current & 31] = mine;
  if (++warp.arrived == warp.live) { warp.arrived = 0; warp.generation = generation + 1; }
  else while (warp.generation == generation) yield();
  return warp.slot[generation & 1];
}

// Tensor cores cut sums off towards zero.
inline float cut_off(double sum) {
  const float f = (float)sum;
  return std::fabs((double)f) > std::fabs(sum) ? std::nextafterf(f, 0.f) : f;
}

inline float bf16(u32 word, int half) {
  const u32 bits = half ? word & 0xffff0000u : word << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

inline float half_float(u16 h);
inline float narrow_of(u32 word, int half, bool binary16) { return binary16 ? half_float((u16)(word >> (16 * half))) : bf16(word, half); }

inline void mma_narrow(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1, bool binary16) {
  const Words* all = exchange({{a[0], a[1], a[2], a[3], b0, b1}});
  const int lane = block->current & 31;
  for (int r = 0; r < 4; r++) {
    const int row = lane / 4 + 8 * (r >> 1), column = 2 * (lane % 4) + (r & 1);
    double sum = d[r];
    for (int k = 0; k < 16; k++) {
      const int from = (k & 7) >> 1;
      sum += (double)narrow_of(all[(row & 7) * 4 + from].word[(row >> 3) + 2 * (k >> 3)], k & 1, binary16)
        * narrow_of(all[column * 4 + from].word[4 + (k >> 3)], k & 1, binary16);
    }
    d[r] = cut_off(sum);
  }
}

inline void mma_bytes(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  const Words* all = exchange({{a[0], a[1], a[2], a[3], b0, b1}});
  const int lane = block->current & 31;
  for (int r = 0; r < 4; r++) {
    const int row = lane / 4 + 8 * (r >> 1), column = 2 * (lane % 4) + (r & 1);
    for (int k = 0; k < 32; k++) {
      const int from = (k & 15) >> 2, shift = 8 * (k & 3);
      d[r] += (int)(signed char)(all[(row & 7) * 4 + from].word[(row >> 3) + 2 * (k >> 4)] >> shift) * (signed char)(all[column * 4 + from].word[4 + (k >> 4)] >> shift);
    }
  }
}

inline void matrices(u32 (&r)[4], const void* row, bool turned) {
  if ((uintptr_t)row % 16) { fprintf(stderr, "emulation: a matrix row is not aligned to 16 bytes\n"); abort(); }
  Words mine;
  memcpy(mine.word, &row, sizeof row);
  const Words* all = exchange(mine);
  const int lane = block->current & 31;
  for (int i = 0; i < 4; i++) {
    for (int half = 0; half < 2; half++) {
      const int line = turned ? 2 * (lane % 4) + half : lane / 4, element = turned ? lane / 4 : 2 * (lane % 4) + half;
      const u16* from;
      memcpy(&from, all[8 * i + line].word, sizeof from);
      r[i] = half ? r[i] | (u32)from[element] << 16 : from[element];
    }
  }
}

inline u16 to_bf16(float f) {
  u32 bits;
  memcpy(&bits, &f, 4);
  return f != f ? 0x7fff : (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
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
inline u32 kv_shuffle_xor_bits(u32 v, int mask) { return emulation::exchange({{v}})[(emulation::block->current & 31) ^ mask].word[0]; }
inline u32 kv_pack_half(float low, float high) {
  return (low != low ? 0x7fffu : emulation::half_of_number(low)) | (u32)(high != high ? 0x7fffu : emulation::half_of_number(high)) << 16;
}
inline u32 kv_pack_bf16(float low, float high) { return emulation::to_bf16(low) | (u32)emulation::to_bf16(high) << 16; }
inline void kv_mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { emulation::mma_narrow(d, a, b0, b1, false); }
inline void kv_mma_half(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { emulation::mma_narrow(d, a, b0, b1, true); }
inline void kv_mma_bytes(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { emulation::mma_bytes(d, a, b0, b1); }
inline void kv_matrices(u32 (&r)[4], const void* row) { emulation::matrices(r, row, false); }
inline void kv_matrices_turned(u32 (&r)[4], const void* row) { emulation::matrices(r, row, true); }
inline void kv_copy16(void* shared, const void* global) {
  if (((uintptr_t)shared | (uintptr_t)global) % 16) { fprintf(stderr, "emulation: a copy of 16 bytes is not aligned\n"); abort(); }
  memcpy(shared, global, 16);
}
inline void kv_copy_wait() {}
inline float kv_bits_float(u32 u) { float f; memcpy(&f, &u, 4); return f; }
inline u32 kv_float_bits(float f) { u32 u; memcpy(&u, &f, 4); return u; }
inline double kv_bits_double(u64 u) { double d; memcpy(&d, &u, 8); return d; }
inline u64 kv_double_bits(double d) { u64 u; memcpy(&u, &d, 8); return u; }
inline void kv_add_shared(u64* sum, u64 value) { *sum += value; }
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
