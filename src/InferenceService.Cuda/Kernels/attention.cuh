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

struct SumArgs {
  AttentionArgs attention; float* columns; float* band; float* range;
  i64 columnStride, bandStride, rangeStride, headRows;
  int columnRows, columnSlots, bandRows, bandSlots, rangeRows, padding;
};
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

// Maximum (in base 2), sum and share of the range of a row and query head.
__device__ __forceinline__ const float* kv_statistic(const AttentionArgs& a, int row, int head, int query) {
  return a.statistics + (((u64)row * a.cache.kvHeads + head) * a.group + query) * STATISTICS;
}

// Where the sums of a tile of slots go: those of the KV head, from the tile's first slot on; none of both where there is nothing to add.
struct Sums { float* columns; float* bands; int begin, slots, band; bool heads; };

__device__ __forceinline__ Sums kv_sums(const SumArgs& s, const Lane& lane, const Rows& all, int sequence, int head, int tile, int keys) {
  const AttentionArgs& a = s.attention;
  const int wanted = kv_wanted(a, sequence);
  Sums sums = {(float*)0, (float*)0, 0, 0, 0, (wanted & WANT_HEADS) != 0};
  if ((wanted & (WANT_COLUMNS | WANT_BAND)) == 0) return sums;
  sums.begin = kv_first_row(a, lane, sequence);
  const int last = lane.length + all.count - 1, slots = kv_least(keys, last + 1 - tile);
  if (sums.begin >= all.count || slots <= 0 || kv_sees_none(a.cache, lane, lane.length + sums.begin, last, tile, tile + keys)) return sums;
  const i64 row = (i64)a.sequenceRow[sequence] + a.layerRow + head, lastRow = row + (sums.heads ? a.group * s.headRows : 0);
  if (((wanted & WANT_COLUMNS) && (lastRow >= s.columnRows || tile + slots > s.columnSlots))
      || ((wanted & WANT_BAND) && (lastRow >= s.bandRows || tile + slots > s.bandSlots))) {
    if (threadIdx.x == 0) kv_report(a.cache, KV_FAULT_SUMS, sequence, head, (int)row);
    return sums;
  }
  sums.slots = slots;
  sums.band = a.observed[sequence * OBSERVED_FIELDS + 2];
  if (wanted & WANT_COLUMNS) sums.columns = s.columns + row * s.columnStride + tile;
  if (wanted & WANT_BAND) sums.bands = s.band + row * s.bandStride + tile;
  return sums;
}

// Adds row after row, each as one number (the mean over the query heads): no atomics, and the same bits however a prompt was chunked.
// weights[line][KEYS + 1]; the first row's own slot is `own`.
template<int KEYS, int THREADS>
__device__ __forceinline__ void kv_add_rows(const SumArgs& s, const Sums& sums, const float* weights, int own, int rows, int tile) {
  const int group = s.attention.group;
  for (int j = threadIdx.x; j < sums.slots; j += THREADS) {
    for (int r = 0; r < rows; r++) {
      const bool inBand = sums.bands && own + r - (tile + j) < sums.band;
      float mean = 0.f;
      for (int g = 0; g < group; g++) {
        const float weight = weights[(r * group + g) * (KEYS + 1) + j];
        mean += weight;
        if (sums.heads) {
          if (sums.columns) sums.columns[(1 + g) * s.headRows * s.columnStride + j] += weight;
          if (inBand) sums.bands[(1 + g) * s.headRows * s.bandStride + j] += weight;
        }
      }
      mean = kv_divide(mean, (float)group);
      if (sums.columns) sums.columns[j] += mean;
      if (inBand) sums.bands[j] += mean;
    }
  }
}
