// A stand-in for libcuda over the emulation: the part of the driver API that InferenceService.Cuda uses. Streams are lazy: work waits in its
// queue until somebody waits for it, so that a staging buffer reused without an event, or a missing wait, gives wrong numbers here too.
#include "types.h"
#include "emulation.h"
#include "registry.h"
#include "injection.h"
#include "streams.h"
#include <memory>
#undef threadIdx
#undef blockIdx

std::map<std::string, Kernel>& kernels() { static std::map<std::string, Kernel> all; return all; }

namespace {
enum { Success = 0, InvalidValue = 1, OutOfMemory = 2, InvalidImage = 200, InvalidContext = 201, NotFound = 500, NotReady = 600, IllegalAddress = 700, CaptureUnsupported = 900 };

struct Module { std::string name; };
struct Event { std::shared_ptr<bool> done; Stream* stream = nullptr; };
struct Graph { std::vector<Work> work; };

std::map<u64, size_t> device, pinned;
size_t limit = (size_t)8 << 30, taken = 0;
thread_local bool current = false;
Stream* capturing = nullptr;
Graph* captured = nullptr;

bool inside(const std::map<u64, size_t>& memory, u64 from, size_t bytes) {
  auto next = memory.upper_bound(from);
  if (next == memory.begin()) return false;
  --next;
  return from >= next->first && from + bytes <= next->first + next->second;
}

int enqueue(Stream* stream, Work work) {
  if (!stream) return InvalidValue;                               // the legacy default stream is never used
  if (stream == capturing) captured->work.push_back(std::move(work));
  else stream->queue.push_back(std::move(work));
  return Success;
}
}

void Stream::run_one() {
  Work work = std::move(queue.front());
  queue.pop_front();
  work();
}
void Stream::run_all() { while (!queue.empty()) run_one(); }
int enqueue_work(Stream* stream, Work work) { return enqueue(stream, std::move(work)); }
bool is_device_memory(u64 from, size_t bytes) { return inside(device, from, bytes); }

#define NEEDS_CONTEXT(name) INJECTABLE(name) if (!current) return InvalidContext

