#!/usr/bin/env bash
# Packs the GPU checks, the server and a .NET runtime into artifacts/gpu-checks.tar.xz (under 60 MB), for a machine that has a GPU and nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=artifacts/gpu-checks
most=$((60 * 1000 * 1000))
rm -rf "$out"
mkdir -p "$out/tests" "$out/src/InferenceService.Cuda" "$out/dotnet/shared" "$out/dotnet/host"
dotnet build -c Release -v q --nologo tests/InferenceService.Cuda.Tests
cp -r tests/InferenceService.Cuda.Tests/bin/Release/net10.0 "$out/tests/bin"
find "$out/tests/bin" \( -name '*.pdb' -o -name '*.xml' \) -delete
rm -rf "$out/tests/bin/Embedded/lckv-storyteller"                  # the server's other built-in model, which no check serves
cp -r src/InferenceService.Cuda/Kernels "$out/src/InferenceService.Cuda/Kernels"
cp -r tests/gpu "$out/tests/gpu"
# Where there is no GPU the archive can be tried on the emulation, which g++ builds on first use.
mkdir -p "$out/tests/cuda-emulation" "$out/tests/InferenceService.Cuda.Tests/Modules"
cp tests/cuda-emulation/*.sh tests/cuda-emulation/*.cpp tests/cuda-emulation/*.h "$out/tests/cuda-emulation/"
cp tests/InferenceService.Cuda.Tests/Modules/*.cu "$out/tests/InferenceService.Cuda.Tests/Modules/"
mkdir "$out/tools" && cp -r tools/gpu-peers "$out/tools/"
cp InferenceService.sln "$out/"                                    # marks the root for the tests that read the kernels' sources
git rev-parse HEAD > "$out/commit"
root=$(dotnet --list-runtimes | sed -n 's|^Microsoft.NETCore.App .* \[\(.*\)/shared/Microsoft.NETCore.App\]$|\1|p' | tail -1)
for framework in Microsoft.NETCore.App Microsoft.AspNetCore.App; do
  version=$(ls "$root/shared/$framework" | sort -V | tail -1)
  mkdir -p "$out/dotnet/shared/$framework"
  cp -r "$root/shared/$framework/$version" "$out/dotnet/shared/$framework/"
done
cp -r "$root/host" "$root/dotnet" "$out/dotnet/"
tar -C artifacts -cJf artifacts/gpu-checks.tar.xz gpu-checks
ls -l artifacts/gpu-checks.tar.xz
bytes=$(stat -c %s artifacts/gpu-checks.tar.xz)
if ((bytes >= most)); then echo "the bundle has $bytes bytes; it must stay below $most" >&2; exit 1; fi
