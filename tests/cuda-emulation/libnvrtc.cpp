// A stand-in for NVRTC: it hands back the kernel file that was built with the emulation. A file it does not know, or one without the headers
// that it includes, fails to compile, with a log.
#include "registry.h"
#include "injection.h"
#include <cstring>

namespace {
enum { Success = 0, InvalidInput = 3, InvalidOption = 5, Compilation = 6 };
struct Program { std::string name, source, log, image; bool header = false; };
}

extern "C" {
int nvrtcVersion(int* major, int* minor) { *major = 13; *minor = 0; return Success; }
int nvrtcGetNumSupportedArchs(int* count) { *count = 2; return Success; }
int nvrtcGetSupportedArchs(int* architectures) { architectures[0] = 80; architectures[1] = 90; return Success; }
const char* nvrtcGetErrorString(int code) { return code == Compilation ? "NVRTC_ERROR_COMPILATION" : code == InvalidOption ? "NVRTC_ERROR_INVALID_OPTION" : "NVRTC_ERROR"; }
int nvrtcCreateProgram(Program** program, const char* source, const char* name, int headers, const char* const*, const char* const* names) {
  *program = new Program{name, source, "", "", false};
  for (int i = 0; i < headers; i++) (*program)->header |= strcmp(names[i], "prelude.cuh") == 0;
  return Success;
}
int nvrtcDestroyProgram(Program** program) { delete *program; *program = nullptr; return Success; }
int nvrtcCompileProgram(Program* program, int count, const char* const* options) {
  INJECTABLE("nvrtcCompileProgram")
  bool architecture = false;
  for (int i = 0; i < count; i++) architecture |= strcmp(options[i], "--gpu-architecture=sm_80") == 0;
  std::string module = program->name.substr(0, program->name.rfind('.'));
  const std::string size = "-DKV_HEAD_DIM=";                       // a file that was built once for every head size
  for (int i = 0; i < count; i++)
    if (strncmp(options[i], size.c_str(), size.size()) == 0) module += "_d" + std::string(options[i] + size.size());
  auto first = kernels().lower_bound(module + "/");
  const bool known = first != kernels().end() && first->second.module == module;
  if (!architecture) program->log = "error: no architecture of this device\n";
  else if (!program->header) program->log = program->name + "(1): error: cannot open source file \"prelude.cuh\"\n";
  else if (!known) program->log = program->name + ": error: the emulation was built without this file\n";
  if (!program->log.empty()) return Compilation;
  program->image = "EMULATED CUBIN " + module + "\n";
  return Success;
}
int nvrtcGetProgramLogSize(Program* program, size_t* bytes) { *bytes = program->log.size() + 1; return Success; }
int nvrtcGetProgramLog(Program* program, char* log) { strcpy(log, program->log.c_str()); return Success; }
int nvrtcGetCUBINSize(Program* program, size_t* bytes) { *bytes = program->image.size() + 1; return Success; }
int nvrtcGetCUBIN(Program* program, char* image) { strcpy(image, program->image.c_str()); return program->image.empty() ? InvalidInput : Success; }
int nvrtcGetPTXSize(Program*, size_t*) { return InvalidInput; }
int nvrtcGetPTX(Program*, char*) { return InvalidInput; }
}
