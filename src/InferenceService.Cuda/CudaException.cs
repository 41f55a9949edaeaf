using InferenceService.Compute;

namespace InferenceService.Cuda;

/// <summary>What a failed call means for the process.</summary>
public enum CudaFault
{
    /// <summary>Something is missing on this machine: device, driver, library, capability.</summary>
    Unavailable,

    /// <summary>Not enough memory or too many resources; the context is still good.</summary>
    Capacity,

    /// <summary>A call that should never have been made: an error of ours; the step fails.</summary>
    Usage,

    /// <summary>The context is lost and every later call fails: the process must end and be started again.</summary>
    Sticky,
}

/// <summary>A call of the driver, NVRTC or cuBLASLt that failed.</summary>
public sealed class CudaException : DeviceException
{
    /// <summary>Creates the exception of a failed call.</summary>
    /// <param name="code">The library's status.</param>
    /// <param name="name">Its name.</param>
    /// <param name="call">The call, and the kernel or the file if there is one.</param>
    /// <param name="fault">What it means.</param>
    /// <param name="advice">What to do about it.</param>
    public CudaException(int code, string name, string call, CudaFault fault, string advice)
        : base($"{call} failed with {name} ({code}). {advice}") => (Code, Name, Call, Fault) = (code, name, call, fault);

    /// <summary>Creates the exception of something that is missing here.</summary>
    public CudaException(string message) : base(message) { }

    /// <inheritdoc cref="CudaException(string)"/>
    public CudaException(string message, Exception innerException) : base(message, innerException) { }

    /// <inheritdoc cref="CudaException(string)"/>
    public CudaException() { }

    /// <summary>The library's status; 0 when no call was made.</summary>
    public int Code { get; }

    /// <summary>The status by name.</summary>
    public string Name { get; } = "";

    /// <summary>The call that failed.</summary>
    public string Call { get; } = "";

    /// <summary>What the failure means.</summary>
    public CudaFault Fault { get; } = CudaFault.Unavailable;

    /// <inheritdoc/>
    public override bool IsRefusal => Fault == CudaFault.Capacity;
}
