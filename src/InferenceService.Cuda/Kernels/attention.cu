// Softmax attention over the paged cache, and the sums over its matrix that policies ask for. Written for exactness: f32 throughout, keys in
// tiles of 32 slots counted from slot 0, so that a row's bits depend on nothing but what it sees. One CTA owns up to 16 lines (a row of one
// query head each) of one KV head; all positions are slots.
#include "attention.cuh"

enum { KEYS = 32, THREADS = 128 };

// q·k in four partial sums
__device__ __forceinline__ float kv_dot(const float* q, const float* k, int n) {
  float s0 = 0.f, s1 = 0.f, s2 = 0.f, s3 = 0.f;
  int d = 0;
  for (; d + 4 <= n; d += 4) {
    s0 += q[d] * k[d];
    s1 += q[d + 1] * k[d + 1];
    s2 += q[d + 2] * k[d + 2];
    s3 += q[d + 3] * k[d + 3];
  }
  for (; d < n; d++) s0 += q[d] * k[d];
  return (s0 + s1) + (s2 + s3);
}

// The queries of some rows of a sequence, line by line.
__device__ __forceinline__ void kv_queries(const AttentionArgs& a, int firstRow, int lines, int head, float* q, float* sink) {
  const int D = a.cache.headDim;
  for (int i = threadIdx.x; i < lines * D; i += THREADS) {
    const int line = i / D;
    const u64 row = (u64)(firstRow + line / a.group), column = (u64)(head * a.group + line % a.group) * D + i % D;
    q[i] = a.q[row * a.qStride + column];
    if (a.sinkQueries) sink[i] = a.sinkQueries[row * a.sinkStride + column];
  }
}

