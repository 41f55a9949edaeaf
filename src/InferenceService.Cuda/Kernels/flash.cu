// Attention on tensor cores, for 16-bit and packed caches: lines (a row of one query head each) against tiles of 64 slots, softmax on the
// way (arXiv:2205.14135, arXiv:2307.08691). Tiles have the cache's type T, bfloat16 or binary16, so what is f32 goes in as two of those, of 8 or 11
// bits: queries, the weights of the softmax, and in the wide kernel what a packed cache holds. Sums of a tile are added up outside the tensor cores, which cut off instead of rounding.
// A row's bits depend on nothing but what it sees, on how its keys are split, and on which of the two forms serves it: in the one a warp owns 16 of
// 64 lines and meets all keys of a tile; in the other, for few lines, all warps own the same 16 and a warp meets 16 keys of a tile.
// Compiled once for every head size, a multiple of 16.
#include "attention.cuh"
#include "operand.cuh"
#ifndef KV_HEAD_DIM
  #define KV_HEAD_DIM 128
#endif

enum { KEYS = 64, THREADS = 128, WARPS = THREADS / 32, WARP_LINES = 16 };

// PITCH: from row to row of a tile, in 16-byte units. KEPT: steps of 16 channels of the queries that stay in registers: those of longer heads would
// push out the output, and are read again for every tile, from a cache near by.
template<int D> struct Head { enum { PITCH = D % 64 == 0 ? D / 8 : D / 8 | 1, KEPT = D <= 128 ? D / 16 : 0, ROOM = KEPT > 0 ? KEPT : 1 }; };

// Where a row's 8 channels lie in a tile, in 16-byte units: what is read together lies in different banks, by an odd pitch or by exchanging places.
template<int D> __device__ __forceinline__ int kv_place(int row, int chunk) { return row * Head<D>::PITCH + (D % 64 == 0 ? chunk ^ (row & 7) : chunk); }

// The K or V rows of a tile into shared memory. Narrow: copies that go on while the caller computes. Wide: widened here, in two parts.
template<int D, bool WIDE> __device__ __forceinline__ void kv_fetch(const Cache& c, const u64* at, int tile, bool value, uint4* high, uint4* low) {
  for (int i = threadIdx.x; i < KEYS * D / 8; i += THREADS) {
    const int j = WIDE ? i % KEYS : i / (D / 8), chunk = WIDE ? i / KEYS : i % (D / 8), place = kv_place<D>(j, chunk);
    const u64 row = at[j];
    if (row == 0) {                                                 // what nobody sees may hold anything, and 0 · NaN is no zero
      high[place] = uint4{0, 0, 0, 0};
      if (WIDE) low[place] = uint4{0, 0, 0, 0};
    } else if (!WIDE) kv_copy16(high + place, (const u8*)row + (value ? c.halfLaneBytes : 0) + chunk * 16);
    else {
      float x[8];
      KV_UNROLL for (int e = 0; e < 8; e++) {
        const int d = chunk * 8 + e;
        x[e] = c.type == KV_F16 ? (value ? kv_value<KV_F16>(c, row, tile + j, d) : kv_key<KV_F16>(c, row, tile + j, d))
          : value ? kv_value<KV_BF16>(c, row, tile + j, d) : kv_key<KV_BF16>(c, row, tile + j, d);
      }
      uint4 h, l;
      kv_split(x[0], x[1], &h.x, &l.x);
      kv_split(x[2], x[3], &h.y, &l.y);
      kv_split(x[4], x[5], &h.z, &l.z);
      kv_split(x[6], x[7], &h.w, &l.w);
      high[place] = h;
      low[place] = l;
    }
  }
}

