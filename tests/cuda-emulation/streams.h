#pragma once
#include "types.h"
#include <cstddef>
#include <deque>
#include <functional>
typedef std::function<void()> Work;
struct Stream {
  std::deque<Work> queue;
  void run_one();
  void run_all();
};
int enqueue_work(Stream* stream, Work work);
bool is_device_memory(u64 from, size_t bytes);