// grid = (tiles of rows, kvHeads, sequences), block = 128, dynamic shared memory as CudaBackend computes it
template<int T> __device__ __forceinline__ void attention(const AttentionArgs& a) {
  KV_DYNAMIC_SHARED(float, shared);
  __shared__ u64 at[KEYS];
  const Cache& c = a.cache;
  const int tid = threadIdx.x, head = blockIdx.y, sequence = blockIdx.z, D = c.headDim, capacity = a.rowsPerTile * a.group;
  const Rows all = kv_rows(c, sequence);
  if (all.count == 0) return;
  const Lane lane = kv_lane(c, sequence, head);
  float* k = shared;
  float* v = k + KEYS * (D + 1);
  float* scores = v + KEYS * D;
  float* most = scores + capacity * (KEYS + 1);
  float* sum = most + capacity;
  float* range = sum + capacity;
  float* factor = range + capacity;
  float* q = factor + capacity;
  float* output = q + capacity * D;
  float* sink = output + capacity * D;
  const bool ranged = (kv_wanted(a, sequence) & WANT_RANGE) != 0;
  const int sinkEnd = ranged ? a.observed[sequence * OBSERVED_FIELDS + 3] : 0, recent = ranged ? a.observed[sequence * OBSERVED_FIELDS + 4] : 0;

  for (int start = blockIdx.x * a.rowsPerTile; start < all.count; start += gridDim.x * a.rowsPerTile) {
    const int rows = kv_least(a.rowsPerTile, all.count - start), lines = rows * a.group;
    const int first = lane.length + start, last = first + rows - 1;
    kv_queries(a, all.start + start, lines, head, q, sink);
    for (int i = tid; i < lines * D; i += THREADS) output[i] = 0.f;
    for (int i = tid; i < lines; i += THREADS) { most[i] = MASKED; sum[i] = 0.f; range[i] = 0.f; }
    __syncthreads();
    for (int tile = 0; tile <= last; tile += KEYS) {
      if (kv_sees_none(c, lane, first, last, tile, tile + KEYS)) continue;
      kv_find<KEYS>(c, lane, sequence, head, first, last, tile, at);
      __syncthreads();
      for (int i = tid; i < KEYS * D; i += THREADS) {
        const int j = i / D, d = i % D;
        k[j * (D + 1) + d] = kv_key<T>(c, at[j], tile + j, d);
        v[i] = kv_value<T>(c, at[j], tile + j, d);
      }
      __syncthreads();
      for (int i = tid; i < lines * KEYS; i += THREADS) {
        const int line = i / KEYS, j = i % KEYS, own = first + line / a.group;
        const float* queries = a.sinkQueries && tile + j < lane.sinks ? sink : q;
        scores[line * (KEYS + 1) + j] = at[j] && kv_sees(c, lane, own, own, tile + j)
          ? kv_dot(queries + line * D, k + j * (D + 1), D) * a.scale * 1.44269504f : MASKED;
      }
      __syncthreads();
      for (int line = tid; line < lines; line += THREADS) {
        const float* row = scores + line * (KEYS + 1);
        float top = most[line];
        for (int j = 0; j < KEYS; j++) top = kv_max(top, row[j]);
        factor[line] = kv_exp2(most[line] - top);
        most[line] = top;
      }
      __syncthreads();
      for (int i = tid; i < lines * KEYS; i += THREADS) {
        float* score = scores + i / KEYS * (KEYS + 1) + i % KEYS;
        *score = *score == MASKED ? 0.f : kv_exp2(*score - most[i / KEYS]);
      }
      __syncthreads();
      for (int line = tid; line < lines; line += THREADS) {
        const float* row = scores + line * (KEYS + 1);
        float weights = 0.f, inRange = 0.f;                         // the same additions in the same order: the share never exceeds 1
        for (int j = 0; j < KEYS; j++) {
          const int slot = tile + j;
          weights += row[j];
          inRange += slot < sinkEnd || slot >= recent ? row[j] : 0.f;
        }
        sum[line] = kv_fma(sum[line], factor[line], weights);
        range[line] = kv_fma(range[line], factor[line], inRange);
      }
      for (int i = tid; i < lines * D; i += THREADS) {
        const float* row = scores + i / D * (KEYS + 1);
        float part = 0.f;
        for (int j = 0; j < KEYS; j++) {
          if (row[j] != 0.f) part += row[j] * v[j * D + i % D];     // what a row does not see may hold anything
        }
        output[i] = kv_fma(output[i], factor[i / D], part);
      }
      __syncthreads();
    }
    for (int i = tid; i < lines * D; i += THREADS) {
      const int line = i / D;
      const u64 row = (u64)(all.start + start + line / a.group), column = (u64)(head * a.group + line % a.group) * D + i % D;
      a.output[row * a.outputStride + column] = sum[line] == 0.f ? 0.f : kv_divide(output[i], sum[line]);
    }
    if (a.statistics) {
      for (int line = tid; line < lines; line += THREADS) {
        float* out = a.statistics + ((u64)(all.start + start + line / a.group) * c.kvHeads * a.group + head * a.group + line % a.group) * STATISTICS;
        out[0] = most[line];
        out[1] = sum[line];
        out[2] = range[line];
      }
    }
    __syncthreads();                                                // the next tile of rows reuses everything
  }
}

extern "C" __global__ void __launch_bounds__(128) attention_f32(AttentionArgs a) { attention<KV_F32>(a); }
extern "C" __global__ void __launch_bounds__(128) attention_f16(AttentionArgs a) { attention<KV_F16>(a); }
extern "C" __global__ void __launch_bounds__(128) attention_bf16(AttentionArgs a) { attention<KV_BF16>(a); }

