// The next token of a row of logits, chosen where they lie: penalties, temperature, min-p, top-k, top-p and a draw, in the order and by the rules of
// the processor's sampler (InferenceService.Engine/Sampling), so that equal logits give equal tokens. Every filter keeps the head of the list sorted
// by score, highest first and ties by lower id; so what is left is always a threshold and how many of exactly that score. Counts and masses are
// integers, and the draw is a maximum: nothing depends on the order in which threads add up.
#include "prelude.cuh"

enum { THREADS = 256, BUCKETS = 2048, FAULT_ORDER = 6 };
enum { NOT_NUMBERS = -1, NOTHING_ALLOWED = -2 };                   // instead of a token

struct Order {
  int row, position; u64 key; double logMinP; float temperature, topP, repetition, frequency, presence; int topK, firstChange, changes, next, padding;
};
struct Change { int token, generated; float bias; };               // generated < 0: a bias; 0: a token of the prompt; more: how often it was generated
struct SampleArgs { float* logits; const Order* orders; const Change* changes; int* tokens; int* next; u32* fault; i64 stride; int rows, vocabulary, entries, nextRows; };

// Unsigned integers in the order of the floats, and back.
__device__ __forceinline__ u32 kv_key(float score) { const u32 bits = kv_float_bits(score); return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u); }
__device__ __forceinline__ float kv_unkey(u32 key) { return kv_bits_float(key >> 31 ? key ^ 0x80000000u : ~key); }

// e^x for x in [-28, 0], to about an ulp.
__device__ __forceinline__ double kv_exp_double(double x) {
  const double n = (double)(int)(x * 1.4426950408889634 - 0.5), r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
  double p = 1.0;
  KV_UNROLL for (int i = 14; i > 0; i--) p = 1.0 + p * (r * (1.0 / i));
  return p * kv_bits_double((u64)(1023 + (int)n) << 52);
}

