using InferenceService.Compute;
using InferenceService.Cuda;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Modules;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting.Devices;

/// <summary>One NVIDIA GPU. Its kernels are compiled when the first model needs them, and shared by all.</summary>
internal sealed class GpuDevice : ModelDevice
{
    private readonly CudaDevice _device;
    private readonly CudaOptions _options;
    private readonly double _utilisation;
    private readonly long _freeBytes;
    private KernelSet? _kernels;

    /// <summary>Opens the device of the Cuda section.</summary>
    /// <exception cref="CudaException">There is no usable GPU, driver or library; the message says what to do.</exception>
    public GpuDevice(ServerConfiguration configuration, ProcessEnvironment environment, StartupConsole console)
    {
        _options = configuration.Cuda.ToOptions(environment) with { Log = line => console.Fact("library", line) };
        _utilisation = configuration.Engine.GpuMemoryUtilization;
        _device = CudaDevice.Open(_options);
        _freeBytes = _device.FreeBytes();
    }

    /// <inheritdoc/>
    public override string Kind => "cuda";

    /// <inheritdoc/>
    public override string Description => FormattableString.Invariant(
        $"cuda:{_options.Device} {_device.Name}, {HumanValues.Bytes(_device.TotalBytes)} ({HumanValues.Bytes(_freeBytes)} free), compute capability {_device.Capability / 10}.{_device.Capability % 10}, driver for CUDA {_device.DriverVersion / 1000}.{_device.DriverVersion % 1000 / 10}");

    /// <inheritdoc/>
    public override bool IsLost => _device.IsLost;

    /// <summary>
    /// A share of all memory, as far as it is free, less what backends take for themselves. The rest is the margin for recorded steps and
    /// for what the driver takes.
    /// </summary>
    public override DeviceRoom RoomFor(int models)
    {
        long bytes = Math.Min((long)(_utilisation * _device.TotalBytes), _freeBytes) / models - CudaBackend.OverheadBytes;
        return new DeviceRoom(Math.Max(0, bytes), 1, AvailableMemory.Bytes() / models, "--gpu-memory-utilization");
    }

    /// <inheritdoc/>
    public override IBackend NewBackend() => new CudaBackend(_device, _kernels ??= new KernelSet(_device, _options), _options);

    /// <inheritdoc/>
    public override string? Recheck(IBackend backend) =>
        Shortage(_device.FreeBytes(), _device.TotalBytes, backend is CudaBackend cuda ? cuda.RecordedBytes : 0);

    /// <summary>A hundredth of the memory should stay free: the driver takes some of it for what only comes up while requests are served.</summary>
    internal static string? Shortage(long free, long total, long recorded) => free >= total / 100 ? null
        : $"{HumanValues.Bytes(free)} of {HumanValues.Bytes(total)} are left free on the GPU once all decode steps are recorded, which took {HumanValues.Bytes(recorded)}: "
            + "a lower --gpu-memory-utilization leaves more";

    /// <inheritdoc/>
    public override void Dispose()
    {
        _kernels?.Dispose();
        _device.Dispose();
    }
}
