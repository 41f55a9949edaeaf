# What CI runs, by name. `just` lists them.
default:
    @just --list

# Compile everything; warnings are errors.
build:
    dotnet build -c Release

# All tests.
test:
    dotnet test -c Release

# Micro benchmarks and the load generator: `just bench --help`.
bench *ARGS:
    dotnet run -c Release --project tests/InferenceService.Benchmarks -- {{ARGS}}

# Look for inputs that break a reader of outside bytes: `just fuzz run chat --seconds 60`; docs/fuzzing.md.
fuzz *ARGS:
    dotnet run -c Release --project tests/InferenceService.Fuzz -- {{ARGS}}

# Make the architectures' golden files again and show what changed; the other folders of tests/golden say how theirs are made.
golden:
    python3 tests/golden/architectures/make_goldens.py
    git diff --stat tests/golden

# Write docs/configuration-reference.md from the option records.
config-reference:
    WRITE_CONFIGURATION_REFERENCE=1 dotnet test tests/InferenceService.Server.Tests --filter FullyQualifiedName~ConfigurationReference
    git diff --stat docs/configuration-reference.md

# Write the bill of materials (CycloneDX) again after a package changed; packages must be restored.
sbom:
    python3 tools/sbom/make_sbom.py

# Render and check the manifests, the board and the alerts (build the server first).
manifests:
    npm ci --prefix tests/deploy --no-audit --no-fund --loglevel error
    npm test --prefix tests/deploy

# Build the container image without an engine or a registry, and run it (as root; minutes).
image:
    tests/deploy/image/build.sh
    node tests/deploy/image/run.mjs

# Put every file into the house style.
format:
    dotnet format

# Serve the embedded model, or whatever the arguments name.
serve *ARGS:
    dotnet run -c Release --project src/InferenceService.Server -- {{ARGS}}
