#!/usr/bin/env bash
# Builds the stand-ins for libcuda, NVRTC and cuBLASLt, with the project's kernels inside, into tests/cuda-emulation/obj. Needs g++ (x86-64).
# Nothing is rebuilt whose sources did not change; as many compilers at a time as there are processors.
set -euo pipefail
cd "$(dirname "$0")"
kernels=../../src/InferenceService.Cuda/Kernels
out=obj/${1:-default}
mkdir -p "$out"
exec 9>"$out/lock"; flock 9                                        # two test runs may start at once

flags="-std=c++17 -O2 -fPIC -fvisibility=default -ffp-contract=off -Wall -Werror -Wno-unknown-pragmas -I. -I$kernels ${KV_EMULATION_FLAGS:-}"
common="$(cat ./*.h "$kernels"/*.cuh build.sh | sha256sum) $flags $(g++ -dumpfullversion)"
objects=()
compilers=()

compile() { # name, source, more flags
  local key
  key=$(printf '%s' "$common ${3:-} $(sha256sum < "$2")" | sha256sum)
  objects+=("$out/$1.o")
  if [[ -f $out/$1.o && -f $out/$1.key && $(< "$out/$1.key") == "$key" ]]; then return; fi
  while (($(jobs -rp | wc -l) >= $(nproc))); do wait -n || [[ $? == 127 ]]; done
  { g++ $flags ${3:-} -c "$2" -o "$out/$1.o" && printf '%s' "$key" > "$out/$1.key"; } &
  compilers+=("$!")
}

for source in ./*.cpp; do compile "$(basename "$source" .cpp)" "$source"; done
register() { # source, module, what its kernels' names end in
  sed -n -e 's/^extern "C" __global__ void .*[ )]\([a-z0-9_]\+\)([A-Za-z]* [a-z]).*/static bool added_\1 = add_kernel("'"$2"'", "\1", \1);/p' \
    -e 's/^[A-Z_]*(\([a-z0-9_]*\), KV_.*/static bool added_\1 = add_kernel("'"$2"'", "\1'"$3"'", \1'"$3"');/p' "$1"
}

kernel() { # source, module, head size or nothing
  local generated=$out/$2.kernels.cpp
  {
    if [[ -n ${3:-} ]]; then printf '#define KV_HEAD_DIM %s\n' "$3"; fi
    printf '#include "%s"\n#include "registry.h"\n' "$(realpath "$1")"
    register "$1" "$2" "${3:+_d$3}"
    printf '// %s\n' "$(sha256sum < "$1")"                         # the kernel file's own text belongs to the key
  } > "$generated.new"
  mv "$generated.new" "$generated"
  local quick=
  if [[ -n ${3:-} && $3 != 64 && $3 != 128 ]]; then quick=-O1; fi  # sizes that few tests use
  compile "$2.kernels" "$generated" "$quick"
}

for source in "$kernels"/*.cu ../InferenceService.Cuda.Tests/Modules/*.cu; do
  name=$(basename "$source" .cu)
  if ! grep -q '^#ifndef KV_HEAD_DIM' "$source"; then kernel "$source" "$name"; continue; fi
  for size in 32 48 64 80 96 112 128 256; do kernel "$source" "${name}_d$size" "$size"; done   # HeadKernels.Sizes
done

for compiler in "${compilers[@]}"; do wait "$compiler"; done        # ends here when one of them failed
if [[ ! -f $out/libcuda.so.1 || -n $(find "${objects[@]}" -newer "$out/libcuda.so.1") ]]; then
  g++ -shared ${KV_EMULATION_FLAGS:-} -o "$out/emulation.so.new" "${objects[@]}" -static-libstdc++ -static-libgcc
  mv "$out/emulation.so.new" "$out/libcuda.so.1"
  ln -sf libcuda.so.1 "$out/libnvrtc.so.13"
  ln -sf libcuda.so.1 "$out/libcublasLt.so.13"
fi
