// Attention on tensor cores, for 16-bit and packed caches: 64 lines (a row of one query head each) against tiles of 64 slots, softmax on the
// way (arXiv:2205.14135, arXiv:2307.08691). bfloat16 has 8 bits, so what is f32 goes in as two of them: queries, the weights of the softmax, and
// in the wide kernel what a cache of another type holds. Sums of a tile are added up outside the tensor cores, which cut off instead of rounding.
// A row's bits depend on nothing but what it sees and on how its keys are split.
#include "attention.cuh"

enum { KEYS = 64, LINES = 64, THREADS = 128 };

// Where a row's 8 channels lie in a tile, in 16-byte units: what is read together lies in different banks.
template<int D> __device__ __forceinline__ int kv_place(int row, int chunk) { return row * (D / 8) + (chunk ^ (row & 7)); }

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

// 16 channels of a warp's two query lines; null is a line that is not there.
template<int TERMS> __device__ __forceinline__ void kv_query(const float* const (&line)[2], int channel, u32 (&q)[TERMS][4]) {
  KV_UNROLL for (int i = 0; i < 4; i++) {
    const float* from = line[i & 1];
    const int d = channel + (i >> 1) * 8;
    const float x = from ? from[d] : 0.f, y = from ? from[d + 1] : 0.f;
    if (TERMS == 1) q[0][i] = kv_pack_bf16(x, y);
    else kv_split(x, y, &q[0][i], &q[TERMS - 1][i]);
  }
}

// score += 16 channels of q · k for 64 keys
template<int D, bool WIDE, int TERMS>
__device__ __forceinline__ void kv_scores(float (&score)[KEYS / 8][4], const u32 (&q)[TERMS][4], const uint4* high, const uint4* low, int step) {
  const int lane = threadIdx.x & 31, row = (lane >> 4) * 8 + (lane & 7), chunk = 2 * step + (lane >> 3 & 1);
  KV_UNROLL for (int n = 0; n < KEYS / 16; n++) {
    u32 k[4];
    if (WIDE) {
      kv_matrices(k, low + kv_place<D>(n * 16 + row, chunk));
      kv_mma_bf16(score[2 * n], q[0], k[0], k[1]);
      kv_mma_bf16(score[2 * n + 1], q[0], k[2], k[3]);
    }
    kv_matrices(k, high + kv_place<D>(n * 16 + row, chunk));
    KV_UNROLL for (int term = TERMS - 1; term >= 0; term--) {
      kv_mma_bf16(score[2 * n], q[term], k[0], k[1]);
      kv_mma_bf16(score[2 * n + 1], q[term], k[2], k[3]);
    }
  }
}

// output = output · factor + weights · values
template<int D, bool WIDE, int TERMS>
__device__ __forceinline__ void kv_add_values(float (&output)[D / 8][4], const float (&factor)[2], const u32 (&weights)[TERMS][KEYS / 16][4], const uint4* high, const uint4* low) {
  const int lane = threadIdx.x & 31;
  KV_UNROLL for (int n = 0; n < D / 16; n++) {
    float part[2][4] = {{0.f, 0.f, 0.f, 0.f}, {0.f, 0.f, 0.f, 0.f}};
    KV_UNROLL for (int step = 0; step < KEYS / 16; step++) {
      const int place = kv_place<D>(step * 16 + (lane & 15), 2 * n + (lane >> 4));
      u32 v[4];
      if (WIDE) {
        kv_matrices_turned(v, low + place);
        kv_mma_bf16(part[0], weights[0][step], v[0], v[1]);
        kv_mma_bf16(part[1], weights[0][step], v[2], v[3]);
      }
      kv_matrices_turned(v, high + place);
      KV_UNROLL for (int term = TERMS - 1; term >= 0; term--) {
        kv_mma_bf16(part[0], weights[term][step], v[0], v[1]);
        kv_mma_bf16(part[1], weights[term][step], v[2], v[3]);
      }
    }
    KV_UNROLL for (int i = 0; i < 4; i++) {
      output[2 * n][i] = kv_fma(output[2 * n][i], factor[i >> 1], part[0][i]);
      output[2 * n + 1][i] = kv_fma(output[2 * n + 1][i], factor[i >> 1], part[1][i]);
    }
  }
}

// The next tile, from `tile` on, that this split owns and that some row sees; past the last where there is none.
__device__ __forceinline__ int kv_next_tile(const Cache& c, const Lane& lane, int first, int last, int split, int splits, int tile) {
  while (tile <= last && (tile / SPLIT_SLOTS % splits != split || kv_sees_none(c, lane, first, last, tile, tile + KEYS))) tile += KEYS;
  return tile;
}

