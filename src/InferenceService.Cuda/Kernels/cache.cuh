// The cache of one layer as kernels see it: InferenceService.Compute.PagedKv. A table entry that names no block of the pool is reported in
// `fault` and taken for a dead slot, never followed.
#pragma once
#include "prelude.cuh"

enum { KV_FAULT_ID = 1, KV_FAULT_TABLE = 2, KV_FAULT_PACKED = 3, KV_FAULT_ROWS = 4, KV_FAULT_SUMS = 5 };
enum { KV_GROUP_FIELDS = 7, KV_PACKED_GROUP = 32, KV_PARAMETER_BYTES = 4 };

struct Cache {
  u8* pool; const int* groups; const int* tables; const int* rowStarts; const int* laneGroup; const int* laneOffset; u32* fault;
  i64 blockBytes;
  int sequences, groupsPerSequence, tableEntries, kvHeads, blocks, blockSize, headDim, type, halfLaneBytes;
  int packedBits, childrenPerBlock, childBytes, childLaneBytes, window, excludeSelf, rows;
};

struct Lane { const int* table; int length, gapStart, gapEnd, sinks, window, firstAbsent, absent, offset, entries; };

struct Rows { int start, count; };

__device__ __forceinline__ void kv_report(const Cache& c, u32 code, int sequence, int head, int slot) {
  c.fault[1] = (u32)sequence;
  c.fault[2] = (u32)head;
  c.fault[3] = (u32)slot;
  c.fault[0] = code;
}

// The rows of a sequence; none when they leave the step.
__device__ __forceinline__ Rows kv_rows(const Cache& c, int sequence) {
  const int start = c.rowStarts[sequence], count = c.rowStarts[sequence + 1] - start;
  if (start < 0 || count < 0 || start + count > c.rows) {
    kv_report(c, KV_FAULT_ROWS, sequence, start, count);
    return Rows{0, 0};
  }
  return Rows{start, count};
}

// The sequence that owns a row of the step, and its rows; false where none does.
__device__ __forceinline__ bool kv_owner(const Cache& c, int row, int* sequence, Rows* rows) {
  int low = 0, high = c.sequences;                                  // the last sequence that starts at or before the row
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (c.rowStarts[middle] <= row) low = middle; else high = middle;
  }
  if (c.sequences == 0) return false;
  *sequence = low;
  *rows = kv_rows(c, low);
  return row >= rows->start && row < rows->start + rows->count;
}

