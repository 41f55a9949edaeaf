# The server on a CPU, with the storyteller inside: docker build -t inference-service:0.1.0 . && docker run --read-only -p 8000:8000 inference-service:0.1.0
# docs/deploy.md says what was proved of it.
ARG DOTNET=10.0

FROM mcr.microsoft.com/dotnet/sdk:${DOTNET} AS build
WORKDIR /source
# Packages change less often than code: their layer is kept.
COPY global.json Directory.Build.props Directory.Packages.props BannedSymbols.txt .editorconfig ./
COPY src/InferenceService.Compute/InferenceService.Compute.csproj src/InferenceService.Compute/packages.lock.json src/InferenceService.Compute/
COPY src/InferenceService.Cuda/InferenceService.Cuda.csproj src/InferenceService.Cuda/packages.lock.json src/InferenceService.Cuda/
COPY src/InferenceService.Models/InferenceService.Models.csproj src/InferenceService.Models/packages.lock.json src/InferenceService.Models/
COPY src/InferenceService.Text/InferenceService.Text.csproj src/InferenceService.Text/packages.lock.json src/InferenceService.Text/
COPY src/InferenceService.Engine/InferenceService.Engine.csproj src/InferenceService.Engine/packages.lock.json src/InferenceService.Engine/
COPY src/InferenceService.Server/InferenceService.Server.csproj src/InferenceService.Server/packages.lock.json src/InferenceService.Server/
# First against the lock files; then what compiling ahead for this processor adds, which they do not list.
ARG TARGETARCH
RUN dotnet restore src/InferenceService.Server --locked-mode \
 && dotnet restore src/InferenceService.Server -a "${TARGETARCH:-amd64}" -p:PublishReadyToRun=true -p:RestoreLockedMode=false
COPY src src
# What /version calls the commit.
ARG COMMIT=unknown
RUN dotnet publish src/InferenceService.Server --no-restore -c Release -a "${TARGETARCH:-amd64}" --no-self-contained \
      -p:PublishReadyToRun=true -p:DebugType=none -p:RunAnalyzers=false -p:SourceRevisionId="${COMMIT}" \
      -p:PublishDocumentationFiles=false -p:PublishReferencesDocumentationFiles=false -o /app

# No shell, no package manager; user 1654.
FROM mcr.microsoft.com/dotnet/aspnet:${DOTNET}-noble-chiseled
WORKDIR /app
COPY --from=build /app .
ENV DOTNET_RUNNING_IN_CONTAINER=true \
    DOTNET_EnableDiagnostics=0 \
    ASPNETCORE_HTTP_PORTS=""
USER 1654
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s CMD ["dotnet", "InferenceService.Server.dll", "--health-check"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["dotnet", "InferenceService.Server.dll"]
