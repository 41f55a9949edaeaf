// Weights in 8 and 4 bits as kernels see them. A row: its codes (4 bits: byte i of a group of 32 holds elements i and i + 16, each + 8), then its
// scales (f32 a run of 256, or f16 a group of 32). x comes as operand.cuh rounds it.
#pragma once
#include "operand.cuh"

enum { GROUP = 32 };

// A sum of integers that starts here is a float that starts at 1.5 · 2^23: no conversion, as long as it stays below 2^22. The largest, of a run
// of 256 products of bytes up to 127, is 256 · 127 · 127 < 2^22.
#define KV_SUM_START 0x4b400000
__device__ __forceinline__ float kv_sum(int sum) { return kv_bits_float((u32)sum) - 12582912.f; }

// Four elements of a group, from the low (or, shifted by 4, the high) halves of four bytes, as signed bytes.
__device__ __forceinline__ u32 kv_nibbles(u32 word) { return (((word & 0x0f0f0f0fu) | 0x80808080u) - 0x08080808u) ^ 0x80808080u; }
