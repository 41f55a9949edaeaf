// How the keys of single rows are divided between CTAs, and how their parts come together again. Lengths are known on the device alone and differ
// from sequence to sequence, under policies from head to head: a recorded step has one grid, and this kernel says which of its CTAs do what.
#include "attention.cuh"

enum { THREADS = 256, WARPS = THREADS / 32 };

struct PlanArgs { Cache cache; int* plan; int* tiles; int target, most, mostSplits, least, rowsPerTile, padding; };

// Chunks of SPLIT_SLOTS slots that the rows of a sequence may see in a lane, one at least; 0 where the plan leaves the sequence out.
__device__ __forceinline__ int kv_chunks(const PlanArgs& a, int sequence, int head) {
  const Cache& c = a.cache;
  const Rows rows = kv_rows(c, sequence);
  if (rows.count == 0 || rows.count > a.most) return 0;
  const Lane lane = kv_lane(c, sequence, head);
  const int end = lane.length + rows.count - c.excludeSelf;          // behind the last slot that the last row sees
  const int window = c.window > 0 ? kv_most(0, lane.length + 1 - c.window) : 0;
  const int from = lane.window > 0 ? kv_most(window, lane.length + 1 - lane.window) : window, sinks = kv_least(lane.sinks, from);
  int chunks = (end + SPLIT_SLOTS - 1) / SPLIT_SLOTS - from / SPLIT_SLOTS;
  if (sinks > window) chunks += kv_least((sinks + SPLIT_SLOTS - 1) / SPLIT_SLOTS, from / SPLIT_SLOTS) - window / SPLIT_SLOTS;
  const int gap = kv_least(lane.gapEnd, end) / SPLIT_SLOTS - (kv_most(lane.gapStart, from) + SPLIT_SLOTS - 1) / SPLIT_SLOTS;
  return kv_most(1, chunks - kv_most(0, gap));
}

// The sum over the threads before this one, and over all.
__device__ __forceinline__ int kv_before(int value, int* all) {
  __shared__ int values[THREADS];
  const int tid = threadIdx.x;
  __syncthreads();                                                  // all are done with those of the last time
  values[tid] = value;
  __syncthreads();
  for (int step = 1; step < THREADS; step *= 2) {
    const int other = tid >= step ? values[tid - step] : 0;
    __syncthreads();
    values[tid] += other;
    __syncthreads();
  }
  *all = values[THREADS - 1];
  return values[tid] - value;
}

// Chunks of about total / target are one item, so that there are at most as many items as lanes and target together, and none is longer than
// it must be. grid = 1, block = 256: a thread has neighbouring lanes, so that items stand in the order of lanes and splits
extern "C" __global__ void __launch_bounds__(256) plan_splits(PlanArgs a) {
  const int lanes = a.cache.sequences * a.cache.kvHeads, each = (lanes + THREADS - 1) / THREADS, tid = threadIdx.x;
  const int from = kv_least(lanes, tid * each), to = kv_least(lanes, from + each);
  int mine = 0, total, items = 0;
  if (a.plan) {
    for (int lane = from; lane < to; lane++) mine += kv_chunks(a, lane / a.cache.kvHeads, lane % a.cache.kvHeads);
    kv_before(mine, &total);
    const int share = kv_most(1, (total + a.target - 1) / a.target);
    mine = 0;
    for (int lane = from; lane < to; lane++) mine += kv_least(a.mostSplits, (kv_chunks(a, lane / a.cache.kvHeads, lane % a.cache.kvHeads) + share - 1) / share);
    int item = kv_before(mine, &items);
    for (int lane = from; lane < to; lane++) {
      const int splits = kv_least(a.mostSplits, (kv_chunks(a, lane / a.cache.kvHeads, lane % a.cache.kvHeads) + share - 1) / share);
      a.plan[PLAN_LANES + 2 * lane] = splits;
      a.plan[PLAN_LANES + 2 * lane + 1] = item;
      for (int split = 0; split < splits; split++) a.plan[PLAN_LANES + 2 * lanes + item++] = lane << 8 | split;
    }
    if (tid == 0) a.plan[0] = items;
  }
  if (a.tiles) {
    const int few = (a.cache.sequences + THREADS - 1) / THREADS, first = kv_least(a.cache.sequences, tid * few), last = kv_least(a.cache.sequences, first + few);
    mine = 0;
    for (int sequence = first; sequence < last; sequence++) {
      const int count = kv_rows(a.cache, sequence).count;
      if (count >= a.least) mine += (count + a.rowsPerTile - 1) / a.rowsPerTile;
    }
    int tile = kv_before(mine, &total);
    for (int sequence = first; sequence < last; sequence++) {
      const int count = kv_rows(a.cache, sequence).count, tiles = count >= a.least ? (count + a.rowsPerTile - 1) / a.rowsPerTile : 0;
      for (int number = 0; number < tiles; number++, tile++) {
        a.tiles[PLAN_LANES + 2 * tile] = sequence;
        a.tiles[PLAN_LANES + 2 * tile + 1] = number;
      }
    }
    if (tid == 0) a.tiles[0] = total;
  }
}

// The parts of one query head, in order. grid = (rows, heads), or where a sequence has up to rowsEach rows (sequences · rowsEach, heads);
// block = headDim
extern "C" __global__ void __launch_bounds__(256) merge_splits(SplitArgs d) {
  const AttentionArgs& a = d.attention;
  const int D = a.cache.headDim, e = threadIdx.x, query = blockIdx.y % a.group;
  Share share = {d.rowsEach > 0 ? (int)blockIdx.x / d.rowsEach : 0, (int)blockIdx.y / a.group, 0, d.splits, 0};
  Rows rows = {0, 0};
  int row = blockIdx.x;
  if (d.rowsEach > 0) {
    rows = kv_served(d, share.sequence);
    row = rows.start + (int)blockIdx.x % d.rowsEach;
    if (row >= rows.start + rows.count) return;
  } else if (!kv_owner(a.cache, row, &share.sequence, &rows)) return;
  if (rows.count < d.least || rows.count > d.most) return;
  if (d.plan) kv_lane_plan(d, &share);
  if (share.splits <= 1) return;                                    // is where it belongs already
  float top = MASKED, total = 0.f, range = 0.f, value = 0.f;
  for (int i = 0; i < share.splits; i++) top = kv_max(top, kv_part(d, share, row, row - rows.start, query, i)[0]);
  for (int i = 0; i < share.splits; i++) {
    const float* part = kv_part(d, share, row, row - rows.start, query, i);
    const float factor = kv_exp2(part[0] - top);
    total = kv_fma(factor, part[1], total);
    range = kv_fma(factor, part[2], range);
    value = kv_fma(factor, part[STATISTICS + e], value);
  }
  a.output[(u64)row * a.outputStride + (u64)blockIdx.y * D + e] = total == 0.f ? 0.f : kv_divide(value, total);
  if (e == 0 && a.statistics) {
    float* out = a.statistics + ((u64)row * a.cache.kvHeads * a.group + blockIdx.y) * STATISTICS;
    out[0] = top;
    out[1] = total;
    out[2] = range;
  }
}
