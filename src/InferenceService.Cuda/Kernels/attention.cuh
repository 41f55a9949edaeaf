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
// range, output before division. A kernel serves the sequences with `least` to `most` rows. `plan` (of the kernels of few rows): each lane is
// divided by its length (splits.cu), and a sequence has up to rowsEach rows; without it all are divided alike. `tiles`: which tiles of rows there
// are, so that a grid need not reckon with as many for every sequence as the longest has.
struct SplitArgs { AttentionArgs attention; float* parts; const int* plan; const int* tiles; int splits, least, most, rowsEach; };

enum { STATISTICS = 3, SPLIT_SLOTS = 256 };

// A plan: how many items there are; from PLAN_LANES on the splits of every lane (sequence · kvHeads + head) and its first item; then of every item
// lane · 256 + split. Tiles: how many there are; from PLAN_LANES on of each its sequence and number.
enum { PLAN_LANES = 4 };
struct Share { int sequence, head, split, splits, firstItem; };

__device__ __forceinline__ void kv_lane_plan(const SplitArgs& s, Share* share) {
  const int* lane = s.plan + PLAN_LANES + 2 * (share->sequence * s.attention.cache.kvHeads + share->head);
  share->splits = lane[0];
  share->firstItem = lane[1];
}

// What a planned CTA, by its x, has to do; false where nothing is left.
__device__ __forceinline__ bool kv_item(const SplitArgs& s, Share* share) {
  const int lanes = s.attention.cache.sequences * s.attention.cache.kvHeads;
  if ((int)blockIdx.x >= s.plan[0]) return false;
  const int item = s.plan[PLAN_LANES + 2 * lanes + blockIdx.x], lane = item >> 8;
  share->sequence = lane / s.attention.cache.kvHeads;
  share->head = lane % s.attention.cache.kvHeads;
  share->split = item & 255;
  kv_lane_plan(s, share);
  return true;
}

// The rows of a sequence that this kernel serves; none where another does. More rows than the step was said to have at most are reported.
__device__ __forceinline__ Rows kv_served(const SplitArgs& s, int sequence) {
  const Rows rows = kv_rows(s.attention.cache, sequence);
  if (rows.count < s.least || rows.count > s.most) return Rows{0, 0};
  if (s.rowsEach > 0 && rows.count > s.rowsEach) {
    kv_report(s.attention.cache, KV_FAULT_ROWS, sequence, rows.start, rows.count);
    return Rows{0, 0};
  }
  return rows;
}

// Where a split leaves its part of a query head of a row.
__device__ __forceinline__ float* kv_part(const SplitArgs& s, const Share& share, int row, int rowOfSequence, int query, int split) {
  const AttentionArgs& a = s.attention;
  const u64 line = s.plan ? ((u64)(share.firstItem + split) * s.rowsEach + rowOfSequence) * a.group + query
    : (((u64)row * a.cache.kvHeads + share.head) * a.group + query) * share.splits + split;
  return s.parts + line * (STATISTICS + a.cache.headDim);
}

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
