// The verbs that change the pool.
#include "cache.cuh"

struct WriteArgs { Cache cache; const float* k; const float* v; i64 kStride, vStride; };

// One row of one KV head, by all threads of a CTA of 64.
__device__ __forceinline__ void kv_write_row(const WriteArgs& a, int row, int head) {
  const Cache& c = a.cache;
  int sequence;
  Rows rows;
  if (!kv_owner(c, row, &sequence, &rows)) return;
  const Lane lane = kv_lane(c, sequence, head);
  const int slot = lane.length + row - rows.start;
  int entry;
  if (!kv_entry(c, lane, sequence, head, slot, &entry)) return;
  if (entry < 0) {
    kv_report(c, KV_FAULT_PACKED, sequence, head, slot);
    return;
  }
  u8* base = c.pool + (i64)entry * c.blockBytes + lane.offset;
  const u64 first = (u64)(slot % c.blockSize) * c.headDim;
  for (int d = threadIdx.x; d < c.headDim; d += 64) {
    kv_store_as(c.type, base, first + d, a.k[(u64)row * a.kStride + (u64)head * c.headDim + d]);
    kv_store_as(c.type, base + c.halfLaneBytes, first + d, a.v[(u64)row * a.vStride + (u64)head * c.headDim + d]);
  }
}

// grid = (rows, kvHeads), block = 64
extern "C" __global__ void __launch_bounds__(64) write_kv(WriteArgs a) { kv_write_row(a, blockIdx.x, blockIdx.y); }

struct RotateArgs { WriteArgs write; float* q; float* k; const float* cosSin; i64 qStride, cosSinStride; int heads, half; };

// Queries and keys rotated in place, K and V to their slots. grid = (rows, heads + kvHeads), block = 64
extern "C" __global__ void __launch_bounds__(64) rope_write_kv(RotateArgs a) {
  const int row = blockIdx.x, head = (int)blockIdx.y - a.heads, D = a.write.cache.headDim;
  float* x = head < 0 ? a.q + (u64)row * a.qStride + (u64)blockIdx.y * D : a.k + (u64)row * a.write.kStride + (u64)head * D;
  for (int i = threadIdx.x; i < a.half; i += 64) kv_rotate(x + i, a.cosSin + (u64)row * a.cosSinStride + i, a.half);
  if (head < 0) return;
  __syncthreads();                                                  // a thread writes what others have rotated
  kv_write_row(a.write, row, head);
}

struct MoveArgs { u8* pool; const uint2* moves; i64 blockBytes; int count, blockSize, halfLaneBytes, rowUnits; };

// Slots in order. grid = 2·lanes, block = 128; a thread moves the same two bytes of every row, so that the order holds without a barrier
extern "C" __global__ void __launch_bounds__(128) move_slots(MoveArgs a) {
  for (int unit = threadIdx.x; unit < a.rowUnits; unit += 128) {
    for (int i = 0; i < a.count; i++) {
      const uint2 move = a.moves[i];
      const u16* from = (const u16*)(a.pool + (i64)(move.x / a.blockSize) * a.blockBytes + (i64)blockIdx.x * a.halfLaneBytes);
      u16* to = (u16*)(a.pool + (i64)(move.y / a.blockSize) * a.blockBytes + (i64)blockIdx.x * a.halfLaneBytes);
      to[(u64)(move.y % a.blockSize) * a.rowUnits + unit] = from[(u64)(move.x % a.blockSize) * a.rowUnits + unit];
    }
  }
}

struct PackArgs { u8* pool; const uint2* packs; i64 blockBytes; int blockSize, headDim, type, halfLaneBytes, bits, childrenPerBlock, childBytes, childLaneBytes; };

// One group of 32: x(i) = element first + i·step; elements past `count` repeat the first, which changes neither minimum nor maximum.
__device__ __forceinline__ void kv_quantise(int type, const u8* source, u64 first, int step, int count, int bits, u8* codes, u8* parameters) {
  float least = kv_load_as(type, source, first), most = least;
  for (int i = 1; i < count; i++) {
    const float x = kv_load_as(type, source, first + (u64)i * step);
    least = kv_min(least, x);
    most = kv_max(most, x);
  }
  least = kv_min(kv_max(least, -65504.f), 65504.f);                 // what binary16 cannot hold is cut off
  most = kv_min(kv_max(most, -65504.f), 65504.f);
  const int levels = (1 << bits) - 1;
  u16* pair = (u16*)parameters;
  pair[0] = kv_to_half(kv_max(kv_divide(most - least, (float)levels), 5.9604645e-8f));
  pair[1] = kv_to_half(least);
  const float scale = kv_half_float(pair[0]), from = kv_half_float(pair[1]), top = most > least ? (float)levels : 0.f;
  for (int i = 0; i < KV_PACKED_GROUP; i += bits == 8 ? 1 : 2) {
    int code[2];
    for (int half = 0; half < (bits == 8 ? 1 : 2); half++) {
      const int at = bits == 8 ? i : i / 2 + 16 * half;
      const float x = kv_load_as(type, source, first + (u64)(at < count ? at : 0) * step);
      code[half] = (int)kv_min(kv_max(kv_round(kv_divide(x - from, scale)), 0.f), top);
    }
    if (bits == 8) codes[i] = (u8)code[0];
    else codes[i / 2] = (u8)(code[0] | code[1] << 4);
  }
}

// grid = (packs, lanes), block = 128; a thread quantises whole groups
extern "C" __global__ void __launch_bounds__(128) pack_blocks(PackArgs a) {
  const uint2 pack = a.packs[blockIdx.x];
  const int lane = blockIdx.y, codeBytes = kv_code_bytes(a.bits), groups = kv_channel_groups(a.headDim);
  const u8* keys = a.pool + (i64)pack.x * a.blockBytes + (i64)lane * 2 * a.halfLaneBytes;
  const u8* values = keys + a.halfLaneBytes;
  u8* child = a.pool + (i64)(pack.y / a.childrenPerBlock) * a.blockBytes + (i64)(pack.y % a.childrenPerBlock) * a.childBytes + (i64)lane * a.childLaneBytes;
  const int slotGroups = a.blockSize / KV_PACKED_GROUP;
  for (int i = threadIdx.x; i < slotGroups * a.headDim; i += 128) {
    u8* group = child + (i64)(i / a.headDim) * kv_child_key_bytes(a.headDim, a.bits);
    const int d = i % a.headDim;
    kv_quantise(a.type, keys, (u64)(i / a.headDim) * KV_PACKED_GROUP * a.headDim + d, a.headDim, KV_PACKED_GROUP, a.bits,
                group + d * codeBytes, group + a.headDim * codeBytes + d * KV_PARAMETER_BYTES);
  }
  u8* target = child + (i64)slotGroups * kv_child_key_bytes(a.headDim, a.bits);
  for (int i = threadIdx.x; i < a.blockSize * groups; i += 128) {
    const int d = i % groups * KV_PACKED_GROUP;
    kv_quantise(a.type, values, (u64)(i / groups) * a.headDim + d, 1, kv_least(KV_PACKED_GROUP, a.headDim - d), a.bits,
                target + i * codeBytes, target + (i64)a.blockSize * groups * codeBytes + (i64)i * KV_PARAMETER_BYTES);
  }
}