extern "C" {
int cuInit(u32) { INJECTABLE("cuInit") return Success; }
int cuDriverGetVersion(int* version) { *version = 13000; return Success; }
int cuDeviceGetCount(int* count) { INJECTABLE("cuDeviceGetCount") *count = 1; return Success; }
int cuDeviceGet(int* handle, int ordinal) { *handle = 0; return ordinal == 0 ? Success : 101; }
int cuDeviceGetName(char* name, int length, int) { snprintf(name, length, "emulated"); return Success; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 16: *value = 4; return Success;                          // multiprocessors
    case 38: *value = 1 << 20; return Success;                    // L2
    case 75: *value = 8; return Success;                          // capability
    case 76: *value = 0; return Success;
    case 81: *value = 233472; return Success;
    case 97: *value = 232448; return Success;                     // opt-in shared memory of a block
    default: return InvalidValue;
  }
}
int cuDeviceTotalMem_v2(size_t* bytes, int) { *bytes = limit; return Success; }
int cuDevicePrimaryCtxSetFlags_v2(int, u32) { return Success; }
int cuDevicePrimaryCtxRetain(void** context, int) { INJECTABLE("cuDevicePrimaryCtxRetain") *context = (void*)&device; return Success; }
int cuDevicePrimaryCtxRelease_v2(int) { return Success; }
int cuCtxSetCurrent(void* context) { current = context != nullptr; return Success; }
int cuCtxSynchronize() { NEEDS_CONTEXT("cuCtxSynchronize"); return Success; }
int cuGetErrorName(int code, const char** name) {
  static const std::map<int, const char*> names = {
    {0, "CUDA_SUCCESS"}, {1, "CUDA_ERROR_INVALID_VALUE"}, {2, "CUDA_ERROR_OUT_OF_MEMORY"}, {100, "CUDA_ERROR_NO_DEVICE"}, {201, "CUDA_ERROR_INVALID_CONTEXT"},
    {500, "CUDA_ERROR_NOT_FOUND"}, {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {719, "CUDA_ERROR_LAUNCH_FAILED"}, {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"}};
  auto found = names.find(code);
  *name = found == names.end() ? nullptr : found->second;
  return found == names.end() ? InvalidValue : Success;
}

int cuMemAlloc_v2(u64* address, size_t bytes) {
  NEEDS_CONTEXT("cuMemAlloc_v2");
  if (bytes == 0) return InvalidValue;
  if (taken + bytes > limit) return OutOfMemory;
  void* memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!memory) return OutOfMemory;
  memset(memory, 0xCB, bytes);
  device[(u64)memory] = bytes;
  taken += bytes;
  *address = (u64)memory;
  return Success;
}
int cuMemFree_v2(u64 address) {
  NEEDS_CONTEXT("cuMemFree_v2");
  auto found = device.find(address);
  if (found == device.end()) return InvalidValue;
  taken -= found->second;
  device.erase(found);
  free((void*)address);
  return Success;
}
int cuMemGetInfo_v2(size_t* unused, size_t* total) { NEEDS_CONTEXT("cuMemGetInfo_v2"); *unused = limit - taken; *total = limit; return Success; }
int cuMemHostAlloc(void** memory, size_t bytes, u32) {
  NEEDS_CONTEXT("cuMemHostAlloc");
  *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*memory) return OutOfMemory;
  memset(*memory, 0xCB, bytes);
  pinned[(u64)*memory] = bytes;
  return Success;
}
int cuMemFreeHost(void* memory) {
  NEEDS_CONTEXT("cuMemFreeHost");
  if (!pinned.erase((u64)memory)) return InvalidValue;
  free(memory);
  return Success;
}
int cuMemcpyHtoDAsync_v2(u64 to, const void* from, size_t bytes, Stream* stream) {
  NEEDS_CONTEXT("cuMemcpyHtoDAsync_v2");
  if (!inside(device, to, bytes)) return InvalidValue;
  if (inside(pinned, (u64)from, bytes)) return enqueue(stream, [=] { memcpy((void*)to, from, bytes); });
  auto copy = std::make_shared<std::vector<char>>((const char*)from, (const char*)from + bytes);   // pageable memory is staged at once
  return enqueue(stream, [=] { memcpy((void*)to, copy->data(), bytes); });
}
int cuMemcpyDtoHAsync_v2(void* to, u64 from, size_t bytes, Stream* stream) {
  NEEDS_CONTEXT("cuMemcpyDtoHAsync_v2");
  if (!inside(device, from, bytes)) return InvalidValue;
  const bool later = inside(pinned, (u64)to, bytes);
  const int code = enqueue(stream, [=] { memcpy(to, (const void*)from, bytes); });
  if (code == Success && !later) {
    if (stream == capturing) return CaptureUnsupported;
    stream->run_all();
  }
  return code;
}
int cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t bytes, Stream* stream) {
  NEEDS_CONTEXT("cuMemcpyDtoDAsync_v2");
  if (!inside(device, to, bytes) || !inside(device, from, bytes)) return InvalidValue;
  return enqueue(stream, [=] { memmove((void*)to, (const void*)from, bytes); });
}
int cuMemsetD8Async(u64 to, u8 value, size_t bytes, Stream* stream) {
  NEEDS_CONTEXT("cuMemsetD8Async");
  if (!inside(device, to, bytes)) return InvalidValue;
  return enqueue(stream, [=] { memset((void*)to, value, bytes); });
}

int cuStreamCreateWithPriority(Stream** stream, u32 flags, int) { NEEDS_CONTEXT("cuStreamCreateWithPriority"); if (flags != 1) return InvalidValue; *stream = new Stream; return Success; }
int cuStreamDestroy_v2(Stream* stream) { NEEDS_CONTEXT("cuStreamDestroy_v2"); stream->run_all(); delete stream; return Success; }
int cuStreamSynchronize(Stream* stream) {
  NEEDS_CONTEXT("cuStreamSynchronize");
  if (stream == capturing) return CaptureUnsupported;
  stream->run_all();
  return Success;
}
int cuStreamWaitEvent(Stream* stream, Event* event, u32) {
  NEEDS_CONTEXT("cuStreamWaitEvent");
  auto done = event->done;
  Stream* source = event->stream;
  return !done ? Success : enqueue(stream, [=] { while (!*done && !source->queue.empty()) source->run_one(); });
}
int cuEventCreate(Event** event, u32) { NEEDS_CONTEXT("cuEventCreate"); *event = new Event; return Success; }
int cuEventDestroy_v2(Event* event) { delete event; return Success; }
int cuEventRecord(Event* event, Stream* stream) {
  NEEDS_CONTEXT("cuEventRecord");
  auto done = event->done = std::make_shared<bool>(false);
  event->stream = stream;
  return enqueue(stream, [=] { *done = true; });
}
int cuEventSynchronize(Event* event) {
  NEEDS_CONTEXT("cuEventSynchronize");
  while (event->done && !*event->done && !event->stream->queue.empty()) event->stream->run_one();
  return Success;
}
int cuEventQuery(Event* event) {
  NEEDS_CONTEXT("cuEventQuery");
  if (!event->done || *event->done) return Success;
  if (!event->stream->queue.empty()) event->stream->run_one();
  return *event->done ? Success : NotReady;
}

