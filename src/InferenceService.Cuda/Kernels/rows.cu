// The verbs that work row by row. Activations are f32; tables, norm weights and biases are f32, f16 or bf16. Strides are in elements.
#include "prelude.cuh"

struct EmbedArgs {
  const void* table; const int* ids; float* output; u32* fault;
  i64 tableStride, outputStride;
  int type, columns, entries, padding;
};

// grid = rows, block = 128
extern "C" __global__ void __launch_bounds__(128) embed(EmbedArgs a) {
  const int id = a.ids[blockIdx.x];
  if ((u32)id >= (u32)a.entries) {
    if (threadIdx.x == 0) { a.fault[1] = (u32)id; a.fault[2] = (u32)blockIdx.x; a.fault[0] = 1; }
    return;
  }
  for (int c = threadIdx.x; c < a.columns; c += 128)
    a.output[(i64)blockIdx.x * a.outputStride + c] = kv_load_as(a.type, a.table, (u64)id * a.tableStride + c);
}

struct NormArgs {
  const float* add; float* x; const void* weight; float* output;    // add may be null; then x is only read
  i64 addStride, xStride, outputStride;
  int type, columns; float epsilon; int padding;
};

// grid = (rows, runs), block = 256; every run of `columns` columns is a norm of its own
extern "C" __global__ void __launch_bounds__(256) rms_norm(NormArgs a) {
  __shared__ float part[8];
  const int tid = threadIdx.x, first = blockIdx.y * a.columns;
  const u64 row = blockIdx.x;
  float* x = a.x + row * a.xStride + first;
  float sum = 0.f;
  for (int c = tid; c < a.columns; c += 256) {
    float value = x[c];
    if (a.add) x[c] = value = value + a.add[row * a.addStride + first + c];
    sum = kv_fma(value, value, sum);
  }
  sum = kv_warp_sum(sum);
  if ((tid & 31) == 0) part[tid >> 5] = sum;
  __syncthreads();
  float total = 0.f;
  for (int i = 0; i < 8; i++) total += part[i];
  const float factor = kv_divide(1.f, kv_sqrt(kv_divide(total, (float)a.columns) + a.epsilon));
  float* output = a.output + row * a.outputStride + first;
  for (int c = tid; c < a.columns; c += 256) output[c] = kv_multiply(kv_multiply(x[c], factor), kv_load_as(a.type, a.weight, c));
}

struct AddArgs { const void* x; float* target; i64 xStride, targetStride; int type, columns; };

// grid = (rows, columns / 256), block = 256; a stride of 0 adds one row (a bias) to all
extern "C" __global__ void __launch_bounds__(256) add(AddArgs a) {
  const int c = blockIdx.y * 256 + threadIdx.x;
  const u64 row = blockIdx.x;
  if (c < a.columns) a.target[row * a.targetStride + c] += kv_load_as(a.type, a.x, row * a.xStride + c);
}

struct SiluArgs { const float* gate; const float* up; float* output; i64 gateStride, upStride, outputStride; int columns, padding; };

// grid = (rows, columns / 256), block = 256
extern "C" __global__ void __launch_bounds__(256) silu_multiply(SiluArgs a) {
  const int c = blockIdx.y * 256 + threadIdx.x;
  const u64 row = blockIdx.x;
  if (c >= a.columns) return;
  const float gate = a.gate[row * a.gateStride + c];
  a.output[row * a.outputStride + c] = kv_multiply(kv_divide(gate, 1.f + kv_exp(-gate)), a.up[row * a.upStride + c]);
}

struct RopeArgs { float* x; const float* cosSin; i64 xStride, cosSinStride; int columns, headDim, half, padding; };

// grid = (rows, pairs of a row / 128), block = 128
extern "C" __global__ void __launch_bounds__(128) rope(RopeArgs a) {
  const int pair = blockIdx.y * 128 + threadIdx.x;
  const u64 row = blockIdx.x;
  if (pair >= a.columns / a.headDim * a.half) return;
  const int head = pair / a.half, i = pair % a.half;
  kv_rotate(a.x + row * a.xStride + (u64)head * a.headDim + i, a.cosSin + row * a.cosSinStride + i, a.half);
}

struct NarrowArgs { const float* x; u16* output; i64 xStride, outputStride; int columns, padded; };

// x to bf16, padding columns to zero. grid = (rows, padded / 256), block = 256
extern "C" __global__ void __launch_bounds__(256) narrow(NarrowArgs a) {
  const int c = blockIdx.y * 256 + threadIdx.x;
  const u64 row = blockIdx.x;
  if (c < a.padded) a.output[row * a.outputStride + c] = c < a.columns ? kv_to_bf16(a.x[row * a.xStride + c]) : (u16)0;
}
