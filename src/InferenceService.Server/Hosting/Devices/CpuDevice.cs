using System.Runtime.Intrinsics.X86;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting.Devices;

/// <summary>The processor.</summary>
internal sealed partial class CpuDevice : ModelDevice
{
    private readonly CpuOptions _options;
    private readonly int _threads;
    private ProcessorSplit? _split;

    /// <summary>Decides who computes where.</summary>
    /// <param name="options">Section Cpu.</param>
    /// <param name="models">Models that will be served; the threads of several share the processors that compute.</param>
    public CpuDevice(CpuOptions options, int models)
    {
        _options = options;
        _threads = options.Threads ?? UsableCores.Count();
        bool wanted = OperatingSystem.IsLinux() && (options.KeepApart == "on" || (options.KeepApart == "auto" && models <= 1 && ProcessorSplit.IsSafe));
        _split = wanted ? ProcessorSplit.Of(_threads) : null;
    }

    /// <inheritdoc/>
    public override string Kind => "cpu";

    /// <inheritdoc/>
    public override string Description
    {
        get
        {
            KernelFamily kernels = _options.Family ?? KernelFamilyExtensions.Best(SimdPathExtensions.Best);
            string places = _split is null ? "" : $" on processors {ProcessorSplit.Text(_split.Compute)} (all else on {ProcessorSplit.Text(_split.Others)})";
            return FormattableString.Invariant($"cpu, {_threads} threads{places}, {InstructionSet()}, kernels {CpuOptions.Word(kernels)}");
        }
    }

    /// <summary>Sends the threads that are there, and those to come, to the processors of the others; backends take theirs from there.</summary>
    public override void Begin(StartupConsole console, ILogger logger)
    {
        bool asked = _options.KeepApart == "on";
        string? problem = _split is not null ? null
            : !OperatingSystem.IsLinux() ? "this system is not asked to place threads"
            : asked ? FormattableString.Invariant($"{_threads} threads compute on all processors of this process; lower --threads to leave some")
            : "all processors compute, or other processes may use them too";
        if (_split is not null && !ThreadPlacement.TryKeepProcess(_split.Others))
            (_split, problem) = (null, "the system refuses to place threads");
        if (problem is null)
            return;
        if (asked)
            console.Warning($"Cpu:KeepApart: on has no effect: {problem}.");
        else
            LogTogether(logger, problem);
    }

    /// <inheritdoc/>
    public override DeviceRoom RoomFor(int models) => DeviceRoom.Host(AvailableMemory.Bytes() / models);

    /// <inheritdoc/>
    public override IBackend NewBackend() => new CpuBackend(_threads, kernels: _options.Family, processors: _split?.Compute);

    /// <inheritdoc/>
    public override void Dispose()
    {
    }

    private static string InstructionSet() => Avx512F.IsSupported ? "AVX-512" : Avx2.IsSupported ? "AVX2" : "portable vectors";

    [LoggerMessage(Level = LogLevel.Debug, Message = "HTTP and the engine share processors: {Reason}")]
    private static partial void LogTogether(ILogger logger, string reason);
}