// binary16 has few powers of two below 1: weights of the softmax go in times 2^12.
template<int T> struct Element { static constexpr float FACTOR = T == KV_F16 ? 4096.f : 1.f, BACK = T == KV_F16 ? 1.f / 4096.f : 1.f; };
template<int T> __device__ __forceinline__ u32 kv_pack(float x, float y) { return kv_narrow<T>(x, y); }
template<int T> __device__ __forceinline__ void kv_parts(float x, float y, u32* high, u32* low) {
  if (T == KV_BF16) kv_split(x, y, high, low);
  else {
    *high = kv_narrow<T>(x, y);
    *low = kv_narrow<T>(x - kv_half_float((u16)*high), y - kv_half_float((u16)(*high >> 16)));
  }
}
template<int T> __device__ __forceinline__ void kv_mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  if (T == KV_F16) kv_mma_half(d, a, b0, b1);
  else kv_mma_bf16(d, a, b0, b1);
}

// 16 channels of a warp's two query lines; null is a line that is not there.
template<int T, int TERMS> __device__ __forceinline__ void kv_query(const float* const (&line)[2], int channel, u32 (&q)[TERMS][4]) {
  KV_UNROLL for (int i = 0; i < 4; i++) {
    const float* from = line[i & 1];
    const int d = channel + (i >> 1) * 8;
    const float x = from ? from[d] : 0.f, y = from ? from[d + 1] : 0.f;
    if (TERMS == 1) q[0][i] = kv_pack<T>(x, y);
    else kv_parts<T>(x, y, &q[0][i], &q[TERMS - 1][i]);
  }
}

// score += 16 channels of q · k for EACH keys
template<int D, int T, bool WIDE, int TERMS, int EACH>
__device__ __forceinline__ void kv_scores(float (&score)[EACH / 8][4], const u32 (&q)[TERMS][4], const uint4* high, const uint4* low, int firstKey, int step) {
  const int lane = threadIdx.x & 31, row = firstKey + (lane >> 4) * 8 + (lane & 7), chunk = 2 * step + (lane >> 3 & 1);
  KV_UNROLL for (int n = 0; n < EACH / 16; n++) {
    u32 k[4];
    if (WIDE) {
      kv_matrices(k, low + kv_place<D>(n * 16 + row, chunk));
      kv_mma<T>(score[2 * n], q[0], k[0], k[1]);
      kv_mma<T>(score[2 * n + 1], q[0], k[2], k[3]);
    }
    kv_matrices(k, high + kv_place<D>(n * 16 + row, chunk));
    KV_UNROLL for (int term = TERMS - 1; term >= 0; term--) {
      kv_mma<T>(score[2 * n], q[term], k[0], k[1]);
      kv_mma<T>(score[2 * n + 1], q[term], k[2], k[3]);
    }
  }
}

// The queries of a lane's two lines, from its first channel on, and those for the sinks.
struct Lines { const float* q[2]; const float* sink[2]; };
__device__ __forceinline__ Lines kv_lines(const AttentionArgs& a, int firstRow, int lines, int head, int firstLine) {
  Lines result;
  KV_UNROLL for (int r = 0; r < 2; r++) {
    const int mine = firstLine + 8 * r;
    const u64 row = (u64)(firstRow + mine / a.group), column = (u64)(head * a.group + mine % a.group) * a.cache.headDim + (threadIdx.x & 3) * 2;
    result.q[r] = mine < lines ? a.q + row * a.qStride + column : (const float*)0;
    result.sink[r] = mine < lines && a.sinkQueries ? a.sinkQueries + row * a.sinkStride + column : (const float*)0;
  }
  return result;
}

