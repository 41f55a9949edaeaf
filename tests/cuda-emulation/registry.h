// Kernels by module and name, with what cuFuncGetParamInfo and a launch from void** need.
#pragma once
#include <cstddef>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

struct Kernel {
  std::string module;
  void (*run)(const Kernel&, void** arguments);
  void* function;
  std::vector<size_t> sizes;
};

std::map<std::string, Kernel>& kernels();                         // key: module/name

template<class... A, size_t... I> void call_kernel(void (*function)(A...), void** arguments, std::index_sequence<I...>) {
  function(*(std::remove_reference_t<A>*)arguments[I]...);
}

template<class... A> bool add_kernel(const char* module, const char* name, void (*function)(A...)) {
  kernels()[std::string(module) + "/" + name] = Kernel{
    module, [](const Kernel& kernel, void** arguments) { call_kernel((void (*)(A...))kernel.function, arguments, std::index_sequence_for<A...>{}); },
    (void*)function, {sizeof(A)...}};
  return true;
}
