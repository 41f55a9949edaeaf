// One vocabulary, three lives: NVRTC (the product), `clang -x cuda` (syntax and type check without a toolkit), plain C++ (emulation on a
// CPU, tests/cuda-emulation). Kernels include no CUDA header and use only what stands here; a new primitive is added to all three branches.
#pragma once
#define KV_UNROLL _Pragma("unroll")
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
typedef unsigned long long u64;
typedef long long i64;

#if defined(__CUDACC_RTC__) || defined(__CUDACC__)
  #define KV_DEVICE 1
#elif defined(__CUDA__) && defined(__clang__)
  #define KV_DEVICE 1
  #define KV_CLANG 1
#else
  #define KV_EMULATED 1
#endif

#if defined(KV_CLANG)
  #define __host__ __attribute__((host))
  #define __device__ __attribute__((device))
  #define __global__ __attribute__((global))
  #define __shared__ __attribute__((shared))
  #define __constant__ __attribute__((constant))
  #define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
  #define __forceinline__ __inline__ __attribute__((always_inline))
  struct uint3 { u32 x, y, z; };
  struct dim3 { u32 x, y, z; };
  #include <__clang_cuda_builtin_vars.h>
  struct __attribute__((aligned(16))) uint4 { u32 x, y, z, w; };
  struct __attribute__((aligned(8))) uint2 { u32 x, y; };
#endif

#if defined(KV_DEVICE)
  #define KV_DYNAMIC_SHARED(T, name) extern __shared__ T name[]

