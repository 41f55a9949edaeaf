// The fibres behind emulation.h. A thread runs until it meets a barrier or a shuffle; a removed barrier therefore gives wrong numbers,
// a divergent one is reported with its thread. Shared memory starts poisoned.
#include "types.h"
#include "emulation.h"
#include <sys/mman.h>
#include <unistd.h>
#include <vector>
#undef threadIdx
#undef blockIdx

extern "C" void emulation_switch(void** from, void* to);
asm(R"(
.text
.globl emulation_switch
.hidden emulation_switch
emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

namespace emulation {
Block* block;
static const size_t Stack = 64 * 1024;
static const int MaxThreads = 1024;

static char* stacks() {
  static char* memory = (char*)mmap(nullptr, Stack * MaxThreads, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory;
}

static void entry() {
  Block* b = block;
  b->body(b->argument);
  b->fibres[b->current].done = true;
  b->idle = 0;
  b->live--;
  Warp& warp = b->warps[b->current >> 5];
  warp.live--;
  if (b->live > 0 && b->arrived == b->live) { b->arrived = 0; b->generation++; }    // the end of a thread may release the others
  if (warp.live > 0 && warp.arrived == warp.live) { warp.arrived = 0; warp.generation++; }
  if (b->live == 0) {
    void* ignored;
    emulation_switch(&ignored, b->launcher);
  }
  yield();
  abort();
}

void yield() {
  Block* b = block;
  if (++b->idle > 2 * b->threads + 2) {
    fprintf(stderr, "emulation: deadlock at a divergent barrier or shuffle: block (%u,%u,%u), thread %d, %d of %d at the block's barrier\n",
            b->index.x, b->index.y, b->index.z, b->current, b->arrived, b->live);
    _exit(3);
  }
  const int from = b->current;
  int to = from;
  do to = to + 1 == b->threads ? 0 : to + 1;
  while (b->fibres[to].done && to != from);
  if (to == from) return;
  b->current = to;
  emulation_switch(&b->fibres[from].stack, b->fibres[to].stack);
}

static void run(void (*body)(void*), void* argument, uint3 index, dim3 grid, dim3 size, size_t shared) {
  static std::vector<Fibre> fibres(MaxThreads);
  static std::vector<Warp> warps(MaxThreads / 32);
  static std::vector<char> memory;
  if (memory.size() < shared + 16) memory.resize(shared + 16);
  memset(memory.data(), 0xCB, shared + 16);
  Block b{};
  b.shared = (void*)(((uintptr_t)memory.data() + 15) & ~(uintptr_t)15);
  b.fibres = fibres.data();
  b.warps = warps.data();
  b.threads = b.live = (int)(size.x * size.y * size.z);
  b.index = index;
  b.grid = grid;
  b.size = size;
  b.body = body;
  b.argument = argument;
  for (int i = 0; i < (b.threads + 31) / 32; i++) {
    warps[i].generation = 0;
    warps[i].arrived = 0;
    warps[i].live = (i + 1) * 32 <= b.threads ? 32 : b.threads - i * 32;
  }
  for (int i = 0; i < b.threads; i++) {
    void** top = (void**)(stacks() + Stack * (i + 1) - 64 - (i & 15) * 64);
    *--top = nullptr;
    *--top = (void*)entry;
    for (int k = 0; k < 6; k++) *--top = nullptr;
    fibres[i] = Fibre{top, {(u32)i % size.x, (u32)i / size.x % size.y, (u32)i / (size.x * size.y)}, false};
  }
  block = &b;
  emulation_switch(&b.launcher, fibres[0].stack);
  block = nullptr;
}

void launch(void (*body)(void*), void* argument, dim3 grid, dim3 size, size_t shared) {
  for (u32 z = 0; z < grid.z; z++)
    for (u32 y = 0; y < grid.y; y++)
      for (u32 x = 0; x < grid.x; x++) run(body, argument, {x, y, z}, grid, size, shared);
}
}
