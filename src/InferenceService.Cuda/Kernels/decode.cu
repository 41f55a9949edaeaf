// Attention of single rows over caches in 16 bits where a KV head has few query heads, for serving: the keys of a row are split over several CTAs, which take chunks of 256 slots in
// turn, and a second kernel merges (splits.cu). Every lane of a warp reads 16 bytes of a K and a V row. What a row does not see is never read.
// Compiled once for every head size.
#include "attention.cuh"
#ifndef KV_HEAD_DIM
  #define KV_HEAD_DIM 128
#endif

enum { CHUNK = SPLIT_SLOTS, THREADS = 128, WARPS = THREADS / 32 };

template<int T> __device__ __forceinline__ void kv_load8(const u8* p, float* out) {
  const uint4 v = *(const uint4*)p;
  const u32 words[4] = {v.x, v.y, v.z, v.w};
  KV_UNROLL for (int i = 0; i < 4; i++) {
    if (T == KV_BF16) {
      out[2 * i] = kv_bits_float(words[i] << 16);
      out[2 * i + 1] = kv_bits_float(words[i] & 0xffff0000u);
    } else {
      out[2 * i] = kv_half_float((u16)words[i]);
      out[2 * i + 1] = kv_half_float((u16)(words[i] >> 16));
    }
  }
}

// Lanes that share a token: a power of two, so that they can add up what they have; those past the head size have nothing.
template<int D> struct Token { enum { LANES = D <= 32 ? 4 : D <= 64 ? 8 : D <= 128 ? 16 : 32 }; };

// grid = (rows of a sequence, kvHeads, sequences · splits), or with a plan (items, rows of a sequence); block = 128; G query heads at most, of which
// `group` are there
template<int T, int D, int G> __device__ __forceinline__ void decode(const SplitArgs& d) {
  constexpr int LANES = Token<D>::LANES, TOKENS = 32 / LANES, STATES = WARPS * TOKENS;    // tokens a warp step, softmax states a CTA
  __shared__ float sharedOutput[STATES][G][D], sharedMost[STATES][G], sharedSum[STATES][G];
  const AttentionArgs& a = d.attention;
  const Cache& c = a.cache;
  Share share = {(int)blockIdx.z / d.splits, (int)blockIdx.y, (int)blockIdx.z % d.splits, d.splits, 0};
  if (d.plan && !kv_item(d, &share)) return;
  const int sequence = share.sequence, head = share.head, group = a.group, number = d.plan ? blockIdx.y : blockIdx.x;
  const Rows rows = kv_served(d, sequence);
  if (number >= rows.count) return;
  const int row = rows.start + number;
  const int warp = threadIdx.x >> 5, laneId = threadIdx.x & 31, token = laneId / LANES, d0 = laneId % LANES * 8, state = warp * TOKENS + token;
  const bool mine = d0 < D;
  const Lane lane = kv_lane(c, sequence, head);
  const int own = lane.length + number, seenTo = own + 1 - c.excludeSelf, sinkEnd = a.sinkQueries ? kv_least(lane.sinks, seenTo) : 0;
  float q[G][8], output[G][8], most[G], sum[G];
  KV_UNROLL for (int g = 0; g < G; g++) {
    KV_UNROLL for (int i = 0; i < 8; i++) output[g][i] = 0.f;
    most[g] = MASKED;
    sum[g] = 0.f;
  }

  for (int pass = sinkEnd > 0 ? 0 : 1; pass < 2; pass++) {          // the sinks have queries of their own
    const float* queries = pass == 0 ? a.sinkQueries + (u64)row * a.sinkStride : a.q + (u64)row * a.qStride;
    const int from = pass == 0 ? 0 : sinkEnd, to = pass == 0 ? sinkEnd : seenTo;
    KV_UNROLL for (int g = 0; g < G; g++) {
      KV_UNROLL for (int i = 0; i < 8; i++)
        q[g][i] = g < group && mine ? queries[((u64)head * group + g) * D + d0 + i] * (a.scale * 1.44269504f) : 0.f;
    }
    for (int chunk = share.split * CHUNK; chunk < to; chunk += share.splits * CHUNK) {
      const int begin = kv_most(chunk, from), end = kv_least(chunk + CHUNK, to);
      if (begin >= end || kv_sees_none(c, lane, own, own, begin, end)) continue;
      for (int t0 = begin + warp * TOKENS; t0 < end; t0 += STATES) { // trip count is warp-uniform: every lane reaches the shuffles
        const int slot = t0 + token;
        int entry = 0;
        const bool live = slot < end && kv_sees(c, lane, own, own, slot) && kv_entry(c, lane, sequence, head, slot, &entry) && entry >= 0;
        float k[8], v[8];
        if (live && mine) {
          const u8* key = c.pool + (i64)entry * c.blockBytes + lane.offset + ((u64)(slot % c.blockSize) * D + d0) * 2;
          kv_load8<T>(key, k);
          kv_load8<T>(key + c.halfLaneBytes, v);
        } else {
          KV_UNROLL for (int i = 0; i < 8; i++) k[i] = v[i] = 0.f;
        }
        KV_UNROLL for (int g = 0; g < G; g++) {
          float score = 0.f;
          KV_UNROLL for (int i = 0; i < 8; i++) score = kv_fma(q[g][i], k[i], score);
          KV_UNROLL for (int x = LANES / 2; x; x >>= 1) score += kv_shuffle_xor(score, x);
          if (live) {
            const float top = kv_max(most[g], score), factor = kv_exp2(most[g] - top), weight = kv_exp2(score - top);
            most[g] = top;
            sum[g] = kv_fma(sum[g], factor, weight);
            KV_UNROLL for (int i = 0; i < 8; i++) output[g][i] = kv_fma(output[g][i], factor, weight * v[i]);
          }
        }
      }
    }
  }

  KV_UNROLL for (int g = 0; g < G; g++) {
    if (mine) {
      KV_UNROLL for (int i = 0; i < 8; i++) sharedOutput[state][g][d0 + i] = output[g][i];
    }
    if (d0 == 0) { sharedMost[state][g] = most[g]; sharedSum[state][g] = sum[g]; }
  }
  __syncthreads();
  for (int x = threadIdx.x; x < group * D; x += THREADS) {
    const int g = x / D, e = x % D;
    float top = MASKED, total = 0.f, value = 0.f;
    for (int i = 0; i < STATES; i++) top = kv_max(top, sharedMost[i][g]);
    for (int i = 0; i < STATES; i++) {
      const float factor = kv_exp2(sharedMost[i][g] - top);
      total = kv_fma(factor, sharedSum[i][g], total);
      value = kv_fma(factor, sharedOutput[i][g][e], value);
    }
    if (share.splits == 1) {
      a.output[(u64)row * a.outputStride + (u64)(head * group + g) * D + e] = total == 0.f ? 0.f : kv_divide(value, total);
    } else {
      float* part = kv_part(d, share, row, number, g, share.split);
      part[STATISTICS + e] = value;
      if (e == 0) { part[0] = top; part[1] = total; part[2] = 0.f; }
    }
  }
}

#define NAME(name, size) name##_d##size
#define SIZED(name, size) NAME(name, size)
#define DECODE(name, T, G) extern "C" __global__ void __launch_bounds__(128) SIZED(name, KV_HEAD_DIM)(SplitArgs a) { decode<T, KV_HEAD_DIM, G>(a); }
DECODE(decode_f16_g1, KV_F16, 1)
DECODE(decode_f16_g3, KV_F16, 3)
DECODE(decode_bf16_g1, KV_BF16, 1)
DECODE(decode_bf16_g3, KV_BF16, 3)