// q · k of a warp's lines and EACH keys of a tile.
template<int D, int T, bool WIDE, int TERMS, int EACH>
__device__ __forceinline__ void kv_tile_scores(float (&score)[EACH / 8][4], const AttentionArgs& a, const Lane& cacheLane, const Lines& line,
                                               const u32 (&q)[Head<D>::ROOM][TERMS][4], const uint4* high, const uint4* low, int tile, int firstKey) {
  KV_UNROLL for (int n = 0; n < EACH / 8; n++) {
    KV_UNROLL for (int i = 0; i < 4; i++) score[n][i] = 0.f;
  }
  if constexpr (Head<D>::KEPT > 0) {
    KV_UNROLL for (int step = 0; step < D / 16; step++) kv_scores<D, T, WIDE, TERMS, EACH>(score, q[step], high, low, firstKey, step);
  } else {
    for (int step = 0; step < D / 16; step++) {
      u32 mine[TERMS][4];
      kv_query<T, TERMS>(line.q, step * 16, mine);
      kv_scores<D, T, WIDE, TERMS, EACH>(score, mine, high, low, firstKey, step);
    }
  }
  if (!a.sinkQueries || tile >= cacheLane.sinks) return;
  float other[EACH / 8][4];                                         // the sinks have queries of their own
  KV_UNROLL for (int n = 0; n < EACH / 8; n++) {
    KV_UNROLL for (int i = 0; i < 4; i++) other[n][i] = 0.f;
  }
  for (int step = 0; step < D / 16; step++) {
    u32 sink[TERMS][4];
    kv_query<T, TERMS>(line.sink, step * 16, sink);
    kv_scores<D, T, WIDE, TERMS, EACH>(other, sink, high, low, firstKey, step);
  }
  const int firstSlot = tile + firstKey + (threadIdx.x & 3) * 2;
  KV_UNROLL for (int n = 0; n < EACH / 8; n++) {
    KV_UNROLL for (int i = 0; i < 4; i++) score[n][i] = firstSlot + n * 8 + (i & 1) < cacheLane.sinks ? other[n][i] : score[n][i];
  }
}

// output = output · factor + weights · values of EACH keys
template<int D, int T, bool WIDE, int TERMS, int EACH>
__device__ __forceinline__ void kv_add_values(
    float (&output)[D / 8][4], const float (&factor)[2], const u32 (&weights)[TERMS][EACH / 16][4], const uint4* high, const uint4* low, int firstKey) {
  const int lane = threadIdx.x & 31;
  KV_UNROLL for (int n = 0; n < D / 16; n++) {
    float part[2][4] = {{0.f, 0.f, 0.f, 0.f}, {0.f, 0.f, 0.f, 0.f}};
    KV_UNROLL for (int step = 0; step < EACH / 16; step++) {
      const int place = kv_place<D>(firstKey + step * 16 + (lane & 15), 2 * n + (lane >> 4));
      u32 v[4];
      if (WIDE) {
        kv_matrices_turned(v, low + place);
        kv_mma<T>(part[0], weights[0][step], v[0], v[1]);
        kv_mma<T>(part[1], weights[0][step], v[2], v[3]);
      }
      kv_matrices_turned(v, high + place);
      KV_UNROLL for (int term = TERMS - 1; term >= 0; term--) {
        kv_mma<T>(part[0], weights[term][step], v[0], v[1]);
        kv_mma<T>(part[1], weights[term][step], v[2], v[3]);
      }
    }
    KV_UNROLL for (int i = 0; i < 4; i++) {
      output[2 * n][i] = kv_fma(output[2 * n][i], factor[i >> 1], part[0][i] * Element<T>::BACK);
      output[2 * n + 1][i] = kv_fma(output[2 * n + 1][i], factor[i >> 1], part[1][i] * Element<T>::BACK);
    }
  }
}

// The next tile, from `tile` on, that this split owns and that some row sees; past the last where there is none.
__device__ __forceinline__ int kv_next_tile(const Cache& c, const Lane& lane, int first, int last, int split, int splits, int tile) {
  while (tile <= last && (tile / SPLIT_SLOTS % splits != split || kv_sees_none(c, lane, first, last, tile, tile + KEYS))) tile += KEYS;
  return tile;
}

// Where the output of a line goes, and its statistics: to the caller's, or to the parts of a split.
struct Target { float* output; float* statistics; };
__device__ __forceinline__ Target kv_target(const SplitArgs& s, const Share& share, const Rows& all, int row, int query) {
  const AttentionArgs& a = s.attention;
  if (share.splits > 1) {
    float* part = kv_part(s, share, row, row - all.start, query, share.split);
    return Target{part + STATISTICS, part};
  }
  const u64 column = (u64)share.head * a.group + query, line = (u64)row * a.cache.kvHeads * a.group + column;
  return Target{a.output + (u64)row * a.outputStride + column * a.cache.headDim, a.statistics ? a.statistics + line * STATISTICS : (float*)0};
}

