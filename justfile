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

# Make the architectures' golden files again and show what changed; the other folders of tests/golden say how theirs are made.
golden:
    python3 tests/golden/architectures/make_goldens.py
    git diff --stat tests/golden

# Put every file into the house style.
format:
    dotnet format

# Serve the embedded model, or whatever the arguments name.
serve *ARGS:
    dotnet run -c Release --project src/InferenceService.Server -- {{ARGS}}