// ln x for a positive x that is not subnormal, to a few ulp: the series of the inverse hyperbolic tangent.
__device__ __forceinline__ double kv_log_double(double x) {
  u64 bits = kv_double_bits(x);
  int exponent = (int)(bits >> 52) - 1023;
  double m = kv_bits_double((bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull);
  if (m > 1.4142135623730951) { m *= 0.5; exponent++; }
  const double s = (m - 1.0) / (m + 1.0), square = s * s;
  double p = 1.0 / 23;
  KV_UNROLL for (int i = 21; i > 0; i -= 2) p = 1.0 / i + p * square;
  return (2.0 * s * p + exponent * 1.90821492927058770002e-10) + exponent * 0.693147180369123816490;
}

// The word of a token at a position: Philox4x32-10 (Salmon et al., SC 2011), words laid out as in InferenceService.Engine.Sampling.Philox.
__device__ __forceinline__ u32 kv_random(u64 key, int position, int token) {
  u32 c0 = ((u32)token >> 5 << 3) | ((u32)token & 7), c1 = (u32)position, c2 = 0, c3 = 0, k0 = (u32)key, k1 = (u32)(key >> 32);
  for (int round = 0; round < 10; round++) {
    const u64 first = (u64)0xD2511F53u * c0, second = (u64)0xCD9E8D57u * c2;
    c0 = (u32)(second >> 32) ^ c1 ^ k0;
    c1 = (u32)second;
    c2 = (u32)(first >> 32) ^ c3 ^ k1;
    c3 = (u32)first;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  const int word = token >> 3 & 3;
  return word == 0 ? c0 : word == 1 ? c1 : word == 2 ? c2 : c3;
}

__device__ __forceinline__ double kv_gumbel(u32 word) { return -kv_log_double(-kv_log_double((word + 0.5) * (1.0 / 4294967296.0))); }

// Above the noise of a word, for a fraction of its price: with v = 1 - x, -ln(-ln(1 - v)) <= -ln v, and the bits of a float read as an integer
// are at most (log2 + 127) · 2^23.
__device__ __forceinline__ float kv_gumbel_bound(u32 word) {
  return (158.f - (float)(int)kv_float_bits((float)(int)(~word >> 1)) * (1.f / 8388608.f)) * 0.69314718f + 1e-4f;
}

struct Best { double sum; int id; };
__device__ __forceinline__ bool kv_beats(const Best& a, const Best& b) { return a.id >= 0 && (b.id < 0 || a.sum > b.sum || (a.sum == b.sum && a.id < b.id)); }

// The best of all threads; every thread receives it.
__device__ __forceinline__ Best kv_best(Best mine) {
  __shared__ double sums[THREADS];
  __shared__ int ids[THREADS];
  const int tid = threadIdx.x;
  sums[tid] = mine.sum;
  ids[tid] = mine.id;
  __syncthreads();
  for (int half = THREADS / 2; half; half >>= 1) {
    if (tid < half && kv_beats(Best{sums[tid + half], ids[tid + half]}, Best{sums[tid], ids[tid]})) {
      sums[tid] = sums[tid + half];
      ids[tid] = ids[tid + half];
    }
    __syncthreads();
  }
  const Best best = {sums[0], ids[0]};
  __syncthreads();
  return best;
}

__device__ __forceinline__ u64 kv_total(u64 mine) {
  __shared__ u64 parts[THREADS];
  const int tid = threadIdx.x;
  parts[tid] = mine;
  __syncthreads();
  for (int half = THREADS / 2; half; half >>= 1) {
    if (tid < half) parts[tid] += parts[tid + half];
    __syncthreads();
  }
  const u64 total = parts[0];
  __syncthreads();
  return total;
}

// What is left of the list: scores above the threshold, and the first `ties` of those equal to it.
struct Head { float threshold; u64 ties; };

// A score's share: one, or its probability in 2^-40 of the highest score's.
__device__ __forceinline__ u64 kv_mass(float score, float highest, bool counts) {
  if (counts) return 1;
  const double x = (double)(score - highest);
  return x < -28.0 ? 0 : (u64)(kv_exp_double(x) * 1099511627776.0);
}

// The shortest head of the whole list whose mass reaches the target (at least 1, at most all): radix select, 11 bits a pass.
__device__ __forceinline__ Head kv_cut(const float* scores, int vocabulary, float highest, bool counts, u64 target) {
  __shared__ u64 histogram[BUCKETS], sums[64], rest;
  __shared__ u32 found;
  const int tid = threadIdx.x;
  u32 prefix = 0, known = 0;
  for (int pass = 0; pass < 3; pass++) {
    const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
    const u32 bits = pass < 2 ? BUCKETS - 1 : 1023;
    for (int i = tid; i < BUCKETS; i += THREADS) histogram[i] = 0;
    __syncthreads();
    for (int i = tid; i < vocabulary; i += THREADS) {
      const u32 key = kv_key(scores[i]);
      if ((key & known) == prefix && scores[i] >= -3.4028234e38f) kv_add_shared(histogram + (key >> shift & bits), kv_mass(scores[i], highest, counts));
    }
    __syncthreads();
    if (tid < 64) {
      u64 sum = 0;
      for (int i = 0; i < BUCKETS / 64; i++) sum += histogram[tid * (BUCKETS / 64) + i];
      sums[tid] = sum;
    }
    __syncthreads();
    if (tid == 0) {
      int part = 63;
      while (part > 0 && sums[part] < target) target -= sums[part--];
      int bucket = part * (BUCKETS / 64) + BUCKETS / 64 - 1;
      while (bucket > part * (BUCKETS / 64) && histogram[bucket] < target) target -= histogram[bucket--];
      found = (u32)bucket;
      rest = target;
    }
    __syncthreads();
    prefix |= found << shift;
    known |= bits << shift;
    target = rest;
    __syncthreads();
  }
  const float threshold = kv_unkey(prefix);
  const u64 mass = kv_mass(threshold, highest, counts);
  return Head{threshold, mass == 0 ? ~0ull : (target + mass - 1) / mass};
}

// The id of the last tie that is left; none is, or all are, at the ends of the range.
__device__ __forceinline__ int kv_last_tie(const float* scores, int vocabulary, const Head& head) {
  __shared__ int counts[THREADS];
  __shared__ int last;
  const int tid = threadIdx.x, each = (vocabulary + THREADS - 1) / THREADS, from = kv_least(tid * each, vocabulary), to = kv_least(from + each, vocabulary);
  u64 mine = 0;
  for (int i = tid; i < vocabulary; i += THREADS) mine += scores[i] == head.threshold;
  if (kv_total(mine) <= head.ties) return 0x7fffffff;
  int count = 0;
  for (int i = from; i < to; i++) count += scores[i] == head.threshold;
  counts[tid] = count;
  __syncthreads();
  u64 before = 0;
  for (int i = 0; i < tid; i++) before += counts[i];
  if (before < head.ties && before + count >= head.ties) {
    int left = (int)(head.ties - before), i = from;
    while (scores[i] != head.threshold || --left > 0) i++;
    last = i;
  }
  __syncthreads();
  const int result = last;
  __syncthreads();
  return result;
}

// The changes a request asks for. A token stands at most once among the biases and once among the others.
__device__ __forceinline__ void kv_change(const Order& order, const Change* changes, float* logits) {
  for (int pass = 0; pass < 2; pass++) {
    for (int i = threadIdx.x; i < order.changes; i += THREADS) {
      const Change change = changes[order.firstChange + i];
      float* logit = logits + change.token;
      if (pass == 0 && change.generated < 0) *logit += change.bias;
      if (pass == 0 || change.generated < 0) continue;
      if (order.repetition != 1.f) *logit = *logit > 0.f ? kv_divide(*logit, order.repetition) : kv_multiply(*logit, order.repetition);
      if (change.generated > 0) {
        *logit -= kv_multiply(order.frequency, (float)change.generated);
        *logit -= order.presence;
      }
    }
    __syncthreads();
  }
}

// Logits over temperature, in place; what cannot be drawn stays below every threshold.
__device__ __forceinline__ void kv_scale(float* logits, int vocabulary, float temperature) {
  for (int i = threadIdx.x; i < vocabulary; i += THREADS) logits[i] = kv_min(kv_divide(logits[i], temperature) + 0.f, 3.4028235e38f);
  __syncthreads();
}

__device__ __forceinline__ int kv_draw(const Order& order, const float* scores, int vocabulary, float highest) {
  Head head = {-3.4028235e38f, ~0ull};                              // all that are not masked
  if (order.logMinP > -1e300) {
    const double threshold = (double)highest + order.logMinP;
    const float rounded = kv_max((float)threshold, -3.4028235e38f);
    head.threshold = rounded < threshold ? kv_unkey(kv_key(rounded) + 1) : rounded;
  }
  if (order.topK > 0) {
    u64 mine = 0;
    for (int i = threadIdx.x; i < vocabulary; i += THREADS) mine += scores[i] >= head.threshold;
    if ((u64)order.topK < kv_total(mine)) head = kv_cut(scores, vocabulary, highest, true, (u64)order.topK);
  }
  if (order.topP < 1.f) {
    u64 mine = 0, ties = 0;
    for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
      if (scores[i] > head.threshold) mine += kv_mass(scores[i], highest, false);
      ties += scores[i] == head.threshold;
    }
    ties = kv_total(ties);
    const u64 total = kv_total(mine) + (ties < head.ties ? ties : head.ties) * kv_mass(head.threshold, highest, false);
    const double wanted = (double)order.topP * (double)total;
    u64 target = (u64)wanted;
    if ((double)target < wanted) target++;
    head = kv_cut(scores, vocabulary, highest, false, target < 1 ? 1 : target < total ? target : total);
  }
  const int last = kv_last_tie(scores, vocabulary, head);
  Best best = {0.0, -1};
  for (int i = threadIdx.x; i < vocabulary; i += THREADS) {
    const float score = scores[i];
    if (!(score > head.threshold || (score == head.threshold && i <= last))) continue;
    const u32 word = kv_random(order.key, order.position, i);
    if (best.id >= 0 && (double)score + kv_gumbel_bound(word) < best.sum) continue;
    const Best mine = {(double)score + kv_gumbel(word), i};
    if (kv_beats(mine, best)) best = mine;
  }
  return kv_best(best).id;
}

// For the host, and for the next step, which may run before the host has looked: its embedding needs an id that is there.
__device__ __forceinline__ void kv_say(const SampleArgs& a, const Order& order, int token) {
  a.tokens[blockIdx.x] = token;
  if (order.next >= 0) a.next[order.next] = token < 0 ? 0 : token;
}

// grid = orders, block = 256: one row each, whose logits are changed
extern "C" __global__ void __launch_bounds__(256) sample(SampleArgs a) {
  __shared__ Order order;
  const int tid = threadIdx.x;
  if (tid == 0) order = a.orders[blockIdx.x];
  __syncthreads();
  const bool there = order.row >= 0 && order.row < a.rows && order.changes >= 0 && order.firstChange >= 0 && order.changes <= a.entries - order.firstChange && order.next < a.nextRows;
  u64 wrong = 0;
  for (int i = tid; there && i < order.changes; i += THREADS) wrong += (u32)a.changes[order.firstChange + i].token >= (u32)a.vocabulary;
  if (kv_total(wrong) > 0 || !there) {
    if (tid == 0) {
      a.fault[1] = blockIdx.x;
      a.fault[2] = (u32)order.row;
      a.fault[0] = FAULT_ORDER;
    }
    return;
  }
  float* logits = a.logits + (u64)order.row * a.stride;
  u64 bad = 0;
  for (int i = tid; i < a.vocabulary; i += THREADS) bad += !(logits[i] < kv_bits_float(0x7f800000));
  if (kv_total(bad) > 0) {
    if (tid == 0) kv_say(a, order, NOT_NUMBERS);
    return;
  }
  kv_change(order, a.changes, logits);
  if (order.temperature > 0.f) kv_scale(logits, a.vocabulary, order.temperature);
  Best best = {0.0, -1};
  for (int i = tid; i < a.vocabulary; i += THREADS) {
    const Best mine = {(double)logits[i], i};
    if (kv_beats(mine, best)) best = mine;
  }
  best = kv_best(best);
  int token = best.sum < -3.4028235e38 ? NOTHING_ALLOWED : best.id;
  if (token >= 0 && order.temperature > 0.f) token = kv_draw(order, logits, a.vocabulary, (float)best.sum);
  if (tid == 0) kv_say(a, order, token);
}