// The warps' shares of the same lines, added in order.
template<int D> __device__ __forceinline__ void kv_merge_warps(
    const SplitArgs& s, const Share& share, const Rows& all, float* shared, int firstRow, int lines, const float (&output)[D / 8][4], const float (&most)[2], const float (&sum)[2], const float (&range)[2]) {
  constexpr int ROOM = STATISTICS + D;
  const int tid = threadIdx.x, warp = tid >> 5, lanePair = (tid & 3) * 2, group = s.attention.group;
  KV_UNROLL for (int r = 0; r < 2; r++) {
    float* part = shared + (warp * WARP_LINES + (tid & 31) / 4 + 8 * r) * ROOM;
    KV_UNROLL for (int n = 0; n < D / 8; n++) {
      part[STATISTICS + n * 8 + lanePair] = output[n][2 * r];
      part[STATISTICS + n * 8 + lanePair + 1] = output[n][2 * r + 1];
    }
    if (lanePair == 0) { part[0] = most[r]; part[1] = sum[r]; part[2] = range[r]; }
  }
  __syncthreads();
  for (int i = tid; i < lines * D; i += THREADS) {
    const int line = i / D, e = i % D;
    const float* part = shared + line * ROOM;
    float top = MASKED, total = 0.f, inRange = 0.f, value = 0.f;
    for (int w = 0; w < WARPS; w++) top = kv_max(top, part[w * WARP_LINES * ROOM]);
    for (int w = 0; w < WARPS; w++) {
      const float* mine = part + w * WARP_LINES * ROOM;
      const float factor = kv_exp2(mine[0] - top);
      total = kv_fma(factor, mine[1], total);
      inRange = kv_fma(factor, mine[2], inRange);
      value = kv_fma(factor, mine[STATISTICS + e], value);
    }
    const Target target = kv_target(s, share, all, firstRow + line / group, line % group);
    target.output[e] = share.splits > 1 ? value : total == 0.f ? 0.f : kv_divide(value, total);
    if (e == 0 && target.statistics) { target.statistics[0] = top; target.statistics[1] = total; target.statistics[2] = inRange; }
  }
}

