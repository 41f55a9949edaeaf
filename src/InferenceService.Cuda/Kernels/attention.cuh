// What every attention kernel is given.
#pragma once
#include "cache.cuh"

#define MASKED -1e30f                                              // no score yet: -inf minus -inf would not be a number

struct AttentionArgs {
  Cache cache; const float* q; const float* sinkQueries; float* output; float* statistics;
  const int* sequenceRow; const int* observed;
  i64 qStride, sinkStride, outputStride;
  float scale; int group, rowsPerTile, layerRow, wanted, padding;
};

// The keys of a row divided between CTAs, which leave parts of STATISTICS + headDim floats a query head and split: maximum, sum, share of the
// range, output before division.
struct SplitArgs { AttentionArgs attention; float* parts; int splits, padding; };

enum { STATISTICS = 3, SPLIT_SLOTS = 256 };
enum { WANT_COLUMNS = 1, WANT_BAND = 2, WANT_RANGE = 4, WANT_HEADS = 8, OBSERVED_FIELDS = 5 };

__device__ __forceinline__ int kv_wanted(const AttentionArgs& a, int sequence) {
  return a.wanted == 0 || a.sequenceRow[sequence] < 0 ? 0 : a.wanted & a.observed[sequence * OBSERVED_FIELDS];
}
__device__ __forceinline__ int kv_first_row(const AttentionArgs& a, const Lane& lane, int sequence) {
  return kv_most(0, a.observed[sequence * OBSERVED_FIELDS + 1] - lane.length);
}

// Where the slots of a tile lie: 0 = nothing to read, else the K row; an odd address is a packed child's lane + 1.
template<int KEYS> __device__ __forceinline__ void kv_find(const Cache& c, const Lane& lane, int sequence, int head, int first, int last, int tile, u64* at) {
  const int slot = tile + threadIdx.x;
  if (threadIdx.x >= KEYS) return;
  u64 address = 0;
  int entry;
  if (kv_sees(c, lane, first, last, slot) && kv_entry(c, lane, sequence, head, slot, &entry))
    address = entry < 0 ? (u64)kv_child(c, lane, entry) + 1
      : (u64)(c.pool + (i64)entry * c.blockBytes + lane.offset) + (u64)(slot % c.blockSize) * c.headDim * (c.type == KV_F32 ? 4 : 2);
  at[threadIdx.x] = address;
}

template<int T> __device__ __forceinline__ float kv_key(const Cache& c, u64 at, int slot, int d) {
  return at == 0 ? 0.f : at & 1 ? kv_packed_key(c, (const u8*)(at - 1), slot % c.blockSize, d) : kv_load<T>((const void*)at, d);
}
template<int T> __device__ __forceinline__ float kv_value(const Cache& c, u64 at, int slot, int d) {
  return at == 0 ? 0.f : at & 1 ? kv_packed_value(c, (const u8*)(at - 1), slot % c.blockSize, d) : kv_load<T>((const void*)(at + c.halfLaneBytes), d);
}
