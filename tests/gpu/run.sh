#!/usr/bin/env bash
# The GPU checks in one command: contract and invariance suites, the engine under every policy against the processor, a storm, the server over
# HTTP, timings, policies against a pool of fixed size, memory and races by compute-sanitizer and other software's steps where these are installed; a
# short table last. In an unpacked bundle or a checkout, or beside the archive: tests/gpu/run.sh [archive] [parts of test names, timings, or
# policies with part of a policy's name ...]; with names only those run, and nothing else.
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
if [[ -d dotnet ]]; then
  dotnet=$PWD/dotnet/dotnet tests=tests/bin DOTNET_ROOT=$PWD/dotnet PATH=$PWD/dotnet:$PATH
  export DOTNET_ROOT PATH
fi
if [[ ! -f $tests/InferenceService.Cuda.Tests.dll ]]; then dotnet build -c Release -v q --nologo tests/InferenceService.Cuda.Tests; fi
if (($# > 0)); then exec "$dotnet" "$tests/InferenceService.Cuda.Tests.dll" "$@"; fi

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
code=0
"$dotnet" "$tests/InferenceService.Cuda.Tests.dll" 2>&1 | tee "$logs/tests" || code=1

sanitize() { # tool
  local tool=$1 found
  found=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
  if [[ -z $found ]]; then printf '%-34s not run: compute-sanitizer is not installed\n' "$tool" >> "$logs/sanitizer"; return; fi
  echo "compute-sanitizer $tool ..."
  local result=clean
  "$found" --tool "$tool" --error-exitcode 99 --print-limit 20 --log-file "$logs/$tool" \
    "$dotnet" "$tests/InferenceService.Cuda.Tests.dll" CudaBackendTests DecodeTests FlashTests OperandTests PackedWeightTests RecordedStepTests SamplingTests SplitPlanTests > "$logs/$tool.tests" 2>&1 || result="exit code $?"
  if [[ $result != clean ]]; then code=1; tail -40 "$logs/$tool" "$logs/$tool.tests" 2>/dev/null || true; fi
  printf '%-34s %s (%s)\n' "$tool" "$result" "$(grep -h SUMMARY "$logs/$tool" 2>/dev/null | tail -1 | sed 's/^=* *//')" >> "$logs/sanitizer"
}
sanitize memcheck
sanitize racecheck

# On the emulation there is nothing to compare with.
if grep -q '^device: emulated' "$logs/tests" || ! python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  echo "peers                              not run: PyTorch and a GPU are needed" > "$logs/peers"
else
  python3 tools/gpu-peers/peers.py 2>&1 | tee "$logs/peers" || code=1
fi

echo
sed -n '/^device: /h; //!H; $ { x; p }' "$logs/tests"               # from its last line "device:" on, the table
cat "$logs/sanitizer" "$logs/peers"
exit "$code"
