#!/usr/bin/env bash
# The GPU checks in one command: contract and invariance suites, the engine under every policy against the processor, timings; a short table
# last. In an unpacked bundle or a checkout, or beside the archive: tests/gpu/run.sh [archive] [parts of test names ...]
# CUDA_LIBRARIES names folders with libnvrtc and libcublasLt (colons between them) where they are in no usual place.
set -euo pipefail
if [[ ${1:-} == *.tar.xz ]]; then
  tar -xJf "$1" || python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(".")' "$1"   # not every image has xz
  shift
  exec ./gpu-checks/tests/gpu/run.sh "$@"
fi
cd "$(dirname "$0")/../.."
nvidia-smi -L 2>/dev/null || echo "no nvidia-smi here"
echo "commit: $(cat commit 2>/dev/null || git rev-parse HEAD)"
dotnet=dotnet
tests=tests/InferenceService.Cuda.Tests/bin/Release/net10.0
if [[ -d dotnet ]]; then dotnet=./dotnet/dotnet tests=tests/bin DOTNET_ROOT=$PWD/dotnet; export DOTNET_ROOT; fi
if [[ ! -f $tests/InferenceService.Cuda.Tests.dll ]]; then dotnet build -c Release -v q --nologo tests/InferenceService.Cuda.Tests; fi
exec "$dotnet" "$tests/InferenceService.Cuda.Tests.dll" "$@"
