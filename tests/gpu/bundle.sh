#!/usr/bin/env bash
# Packs the GPU checks with a .NET runtime into artifacts/gpu-checks.tar.xz (under 60 MB), for a machine that has a GPU and nothing else.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=artifacts/gpu-checks
rm -rf "$out"
mkdir -p "$out/tests" "$out/src/InferenceService.Cuda" "$out/dotnet/shared/Microsoft.NETCore.App" "$out/dotnet/host"
dotnet build -c Release -v q --nologo tests/InferenceService.Cuda.Tests
cp -r tests/InferenceService.Cuda.Tests/bin/Release/net10.0 "$out/tests/bin"
cp -r src/InferenceService.Cuda/Kernels "$out/src/InferenceService.Cuda/Kernels"
cp -r tests/gpu "$out/tests/gpu"
cp InferenceService.sln "$out/"                                    # marks the root for the tests that read the kernels' sources
git rev-parse HEAD > "$out/commit"
root=$(dirname "$(readlink -f "$(command -v dotnet)")")
version=$(ls "$root/shared/Microsoft.NETCore.App" | sort -V | tail -1)
cp -r "$root/shared/Microsoft.NETCore.App/$version" "$out/dotnet/shared/Microsoft.NETCore.App/"
cp -r "$root/host" "$root/dotnet" "$out/dotnet/"
tar -C artifacts -cJf artifacts/gpu-checks.tar.xz gpu-checks
ls -l artifacts/gpu-checks.tar.xz