__device__ __forceinline__ u32 kv_shuffle_xor_bits(u32 v, int mask) {
  u32 r;
  asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(r) : "r"(v), "r"(mask));
  return r;
}
__device__ __forceinline__ float kv_bits_float(u32 u) { float r; asm("mov.b32 %0, %1;" : "=f"(r) : "r"(u)); return r; }
__device__ __forceinline__ u32 kv_float_bits(float f) { u32 r; asm("mov.b32 %0, %1;" : "=r"(r) : "f"(f)); return r; }
__device__ __forceinline__ double kv_bits_double(u64 u) { double r; asm("mov.b64 %0, %1;" : "=d"(r) : "l"(u)); return r; }
__device__ __forceinline__ u64 kv_double_bits(double d) { u64 r; asm("mov.b64 %0, %1;" : "=l"(r) : "d"(d)); return r; }
// *sum += value, in shared memory, as one operation.
__device__ __forceinline__ void kv_add_shared(u64* sum, u64 value) {
  asm volatile("{ .reg .u64 a; .reg .u32 s; cvta.to.shared.u64 a, %0; cvt.u32.u64 s, a; red.shared.add.u64 [s], %1; }" :: "l"(sum), "l"(value) : "memory");
}
__device__ __forceinline__ float kv_exp2(float x) { float r; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
__device__ __forceinline__ float kv_sqrt(float x) { float r; asm("sqrt.rn.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
__device__ __forceinline__ float kv_divide(float a, float b) { float r; asm("div.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
__device__ __forceinline__ float kv_fma(float a, float b, float c) { float r; asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(r) : "f"(a), "f"(b), "f"(c)); return r; }
__device__ __forceinline__ float kv_multiply(float a, float b) { float r; asm("mul.rn.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
__device__ __forceinline__ float kv_round(float x) { float r; asm("cvt.rni.f32.f32 %0, %1;" : "=f"(r) : "f"(x)); return r; }
__device__ __forceinline__ float kv_max(float a, float b) { float r; asm("max.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
__device__ __forceinline__ float kv_min(float a, float b) { float r; asm("min.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
__device__ __forceinline__ float kv_half_float(u16 h) { float r; asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(h)); return r; }
__device__ __forceinline__ u16 kv_half_of_number(float f) { u16 r; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r) : "f"(f)); return r; }

// Two floats to bfloat16, to nearest even: `low` in the low half.
__device__ __forceinline__ u32 kv_pack_bf16(float low, float high) { u32 r; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low)); return r; }
// d += a · b on tensor cores. A lane 4·g + t holds of a[16 rows][16] rows g and g + 8, columns 2t, 2t + 1 and 8 more on; of b[16][8 columns]
// column g, rows 2t, 2t + 1 and 8 more on; of d[16][8] rows g and g + 8, columns 2t and 2t + 1. Sums in f32.
__device__ __forceinline__ void kv_mma_bf16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The same of binary16.
__device__ __forceinline__ u32 kv_pack_half(float low, float high) { u32 r; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low)); return r; }
__device__ __forceinline__ void kv_mma_half(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The same of signed bytes: a[16][32], columns 4t to 4t + 3 and 16 more on; b[32][8]. Exact.
__device__ __forceinline__ void kv_mma_bytes(int (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
    : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Four matrices of 8 rows of 16 bytes in shared memory; lane 8·i + j names row j of matrix i and receives of matrix i, in r[i], word lane % 4
// of row lane / 4.
__device__ __forceinline__ void kv_matrices(u32 (&r)[4], const void* row) {
  asm volatile("{ .reg .u64 a; .reg .u32 s; cvta.to.shared.u64 a, %4; cvt.u32.u64 s, a; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [s]; }"
    : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "l"(row) : "memory");
}
// The same of the transposed matrices of 16-bit elements.
__device__ __forceinline__ void kv_matrices_turned(u32 (&r)[4], const void* row) {
  asm volatile("{ .reg .u64 a; .reg .u32 s; cvta.to.shared.u64 a, %4; cvt.u32.u64 s, a; ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [s]; }"
    : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "l"(row) : "memory");
}
// 16 bytes from global to shared memory, both aligned; there after kv_copy_wait.
__device__ __forceinline__ void kv_copy16(void* shared, const void* global) {
  asm volatile("{ .reg .u64 a; .reg .u32 s; .reg .u64 g; cvta.to.shared.u64 a, %0; cvt.u32.u64 s, a; cvta.to.global.u64 g, %1; cp.async.cg.shared.global [s], [g], 16; }"
    :: "l"(shared), "l"(global) : "memory");
}
__device__ __forceinline__ void kv_copy_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#else
  #include "emulation.h"
#endif

// The rest is the same everywhere.
enum { KV_F32 = 0, KV_F16 = 1, KV_BF16 = 2, KV_BYTES = 5 };       // InferenceService.Compute.DType

__device__ __forceinline__ int kv_least(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int kv_most(int a, int b) { return a > b ? a : b; }

__device__ __forceinline__ float kv_shuffle_xor(float v, int mask) { return kv_bits_float(kv_shuffle_xor_bits(kv_float_bits(v), mask)); }

__device__ __forceinline__ float kv_warp_sum(float v) {
  for (int mask = 16; mask; mask >>= 1) v += kv_shuffle_xor(v, mask);
  return v;
}

// To nearest even; what is not a number stays one and keeps its sign, which the conversion instructions do not promise.
__device__ __forceinline__ u16 kv_to_bf16(float f) {
  const u32 bits = kv_float_bits(f);
  return f != f ? (u16)((bits >> 16) | 0x40) : (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
__device__ __forceinline__ u16 kv_to_half(float f) {
  return f != f ? (u16)(((kv_float_bits(f) >> 16) & 0x8000) | 0x7e00) : kv_half_of_number(f);
}
// x and y in two parts each: what bfloat16 holds of them, and what it holds of the rest. Together they differ by 2^-18 at most.
__device__ __forceinline__ void kv_split(float x, float y, u32* high, u32* low) {
  *high = kv_pack_bf16(x, y);
  *low = kv_pack_bf16(x - kv_bits_float(*high << 16), y - kv_bits_float(*high & 0xffff0000u));
}
__device__ __forceinline__ float kv_from_bf16(u16 h) { return kv_bits_float((u32)h << 16); }

template<int T> __device__ __forceinline__ float kv_load(const void* p, u64 i) {
  if (T == KV_F32) return ((const float*)p)[i];
  if (T == KV_F16) return kv_half_float(((const u16*)p)[i]);
  return kv_from_bf16(((const u16*)p)[i]);
}
__device__ __forceinline__ float kv_load_as(int type, const void* p, u64 i) {
  return type == KV_F32 ? kv_load<KV_F32>(p, i) : type == KV_F16 ? kv_load<KV_F16>(p, i) : kv_load<KV_BF16>(p, i);
}
__device__ __forceinline__ void kv_store_as(int type, void* p, u64 i, float value) {
  if (type == KV_F32) ((float*)p)[i] = value;
  else ((u16*)p)[i] = type == KV_F16 ? kv_to_half(value) : kv_to_bf16(value);
}

// One pair (i, i + half) of a head by its angle; x and angles point at i.
__device__ __forceinline__ void kv_rotate(float* x, const float* angles, int half) {
  const float left = x[0], right = x[half], cosine = angles[0], sine = angles[half];
  x[0] = kv_fma(left, cosine, -kv_multiply(right, sine));
  x[half] = kv_fma(right, cosine, kv_multiply(left, sine));
}

// e^x to about an ulp, the same bits everywhere: ex2.approx of x·log2(e) would lose up to seven bits for large |x|.
__device__ __forceinline__ float kv_exp(float x) {
  const float n = kv_round(kv_min(kv_max(kv_multiply(x, 1.44269504f), -252.f), 252.f));
  float r = kv_fma(n, -0.693359375f, x);
  r = kv_fma(n, 2.12194440e-4f, r);                               // ln 2 in two parts
  float p = 1.9875691500e-4f;                                     // minimax polynomial of Cephes' expf (S. Moshier, public domain)
  p = kv_fma(p, r, 1.3981999507e-3f);
  p = kv_fma(p, r, 8.3334519073e-3f);
  p = kv_fma(p, r, 4.1665795894e-2f);
  p = kv_fma(p, r, 1.6666665459e-1f);
  p = kv_fma(p, r, 5.0000001201e-1f);
  p = kv_fma(kv_multiply(p, r), r, r) + 1.f;
  const int whole = (int)n, half = whole / 2;                     // in two steps: 2^n alone may leave the range of a float
  const float result = kv_multiply(kv_multiply(p, kv_bits_float((u32)(half + 127) << 23)), kv_bits_float((u32)(whole - half + 127) << 23));
  return x != x ? x : x > 89.f ? kv_bits_float(0x7f800000) : x < -104.f ? 0.f : result;
}
