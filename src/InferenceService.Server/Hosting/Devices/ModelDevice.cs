using InferenceService.Compute;
using InferenceService.Cuda;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting.Devices;

/// <summary>Where the models of this process run: opened before the first is planned, disposed after the last.</summary>
internal abstract class ModelDevice : IDisposable
{
    /// <summary>"cpu" or "cuda": for metric labels and for settings whose default depends on it.</summary>
    public abstract string Kind { get; }

    /// <summary>What it is, for an operator.</summary>
    public abstract string Description { get; }

    /// <summary>A fault has made it unusable for good: the process must end and be started again. Any thread may ask.</summary>
    public virtual bool IsLost => false;

    /// <summary>The device that configuration names; only <c>auto</c> may take another than it names, and says why.</summary>
    /// <param name="configuration">Sections Engine, Cpu and Cuda.</param>
    /// <param name="environment">Cache folder of the user.</param>
    /// <param name="console">Told which libraries were found, and why <c>auto</c> takes the CPU.</param>
    /// <exception cref="CudaException">There is no usable GPU, driver or library; the message says what to do.</exception>
    public static ModelDevice Open(ServerConfiguration configuration, ProcessEnvironment environment, StartupConsole console)
    {
        if (configuration.Engine.Device == "cpu")
            return new CpuDevice(configuration.Cpu, configuration.Models.Count);
        try
        {
            return new GpuDevice(configuration, environment, console);
        }
        catch (CudaException exception) when (configuration.Engine.Device == "auto")
        {
            console.Warning($"--device auto takes the CPU: {exception.Message.ReplaceLineEndings(" ")}");
            return new CpuDevice(configuration.Cpu, configuration.Models.Count);
        }
    }

    /// <summary>Takes its place in this process, before the first backend; a device that is only asked for its facts does not.</summary>
    /// <param name="console">Told what was asked for and cannot be.</param>
    /// <param name="logger">Told what is usual.</param>
    public virtual void Begin(StartupConsole console, ILogger logger)
    {
    }

    /// <summary>What each of so many models may take.</summary>
    public abstract DeviceRoom RoomFor(int models);

    /// <summary>A backend for one model; disposed before this.</summary>
    /// <exception cref="CudaException">The device cannot hold it.</exception>
    public abstract IBackend NewBackend();

    /// <summary>Looks again once a model runs: what no plan could know has been taken by then. Null, or why there is too little left.</summary>
    public virtual string? Recheck(IBackend backend) => null;

    /// <inheritdoc/>
    public abstract void Dispose();
}