// grid = (tiles of rows, kvHeads, sequences · splits), block = 128, dynamic shared memory: a tile of keys and one of values, twice as much if
// WIDE. A warp owns 16 lines, of which a lane has two: lane / 4 and 8 more on. The longest tiles of rows come first.
template<int D, bool WIDE, int TERMS> __device__ __forceinline__ void flash(const SplitArgs& s) {
  KV_DYNAMIC_SHARED(uint4, shared);
  __shared__ u64 at[2][KEYS];
  __shared__ int holes[2];
  constexpr int TILE = KEYS * D / 8;
  const AttentionArgs& a = s.attention;
  const Cache& c = a.cache;
  const int tid = threadIdx.x, lanePair = (tid & 3) * 2, head = blockIdx.y, sequence = blockIdx.z / s.splits, split = blockIdx.z % s.splits;
  const Rows all = kv_rows(c, sequence);
  if (all.count == 0) return;
  const Lane lane = kv_lane(c, sequence, head);
  const bool ranged = (kv_wanted(a, sequence) & WANT_RANGE) != 0;
  const int sinkEnd = ranged ? a.observed[sequence * OBSERVED_FIELDS + 3] : 0, recent = ranged ? a.observed[sequence * OBSERVED_FIELDS + 4] : 0;
  uint4* keys = shared;
  uint4* values = keys + (WIDE ? 2 : 1) * TILE;

  const int rowTiles = (all.count + a.rowsPerTile - 1) / a.rowsPerTile;
  for (int number = blockIdx.x; number < rowTiles; number += gridDim.x) {
    const int start = (rowTiles - 1 - number) * a.rowsPerTile, rows = kv_least(a.rowsPerTile, all.count - start), lines = rows * a.group;
    const int first = lane.length + start, last = first + rows - 1;
    const float* line[2];
    const float* sinkLine[2];
    int own[2];
    KV_UNROLL for (int r = 0; r < 2; r++) {
      const int mine = (tid >> 5) * 16 + (tid & 31) / 4 + 8 * r;
      const u64 row = (u64)(all.start + start + mine / a.group), column = (u64)(head * a.group + mine % a.group) * D + lanePair;
      own[r] = first + mine / a.group;
      line[r] = mine < lines ? a.q + row * a.qStride + column : (const float*)0;
      sinkLine[r] = mine < lines && a.sinkQueries ? a.sinkQueries + row * a.sinkStride + column : (const float*)0;
    }
    u32 q[D / 16][TERMS][4];
    KV_UNROLL for (int step = 0; step < D / 16; step++) kv_query<TERMS>(line, step * 16, q[step]);
    float output[D / 8][4], most[2] = {MASKED, MASKED}, sum[2] = {0.f, 0.f}, range[2] = {0.f, 0.f};
    KV_UNROLL for (int n = 0; n < D / 8; n++) {
      KV_UNROLL for (int i = 0; i < 4; i++) output[n][i] = 0.f;
    }

    int tile = kv_next_tile(c, lane, first, last, split, s.splits, 0);
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
      following = kv_next_tile(c, lane, first, last, split, s.splits, tile + KEYS);
      if (following <= last) {
        kv_find<KEYS>(c, lane, sequence, head, first, last, following, at[b ^ 1]);
        if (tid < KEYS && at[b ^ 1][tid] == 0) holes[b ^ 1] = following;
      }
      float score[KEYS / 8][4];
      KV_UNROLL for (int n = 0; n < KEYS / 8; n++) {
        KV_UNROLL for (int i = 0; i < 4; i++) score[n][i] = 0.f;
      }
      KV_UNROLL for (int step = 0; step < D / 16; step++) kv_scores<D, WIDE, TERMS>(score, q[step], keys, keys + TILE, step);
      if (a.sinkQueries && tile < lane.sinks) {                     // the sinks have queries of their own
        float other[KEYS / 8][4];
        KV_UNROLL for (int n = 0; n < KEYS / 8; n++) {
          KV_UNROLL for (int i = 0; i < 4; i++) other[n][i] = 0.f;
        }
        for (int step = 0; step < D / 16; step++) {
          u32 sink[TERMS][4];
          kv_query<TERMS>(sinkLine, step * 16, sink);
          kv_scores<D, WIDE, TERMS>(other, sink, keys, keys + TILE, step);
        }
        KV_UNROLL for (int n = 0; n < KEYS / 8; n++) {
          KV_UNROLL for (int i = 0; i < 4; i++) score[n][i] = tile + n * 8 + lanePair + (i & 1) < lane.sinks ? other[n][i] : score[n][i];
        }
      }
      kv_copy_wait();
      __syncthreads();                                              // values and the next addresses are there, and all are done with the keys
      if (following <= last) kv_fetch<D, WIDE>(c, at[b ^ 1], following, false, keys, keys + TILE);

      const bool whole = holes[b] != tile && kv_sees_all(c, lane, first, last, tile, tile + KEYS);
      const float scale = a.scale * 1.44269504f;
      float top[2] = {most[0], most[1]}, factor[2], weight[2] = {0.f, 0.f}, inRange[2] = {0.f, 0.f};
      KV_UNROLL for (int n = 0; n < KEYS / 8; n++) {
        KV_UNROLL for (int i = 0; i < 4; i++) {
          const int j = n * 8 + lanePair + (i & 1);
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
      KV_UNROLL for (int n = 0; n < KEYS / 8; n++) {
        KV_UNROLL for (int i = 0; i < 4; i++) {
          score[n][i] = score[n][i] == MASKED ? 0.f : kv_exp2(score[n][i] - top[i >> 1]);
          weight[i >> 1] += score[n][i];
        }
      }
      if (ranged) {                                                 // the same additions in the same order: the share never exceeds 1
        KV_UNROLL for (int n = 0; n < KEYS / 8; n++) {
          KV_UNROLL for (int i = 0; i < 4; i++) {
            const int slot = tile + n * 8 + lanePair + (i & 1);
            inRange[i >> 1] += slot < sinkEnd || slot >= recent ? score[n][i] : 0.f;
          }
        }
      }
      KV_UNROLL for (int r = 0; r < 2; r++) {
        sum[r] = kv_fma(sum[r], factor[r], weight[r]);
        range[r] = kv_fma(range[r], factor[r], inRange[r]);
      }
      u32 weights[TERMS][KEYS / 16][4];                             // what a lane holds of the scores is what it has to hold of the left operand
      KV_UNROLL for (int step = 0; step < KEYS / 16; step++) {
        KV_UNROLL for (int i = 0; i < 4; i++) {
          const float x = score[2 * step + (i >> 1)][(i & 1) * 2], y = score[2 * step + (i >> 1)][(i & 1) * 2 + 1];
          if (TERMS == 1) weights[0][step][i] = kv_pack_bf16(x, y);
          else kv_split(x, y, &weights[0][step][i], &weights[TERMS - 1][step][i]);
        }
      }
      kv_add_values<D, WIDE, TERMS>(output, factor, weights, values, values + TILE);
    }

    KV_UNROLL for (int r = 0; r < 2; r++) {
      sum[r] += kv_shuffle_xor(sum[r], 1);
      sum[r] += kv_shuffle_xor(sum[r], 2);
      range[r] += kv_shuffle_xor(range[r], 1);
      range[r] += kv_shuffle_xor(range[r], 2);
      if (!line[r]) continue;
      const u64 row = (u64)(all.start + own[r] - lane.length), query = (u64)head * a.group + ((tid >> 5) * 16 + (tid & 31) / 4 + 8 * r) % a.group;
      float* statistics = a.statistics ? a.statistics + (row * c.kvHeads * a.group + query) * STATISTICS : (float*)0;
      float* target = a.output + row * a.outputStride + query * D;
      float share = sum[r] == 0.f ? 0.f : kv_divide(1.f, sum[r]);
      if (s.splits > 1) {
        statistics = s.parts + ((row * c.kvHeads * a.group + query) * s.splits + split) * (STATISTICS + D);
        target = statistics + STATISTICS;
        share = 1.f;
      }
      KV_UNROLL for (int n = 0; n < D / 8; n++) {
        target[n * 8 + lanePair] = output[n][2 * r] * share;
        target[n * 8 + lanePair + 1] = output[n][2 * r + 1] * share;
      }
      if (statistics && lanePair == 0) {
        statistics[0] = most[r];
        statistics[1] = sum[r];
        statistics[2] = range[r];
      }
    }
    __syncthreads();                                                // the next tile of rows reuses everything
  }
}

#define FLASH(name, T, D, WIDE, TERMS) extern "C" __global__ void __launch_bounds__(128, 2) name(SplitArgs a) { flash<D, WIDE, TERMS>(a); }
FLASH(flash_d64, KV_BF16, 64, false, 2)
FLASH(flash_d128, KV_BF16, 128, false, 2)
FLASH(flash_wide_d64, KV_F16, 64, true, 2)
FLASH(flash_wide_d128, KV_F16, 128, true, 2)
FLASH(flash_rounded_d64, KV_BF16, 64, false, 1)
FLASH(flash_rounded_d128, KV_BF16, 128, false, 1)