__device__ __forceinline__ Lane kv_lane(const Cache& c, int sequence, int head) {
  const int group = c.laneGroup[head];
  Lane lane = {c.tables, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  if (group < 0 || group >= c.groupsPerSequence || c.laneOffset[head] < 0 || c.laneOffset[head] > c.blockBytes - 2 * c.halfLaneBytes) {
    kv_report(c, KV_FAULT_TABLE, sequence, head, group);
    return lane;
  }
  const int* fields = c.groups + ((i64)sequence * c.groupsPerSequence + group) * KV_GROUP_FIELDS;
  lane.offset = c.laneOffset[head];
  lane.length = fields[1];
  if (fields[0] < 0 || fields[0] > c.tableEntries || fields[1] < 0 || fields[3] < 0 || fields[4] < 0 || fields[5] < 0 || fields[6] < 0) {
    kv_report(c, KV_FAULT_TABLE, sequence, head, fields[0]);
    return lane;
  }
  lane.table = c.tables + fields[0];
  lane.entries = c.tableEntries - fields[0];
  lane.gapStart = fields[2];
  lane.gapEnd = fields[2] + fields[3];
  lane.sinks = fields[5] > 0 ? fields[4] : 0;
  lane.window = fields[5];
  lane.firstAbsent = (fields[2] + c.blockSize - 1) / c.blockSize;
  lane.absent = fields[6];
  return lane;
}

// The table entry of a live slot's block; false where there is none.
__device__ __forceinline__ bool kv_entry(const Cache& c, const Lane& lane, int sequence, int head, int slot, int* entry) {
  const int block = slot / c.blockSize, place = block < lane.firstAbsent ? block : block - lane.absent;
  bool good = place >= 0 && place < lane.entries;
  if (good) {
    *entry = lane.table[place];
    good = *entry >= 0 ? *entry < c.blocks : c.packedBits > 0 && ~*entry < (i64)c.blocks * c.childrenPerBlock;
  }
  if (!good) kv_report(c, KV_FAULT_TABLE, sequence, head, slot);
  return good;
}

// The lane inside packed child ~entry.
__device__ __forceinline__ u8* kv_child(const Cache& c, const Lane& lane, int entry) {
  const int child = ~entry;
  return c.pool + (i64)(child / c.childrenPerBlock) * c.blockBytes + (i64)(child % c.childrenPerBlock) * c.childBytes
    + (i64)(lane.offset / (2 * c.halfLaneBytes)) * c.childLaneBytes;
}

__device__ __forceinline__ int kv_code_bytes(int bits) { return KV_PACKED_GROUP * bits / 8; }
__device__ __forceinline__ int kv_channel_groups(int headDim) { return (headDim + KV_PACKED_GROUP - 1) / KV_PACKED_GROUP; }
__device__ __forceinline__ int kv_child_key_bytes(int headDim, int bits) { return headDim * (kv_code_bytes(bits) + KV_PARAMETER_BYTES); }

__device__ __forceinline__ float kv_unpack(const u8* codes, int index, const u8* parameters, int bits) {
  const int code = bits == 8 ? codes[index] : (codes[index % 16] >> (index / 16 * 4)) & 15;
  const u16* pair = (const u16*)parameters;
  return kv_fma((float)code, kv_half_float(pair[0]), kv_half_float(pair[1]));
}
__device__ __forceinline__ float kv_packed_key(const Cache& c, const u8* child, int slot, int channel) {
  const int codeBytes = kv_code_bytes(c.packedBits);
  const u8* group = child + (i64)(slot / KV_PACKED_GROUP) * kv_child_key_bytes(c.headDim, c.packedBits);
  return kv_unpack(group + channel * codeBytes, slot % KV_PACKED_GROUP, group + c.headDim * codeBytes + channel * KV_PARAMETER_BYTES, c.packedBits);
}
__device__ __forceinline__ float kv_packed_value(const Cache& c, const u8* child, int slot, int channel) {
  const int codeBytes = kv_code_bytes(c.packedBits), groups = kv_channel_groups(c.headDim), number = slot * groups + channel / KV_PACKED_GROUP;
  const u8* values = child + (i64)(c.blockSize / KV_PACKED_GROUP) * kv_child_key_bytes(c.headDim, c.packedBits);
  return kv_unpack(values + number * codeBytes, channel % KV_PACKED_GROUP,
                   values + (i64)c.blockSize * groups * codeBytes + (i64)number * KV_PARAMETER_BYTES, c.packedBits);
}

// The row at slot `own` sees `slot`; with two different rows: some row from the first to the last of them may.
__device__ __forceinline__ bool kv_sees(const Cache& c, const Lane& lane, int first, int last, int slot) {
  return slot <= last - c.excludeSelf && !(slot >= lane.gapStart && slot < lane.gapEnd) && (c.window == 0 || slot > first - c.window)
    && (lane.window == 0 || slot < lane.sinks || slot > first - lane.window);
}

// None of the rows sees any of the slots [from, to).
__device__ __forceinline__ bool kv_sees_none(const Cache& c, const Lane& lane, int first, int last, int from, int to) {
  return from > last - c.excludeSelf || (from >= lane.gapStart && to <= lane.gapEnd) || (c.window > 0 && to - 1 <= first - c.window)
    || (lane.window > 0 && from >= lane.sinks && to - 1 <= first - lane.window);
}

// All of the rows see all of the slots [from, to).
__device__ __forceinline__ bool kv_sees_all(const Cache& c, const Lane& lane, int first, int last, int from, int to) {
  return to - 1 <= first - c.excludeSelf && (to <= lane.gapStart || from >= lane.gapEnd) && (c.window == 0 || from > last - c.window)
    && (lane.window == 0 || to <= lane.sinks || from > last - lane.window);
}