// Column and band sums: a second pass over the keys, once every row's maximum and sum are known. A CTA owns 32 slots of one KV head.
// grid = (tiles of slots, kvHeads, sequences), block = 128
template<int T> __device__ __forceinline__ void attention_sums(const SumArgs& s) {
  KV_DYNAMIC_SHARED(float, shared);
  __shared__ u64 at[KEYS];
  const AttentionArgs& a = s.attention;
  const Cache& c = a.cache;
  const int tid = threadIdx.x, head = blockIdx.y, sequence = blockIdx.z, D = c.headDim, tile = blockIdx.x * KEYS;
  const Rows all = kv_rows(c, sequence);
  if (all.count == 0) return;
  const Lane lane = kv_lane(c, sequence, head);
  const Sums sums = kv_sums(s, lane, all, sequence, head, tile, KEYS);
  if (sums.slots <= 0) return;
  float* k = shared;
  float* scores = k + KEYS * (D + 1);
  float* q = scores + a.rowsPerTile * a.group * (KEYS + 1);
  float* sink = q + a.rowsPerTile * a.group * D;
  kv_find<KEYS>(c, lane, sequence, head, lane.length + sums.begin, lane.length + all.count - 1, tile, at);
  __syncthreads();
  for (int i = tid; i < KEYS * D; i += THREADS) k[i / D * (D + 1) + i % D] = kv_key<T>(c, at[i / D], tile + i / D, i % D);

  for (int start = sums.begin; start < all.count; start += a.rowsPerTile) {
    const int rows = kv_least(a.rowsPerTile, all.count - start), lines = rows * a.group;
    if (kv_sees_none(c, lane, lane.length + start, lane.length + start + rows - 1, tile, tile + KEYS)) continue;
    kv_queries(a, all.start + start, lines, head, q, sink);
    __syncthreads();
    for (int i = tid; i < lines * KEYS; i += THREADS) {
      const int line = i / KEYS, j = i % KEYS, own = lane.length + start + line / a.group;
      const float* queries = a.sinkQueries && tile + j < lane.sinks ? sink : q;
      const float* statistic = kv_statistic(a, all.start + start + line / a.group, head, line % a.group);
      scores[line * (KEYS + 1) + j] = at[j] && statistic[1] != 0.f && kv_sees(c, lane, own, own, tile + j)
        ? kv_divide(kv_exp2(kv_dot(queries + line * D, k + j * (D + 1), D) * a.scale * 1.44269504f - statistic[0]), statistic[1]) : 0.f;
    }
    __syncthreads();
    kv_add_rows<KEYS, THREADS>(s, sums, scores, lane.length + start, rows, tile);
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(128) attention_sums_f32(SumArgs a) { attention_sums<KV_F32>(a); }
extern "C" __global__ void __launch_bounds__(128) attention_sums_f16(SumArgs a) { attention_sums<KV_F16>(a); }
extern "C" __global__ void __launch_bounds__(128) attention_sums_bf16(SumArgs a) { attention_sums<KV_BF16>(a); }

// The observed rows' share of the range, averaged over the query heads, added row after row. grid = (kvHeads, sequences), block = 128
extern "C" __global__ void __launch_bounds__(128) attention_range(SumArgs s) {
  __shared__ float share[THREADS];
  const AttentionArgs& a = s.attention;
  const int head = blockIdx.x, sequence = blockIdx.y;
  const Rows all = kv_rows(a.cache, sequence);
  if (all.count == 0 || (kv_wanted(a, sequence) & WANT_RANGE) == 0) return;
  const Lane lane = kv_lane(a.cache, sequence, head);
  const i64 row = (i64)a.sequenceRow[sequence] + a.layerRow + head;
  if (row >= s.rangeRows) {
    if (threadIdx.x == 0) kv_report(a.cache, KV_FAULT_SUMS, sequence, head, (int)row);
    return;
  }
  float total = s.range[row * s.rangeStride];
  for (int start = kv_first_row(a, lane, sequence); start < all.count; start += THREADS) {
    const int mine = start + (int)threadIdx.x;
    float mean = 0.f;
    if (mine < all.count) {
      const float* statistic = a.statistics + ((u64)(all.start + mine) * a.cache.kvHeads + head) * a.group * STATISTICS;
      for (int g = 0; g < a.group; g++, statistic += STATISTICS) mean += statistic[1] == 0.f ? 0.f : kv_divide(statistic[2], statistic[1]);
      mean = kv_divide(mean, (float)a.group);
    }
    share[threadIdx.x] = mean;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int i = 0; i < kv_least(THREADS, all.count - start); i++) total += share[i];
    }
    __syncthreads();
  }
  __syncthreads();
  if (threadIdx.x == 0) s.range[row * s.rangeStride] = total;
}