// grid = (tiles of rows, kvHeads, sequences · splits), or (all tiles there may be, kvHeads, splits), or with a plan (items); block = 128, dynamic shared memory: a tile of keys and one of values, twice as much if
// WIDE; if FEW also enough for 64 lines of 3 + D floats. A lane has two of its warp's 16 lines: lane / 4 and 8 more on. The longest tiles of rows
// come first.
template<int D, int T, bool WIDE, int TERMS, bool FEW> __device__ __forceinline__ void flash(const SplitArgs& s) {
  KV_DYNAMIC_SHARED(uint4, shared);
  __shared__ u64 at[2][KEYS];
  __shared__ int holes[2];
  constexpr int TILE = KEYS * Head<D>::PITCH, EACH = FEW ? KEYS / WARPS : KEYS;  // keys of a tile that a warp meets
  const AttentionArgs& a = s.attention;
  const Cache& c = a.cache;
  const int tid = threadIdx.x, firstLine = (FEW ? 0 : (tid >> 5) * WARP_LINES) + (tid & 31) / 4, firstKey = FEW ? (tid >> 5) * EACH : 0;
  const int lanePair = (tid & 3) * 2;
  Share share = {(int)blockIdx.z / s.splits, (int)blockIdx.y, (int)blockIdx.z % s.splits, s.splits, 0};
  int number = blockIdx.x, stride = gridDim.x;
  if (s.plan) {
    if (!kv_item(s, &share)) return;
    number = 0;
    stride = 1;
  } else if (s.tiles) {
    if (number >= s.tiles[0]) return;
    share.sequence = s.tiles[PLAN_LANES + 2 * number];
    share.split = blockIdx.z;
    number = s.tiles[PLAN_LANES + 2 * number + 1];
    stride = 1 << 30;                                               // this one alone
  }
  const int head = share.head, sequence = share.sequence, split = share.split;
  const Rows all = kv_served(s, sequence);
  if (all.count == 0) return;
  const Lane lane = kv_lane(c, sequence, head);
  const bool ranged = (kv_wanted(a, sequence) & WANT_RANGE) != 0;
  const int sinkEnd = ranged ? a.observed[sequence * OBSERVED_FIELDS + 3] : 0, recent = ranged ? a.observed[sequence * OBSERVED_FIELDS + 4] : 0;
  uint4* keys = shared;
  uint4* values = keys + (WIDE ? 2 : 1) * TILE;

  const int rowTiles = (all.count + a.rowsPerTile - 1) / a.rowsPerTile;
  for (; number < rowTiles; number += stride) {
    const int start = (rowTiles - 1 - number) * a.rowsPerTile, rows = kv_least(a.rowsPerTile, all.count - start), lines = rows * a.group;
    const int first = lane.length + start, last = first + rows - 1;
    int own[2];
    KV_UNROLL for (int r = 0; r < 2; r++) own[r] = first + (firstLine + 8 * r) / a.group;
    const Lines line = kv_lines(a, all.start + start, lines, head, firstLine);
    u32 q[Head<D>::ROOM][TERMS][4];
    KV_UNROLL for (int step = 0; step < Head<D>::KEPT; step++) kv_query<T, TERMS>(line.q, step * 16, q[step]);
    float output[D / 8][4], most[2] = {MASKED, MASKED}, sum[2] = {0.f, 0.f}, range[2] = {0.f, 0.f};
    KV_UNROLL for (int n = 0; n < D / 8; n++) {
      KV_UNROLL for (int i = 0; i < 4; i++) output[n][i] = 0.f;
    }

    int tile = kv_next_tile(c, lane, first, last, split, share.splits, 0);
    if (tile <= last) {
      kv_find<KEYS>(c, lane, sequence, head, first, last, tile, at[0]);
      if (tid < KEYS && at[0][tid] == 0) holes[0] = tile;
      __syncthreads();
      kv_fetch<D, WIDE>(c, at[0], tile, false, keys, keys + TILE);
    }
    for (int b = 0, following; tile <= last; tile = following, b ^= 1) {
      kv_copy_wait();
      __syncthreads();                                              // the keys are there, and all are done with the values before
      kv_fetch<D, WIDE>(c, at[b], tile, true, values, values + TILE);
      following = kv_next_tile(c, lane, first, last, split, share.splits, tile + KEYS);
      if (following <= last) {
        kv_find<KEYS>(c, lane, sequence, head, first, last, following, at[b ^ 1]);
        if (tid < KEYS && at[b ^ 1][tid] == 0) holes[b ^ 1] = following;
      }
      float score[EACH / 8][4];
      kv_tile_scores<D, T, WIDE, TERMS, EACH>(score, a, lane, line, q, keys, keys + TILE, tile, firstKey);
      kv_copy_wait();
      __syncthreads();                                              // values and the next addresses are there, and all are done with the keys
      if (following <= last) kv_fetch<D, WIDE>(c, at[b ^ 1], following, false, keys, keys + TILE);

      const bool whole = holes[b] != tile && kv_sees_all(c, lane, first, last, tile, tile + KEYS);
      const float scale = a.scale * 1.44269504f;
      float top[2] = {most[0], most[1]}, factor[2], weight[2] = {0.f, 0.f}, inRange[2] = {0.f, 0.f};
      KV_UNROLL for (int n = 0; n < EACH / 8; n++) {
        KV_UNROLL for (int i = 0; i < 4; i++) {
          const int j = firstKey + n * 8 + lanePair + (i & 1);
          score[n][i] = whole || (at[b][j] && kv_sees(c, lane, own[i >> 1], own[i >> 1], tile + j)) ? score[n][i] * scale : MASKED;
          top[i >> 1] = kv_max(top[i >> 1], score[n][i]);
        }
      }
      KV_UNROLL for (int r = 0; r < 2; r++) {
        top[r] = kv_max(top[r], kv_shuffle_xor(top[r], 1));
        top[r] = kv_max(top[r], kv_shuffle_xor(top[r], 2));
        factor[r] = kv_exp2(most[r] - top[r]);
        most[r] = top[r];
      }
      KV_UNROLL for (int n = 0; n < EACH / 8; n++) {
        KV_UNROLL for (int i = 0; i < 4; i++) {
          score[n][i] = score[n][i] == MASKED ? 0.f : kv_exp2(score[n][i] - top[i >> 1]);
          weight[i >> 1] += score[n][i];
        }
      }
      if (ranged) {                                                 // the same additions in the same order: the share never exceeds 1
        KV_UNROLL for (int n = 0; n < EACH / 8; n++) {
          KV_UNROLL for (int i = 0; i < 4; i++) {
            const int slot = tile + firstKey + n * 8 + lanePair + (i & 1);
            inRange[i >> 1] += slot < sinkEnd || slot >= recent ? score[n][i] : 0.f;
          }
        }
      }
      KV_UNROLL for (int r = 0; r < 2; r++) {
        sum[r] = kv_fma(sum[r], factor[r], weight[r]);
        range[r] = kv_fma(range[r], factor[r], inRange[r]);
      }
      u32 weights[TERMS][EACH / 16][4];                             // what a lane holds of the scores is what it has to hold of the left operand
      KV_UNROLL for (int step = 0; step < EACH / 16; step++) {
        KV_UNROLL for (int i = 0; i < 4; i++) {
          const float x = score[2 * step + (i >> 1)][(i & 1) * 2] * Element<T>::FACTOR, y = score[2 * step + (i >> 1)][(i & 1) * 2 + 1] * Element<T>::FACTOR;
          if (TERMS == 1) weights[0][step][i] = kv_pack<T>(x, y);
          else kv_parts<T>(x, y, &weights[0][step][i], &weights[TERMS - 1][step][i]);
        }
      }
      kv_add_values<D, T, WIDE, TERMS, EACH>(output, factor, weights, values, values + TILE, firstKey);
    }

    KV_UNROLL for (int r = 0; r < 2; r++) {
      sum[r] += kv_shuffle_xor(sum[r], 1);
      sum[r] += kv_shuffle_xor(sum[r], 2);
      range[r] += kv_shuffle_xor(range[r], 1);
      range[r] += kv_shuffle_xor(range[r], 2);
    }
    if (FEW) {
      __syncthreads();                                              // all are done with the tiles, whose place the shares take
      kv_merge_warps<D>(s, share, all, (float*)shared, all.start + start, lines, output, most, sum, range);
    } else {
      KV_UNROLL for (int r = 0; r < 2; r++) {
        if (!line.q[r]) continue;
        const Target target = kv_target(s, share, all, all.start + own[r] - lane.length, (firstLine + 8 * r) % a.group);
        const float factor = share.splits > 1 ? 1.f : sum[r] == 0.f ? 0.f : kv_divide(1.f, sum[r]);
        KV_UNROLL for (int n = 0; n < D / 8; n++) {
          target.output[n * 8 + lanePair] = output[n][2 * r] * factor;
          target.output[n * 8 + lanePair + 1] = output[n][2 * r + 1] * factor;
        }
        if (target.statistics && lanePair == 0) {
          target.statistics[0] = most[r];
          target.statistics[1] = sum[r];
          target.statistics[2] = range[r];
        }
      }
    }
    __syncthreads();                                                // the next tile of rows reuses everything
  }
}

