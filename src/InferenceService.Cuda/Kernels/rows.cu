// The verbs that work row by row. Activations are f32, but what goes into products may be written in the form that these read; tables, norm weights
// and biases are f32, f16 or bf16. Strides are in elements, those of outputs with a form in bytes.
#include "operand.cuh"

enum { WARPS = 8, STRIDE = WARPS * RUN };                          // a CTA's share of a row is 2048 columns at a time

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
  const float* add; float* x; const void* weight; u8* output;       // add may be null; then x is only read
  i64 addStride, xStride, outputBytes;
  int type, columns; float epsilon; int form;
};

// grid = (rows, runs), block = 256; every run of `columns` columns is a norm of its own, and only one of f32 where there are several
extern "C" __global__ void __launch_bounds__(256) rms_norm(NormArgs a) {
  __shared__ float part[WARPS];
  const int tid = threadIdx.x, first = blockIdx.y * a.columns;
  const u64 row = blockIdx.x;
  float* x = a.x + row * a.xStride + first;
  const float* other = a.add ? a.add + row * a.addStride + first : (const float*)0;
  float sum = 0.f, v[EACH_LANE];
  for (int c = tid * EACH_LANE; c < a.columns; c += STRIDE) {
    kv_load_columns(x, c, a.columns, v);
    if (other) {
      float w[EACH_LANE];
      kv_load_columns(other, c, a.columns, w);
      KV_UNROLL for (int i = 0; i < EACH_LANE; i++) v[i] += w[i];
      kv_store_floats(x, c, a.columns, v);
    }
    KV_UNROLL for (int i = 0; i < EACH_LANE; i++) sum = kv_fma(v[i], v[i], sum);
  }
  sum = kv_warp_sum(sum);
  if ((tid & 31) == 0) part[tid >> 5] = sum;
  __syncthreads();
  float total = 0.f;
  for (int i = 0; i < WARPS; i++) total += part[i];
  const float factor = kv_divide(1.f, kv_sqrt(kv_divide(total, (float)a.columns) + a.epsilon));
  u8* output = a.output + row * a.outputBytes + (u64)first * 4;
  for (int base = tid / 32 * RUN; base < a.columns; base += STRIDE) { // whole warps
    const int c = base + (tid & 31) * EACH_LANE;
    kv_load_columns(x, c, a.columns, v);
    KV_UNROLL for (int i = 0; i < EACH_LANE; i++) v[i] = c + i < a.columns ? kv_multiply(kv_multiply(v[i], factor), kv_load_as(a.type, a.weight, c + i)) : 0.f;
    kv_store_columns(a.form, output, c, a.columns, v);
  }
}

struct AddArgs { const void* x; float* target; i64 xStride, targetStride; int type, columns; };

// grid = (rows, columns / 256), block = 256; a stride of 0 adds one row (a bias) to all
extern "C" __global__ void __launch_bounds__(256) add(AddArgs a) {
  const int c = blockIdx.y * 256 + threadIdx.x;
  const u64 row = blockIdx.x;
  if (c < a.columns) a.target[row * a.targetStride + c] += kv_load_as(a.type, a.x, row * a.xStride + c);
}

struct SiluArgs { const float* gate; const float* up; u8* output; i64 gateStride, upStride, outputBytes; int columns, form; };

// grid = (rows, columns / 2048), block = 256
extern "C" __global__ void __launch_bounds__(256) silu_multiply(SiluArgs a) {
  const int c = blockIdx.y * STRIDE + threadIdx.x * EACH_LANE;
  const u64 row = blockIdx.x;
  float gate[EACH_LANE], up[EACH_LANE];
  kv_load_columns(a.gate + row * a.gateStride, c, a.columns, gate);
  kv_load_columns(a.up + row * a.upStride, c, a.columns, up);
  KV_UNROLL for (int i = 0; i < EACH_LANE; i++) gate[i] = kv_multiply(kv_divide(gate[i], 1.f + kv_exp(-gate[i])), up[i]);
  if (c / RUN * RUN < a.columns) kv_store_columns(a.form, a.output + row * a.outputBytes, c, a.columns, gate);
}

struct OperandArgs { const float* x; u8* output; i64 xStride, outputBytes; int columns, form; };

// x in the form that a product reads. grid = (rows, columns / 2048), block = 256
extern "C" __global__ void __launch_bounds__(256) operand(OperandArgs a) {
  const int c = blockIdx.y * STRIDE + threadIdx.x * EACH_LANE;
  const u64 row = blockIdx.x;
  float v[EACH_LANE];
  kv_load_columns(a.x + row * a.xStride, c, a.columns, v);
  if (c / RUN * RUN < a.columns) kv_store_columns(a.form, a.output + row * a.outputBytes, c, a.columns, v);
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
