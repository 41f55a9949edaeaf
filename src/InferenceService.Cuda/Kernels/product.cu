// output = x · weightᵀ with x in f32 and the weight as stored, all sums in f32: what cuBLASLt has no mixed form for. The order in which a
// row's products are added depends on nothing but the number of columns, so a row has the same bits in any batch.
#include "prelude.cuh"

struct ProductArgs { const void* x; const void* weight; float* output; i64 xStride, weightStride, outputStride; int rows, inner, columns, padding; };

enum { PRODUCT_TILE = 32, PRODUCT_THREADS = 128, PRODUCT_EACH = PRODUCT_TILE * PRODUCT_TILE / PRODUCT_THREADS };

// grid = (columns / 32, rows / 32), block = 128: a thread owns one output column of eight rows
template<int T> __device__ __forceinline__ void product(const ProductArgs& a) {
  __shared__ float left[PRODUCT_TILE][PRODUCT_TILE + 1], right[PRODUCT_TILE][PRODUCT_TILE + 1];
  const int tid = threadIdx.x, column = tid % PRODUCT_TILE, firstRow = tid / PRODUCT_TILE * PRODUCT_EACH;
  const int rowBase = blockIdx.y * PRODUCT_TILE, columnBase = blockIdx.x * PRODUCT_TILE;
  const int rows = kv_least(PRODUCT_TILE, a.rows - rowBase);
  float total[PRODUCT_EACH];
  KV_UNROLL for (int i = 0; i < PRODUCT_EACH; i++) total[i] = 0.f;
  for (int k0 = 0; k0 < a.inner; k0 += PRODUCT_TILE) {
    for (int i = tid; i < PRODUCT_TILE * PRODUCT_TILE; i += PRODUCT_THREADS) {
      const int r = i / PRODUCT_TILE, k = k0 + i % PRODUCT_TILE;
      left[r][i % PRODUCT_TILE] = r < rows && k < a.inner ? kv_load<KV_F32>(a.x, (u64)(rowBase + r) * a.xStride + k) : 0.f;
      right[r][i % PRODUCT_TILE] = columnBase + r < a.columns && k < a.inner
        ? kv_load<T>(a.weight, (u64)(columnBase + r) * a.weightStride + k) : 0.f;
    }
    __syncthreads();
    KV_UNROLL for (int i = 0; i < PRODUCT_EACH; i++) {
      if (firstRow + i < rows) {
        float sum = 0.f;
        for (int k = 0; k < PRODUCT_TILE; k++) sum += left[firstRow + i][k] * right[column][k];
        total[i] += sum;                                            // of a tile first: long rows lose less
      }
    }
    __syncthreads();
  }
  KV_UNROLL for (int i = 0; i < PRODUCT_EACH; i++) {
    if (firstRow + i < rows && columnBase + column < a.columns)
      a.output[(u64)(rowBase + firstRow + i) * a.outputStride + columnBase + column] = total[i];
  }
}

extern "C" __global__ void __launch_bounds__(128) product_f32(ProductArgs a) { product<KV_F32>(a); }
extern "C" __global__ void __launch_bounds__(128) product_f16(ProductArgs a) { product<KV_F16>(a); }
extern "C" __global__ void __launch_bounds__(128) product_bf16(ProductArgs a) { product<KV_BF16>(a); }