#define NAME(name, size) name##_d##size
#define SIZED(name, size) NAME(name, size)
#define FLASH(name, T, WIDE, TERMS, FEW) extern "C" __global__ void __launch_bounds__(128, 2) SIZED(name, KV_HEAD_DIM)(SplitArgs a) { flash<KV_HEAD_DIM, T, WIDE, TERMS, FEW>(a); }
FLASH(flash, KV_BF16, false, 2, false)
FLASH(flash_half, KV_F16, false, 2, false)
FLASH(flash_wide, KV_BF16, true, 2, false)
FLASH(flash_rounded, KV_BF16, false, 1, false)
FLASH(flash_few, KV_BF16, false, 2, true)
FLASH(flash_few_half, KV_F16, false, 2, true)
FLASH(flash_few_wide, KV_BF16, true, 2, true)

// Column and band sums, as attention_sums does them: a CTA owns 64 slots of one KV head, and every score has the bits that it had above.
// grid = (tiles of slots, kvHeads, sequences), block = 128, dynamic shared memory: a tile of keys, twice as much if WIDE, and 64 · 65 floats
template<int D, int T, bool WIDE> __device__ __forceinline__ void flash_sums(const SumArgs& s) {
  KV_DYNAMIC_SHARED(uint4, shared);
  __shared__ u64 at[KEYS];
  constexpr int TILE = KEYS * Head<D>::PITCH;
  const AttentionArgs& a = s.attention;
  const Cache& c = a.cache;
  const int tid = threadIdx.x, firstLine = (tid >> 5) * WARP_LINES + (tid & 31) / 4, lanePair = (tid & 3) * 2;
  const int head = blockIdx.y, sequence = blockIdx.z, tile = blockIdx.x * KEYS;
  const Rows all = kv_rows(c, sequence);
  if (all.count == 0) return;
  const Lane lane = kv_lane(c, sequence, head);
  const Sums sums = kv_sums(s, lane, all, sequence, head, tile, KEYS);
  if (sums.slots <= 0) return;
  float* weights = (float*)(shared + (WIDE ? 2 : 1) * TILE);
  kv_find<KEYS>(c, lane, sequence, head, lane.length + sums.begin, lane.length + all.count - 1, tile, at);
  __syncthreads();
  kv_fetch<D, WIDE>(c, at, tile, false, shared, shared + TILE);
  kv_copy_wait();
  __syncthreads();

  for (int start = sums.begin; start < all.count; start += a.rowsPerTile) {
    const int rows = kv_least(a.rowsPerTile, all.count - start), first = lane.length + start;
    if (kv_sees_none(c, lane, first, first + rows - 1, tile, tile + KEYS)) continue;
    const Lines line = kv_lines(a, all.start + start, rows * a.group, head, firstLine);
    u32 q[Head<D>::ROOM][2][4];
    KV_UNROLL for (int step = 0; step < Head<D>::KEPT; step++) kv_query<T, 2>(line.q, step * 16, q[step]);
    float score[KEYS / 8][4];
    kv_tile_scores<D, T, WIDE, 2, KEYS>(score, a, lane, line, q, shared, shared + TILE, tile, 0);
    KV_UNROLL for (int r = 0; r < 2; r++) {
      if (!line.q[r]) continue;
      const int mine = firstLine + 8 * r, own = first + mine / a.group;
      const float* statistic = kv_statistic(a, all.start + start + mine / a.group, head, mine % a.group);
      const float most = statistic[0], sum = statistic[1];
      KV_UNROLL for (int n = 0; n < KEYS / 8; n++) {
        KV_UNROLL for (int i = 0; i < 2; i++) {
          const int j = n * 8 + lanePair + i;
          weights[mine * (KEYS + 1) + j] = at[j] && sum != 0.f && kv_sees(c, lane, own, own, tile + j)
            ? kv_divide(kv_exp2(score[n][2 * r + i] * (a.scale * 1.44269504f) - most), sum) : 0.f;
        }
      }
    }
    __syncthreads();
    kv_add_rows<KEYS, THREADS>(s, sums, weights, first, rows, tile);
    __syncthreads();
  }
}

#define SUMS(name, T, WIDE) extern "C" __global__ void __launch_bounds__(128) SIZED(name, KV_HEAD_DIM)(SumArgs a) { flash_sums<KV_HEAD_DIM, T, WIDE>(a); }
SUMS(flash_sums, KV_BF16, false)
SUMS(flash_sums_half, KV_F16, false)
SUMS(flash_sums_wide, KV_BF16, true)