int cuModuleLoadDataEx(Module** module, const void* image, u32, int*, void**) {
  NEEDS_CONTEXT("cuModuleLoadDataEx");
  const std::string prefix = "EMULATED CUBIN ";
  const char* text = (const char*)image;
  if (strncmp(text, prefix.c_str(), prefix.size()) != 0) return InvalidImage;
  *module = new Module{std::string(text + prefix.size(), strcspn(text + prefix.size(), "\n"))};
  return Success;
}
int cuModuleUnload(Module* module) { delete module; return Success; }
int cuModuleGetFunction(const Kernel** function, Module* module, const char* name) {
  NEEDS_CONTEXT("cuModuleGetFunction");
  auto found = kernels().find(module->name + "/" + name);
  if (found == kernels().end()) return NotFound;
  *function = &found->second;
  return Success;
}
int cuFuncLoad(const Kernel*) { return Success; }
int cuFuncSetAttribute(const Kernel*, int attribute, int value) { return attribute == 8 && value <= 232448 ? Success : InvalidValue; }
int cuFuncGetParamInfo(const Kernel* kernel, size_t index, size_t* offset, size_t* size) {
  if (index >= kernel->sizes.size()) return InvalidValue;
  *offset = 0;
  for (size_t i = 0; i < index; i++) *offset += kernel->sizes[i];
  *size = kernel->sizes[index];
  return Success;
}
int cuLaunchKernel(const Kernel* kernel, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, Stream* stream, void** arguments, void**) {
  NEEDS_CONTEXT("cuLaunchKernel");
  if (!gx || !gy || !gz || !bx || !by || !bz || (u64)bx * by * bz > 1024 || gy > 65535 || gz > 65535 || shared > 232448) return InvalidValue;
  auto bytes = std::make_shared<std::vector<std::vector<char>>>();                                  // parameters are copied at the launch
  for (size_t i = 0; i < kernel->sizes.size(); i++) bytes->emplace_back((char*)arguments[i], (char*)arguments[i] + kernel->sizes[i]);
  return enqueue(stream, [=] {
    struct Call { const Kernel* kernel; std::vector<void*> arguments; } call{kernel, {}};
    for (auto& one : *bytes) call.arguments.push_back(one.data());
    emulation::launch([](void* c) { ((Call*)c)->kernel->run(*((Call*)c)->kernel, ((Call*)c)->arguments.data()); }, &call, {gx, gy, gz}, {bx, by, bz}, shared);
  });
}

int cuStreamBeginCapture_v2(Stream* stream, int mode) {
  NEEDS_CONTEXT("cuStreamBeginCapture_v2");
  if (capturing || mode != 1) return CaptureUnsupported;
  capturing = stream;
  captured = new Graph;
  return Success;
}
int cuStreamEndCapture(Stream* stream, Graph** graph) {
  NEEDS_CONTEXT("cuStreamEndCapture");
  if (stream != capturing) return CaptureUnsupported;
  *graph = captured;
  capturing = nullptr;
  return Success;
}
// An executable graph takes device memory: 1 KiB an operation here.
int cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, u64) {
  NEEDS_CONTEXT("cuGraphInstantiateWithFlags");
  if (taken + 1024 * graph->work.size() > limit) return OutOfMemory;
  taken += 1024 * graph->work.size();
  *executable = new Graph(*graph);
  return Success;
}
int cuGraphLaunch(Graph* executable, Stream* stream) {
  NEEDS_CONTEXT("cuGraphLaunch");
  for (auto& work : executable->work) enqueue(stream, work);
  return Success;
}
int cuGraphExecDestroy(Graph* executable) { taken -= 1024 * executable->work.size(); delete executable; return Success; }
int cuGraphDestroy(Graph* graph) { delete graph; return Success; }

// For tests: the named call fails once with the code; a code that loses the context fails every call from then on. 0 heals.
void emulation_inject(const char* call, int code) { injection().call = code ? call : ""; injection().code = code; injection().sticky = false; }
void emulation_limit(size_t bytes) { limit = bytes; }
}

Injection& injection() { static Injection one; return one; }
int inject(const char* call) {
  Injection& injected = injection();
  if (injected.sticky) return injected.code;
  if (injected.code == 0 || injected.call != call) return Success;
  const int code = injected.code;
  injected.sticky = code == 214 || (code >= 700 && code != 701 && code <= 719);
  if (!injected.sticky) injected.code = 0;
  return code;
}
