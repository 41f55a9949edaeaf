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
