namespace InferenceService.Cuda.Native;

/// <summary>Status of a driver call (CUresult), as far as it is told apart here.</summary>
/// <remarks>Values: NVIDIA, CUDA driver API reference, "Data types used by CUDA driver".</remarks>
internal enum CudaStatus
{
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    StubLibrary = 34,
    DeviceUnavailable = 46,
    NoDevice = 100,
    InvalidDevice = 101,
    InvalidImage = 200,
    InvalidContext = 201,
    NoBinaryForGpu = 209,
    EccUncorrectable = 214,
    InvalidHandle = 400,
    NotFound = 500,
    NotReady = 600,
    IllegalAddress = 700,
    LaunchOutOfResources = 701,
    LaunchTimeout = 702,
    Assert = 710,
    HardwareStackError = 714,
    IllegalInstruction = 715,
    MisalignedAddress = 716,
    InvalidAddressSpace = 717,
    InvalidProgramCounter = 718,
    LaunchFailed = 719,
    SystemNotReady = 802,
    SystemDriverMismatch = 803,
    CaptureUnsupported = 900,
    Unknown = 999,
}

/// <summary>Facts about <see cref="CudaStatus"/>.</summary>
internal static class CudaStatusExtensions
{
    /// <summary>What a status means for the process.</summary>
    public static CudaFault Fault(this CudaStatus status) => status switch
    {
        CudaStatus.OutOfMemory or CudaStatus.LaunchOutOfResources => CudaFault.Capacity,
        CudaStatus.EccUncorrectable or CudaStatus.IllegalAddress or CudaStatus.LaunchTimeout or CudaStatus.Assert or CudaStatus.HardwareStackError
            or CudaStatus.IllegalInstruction or CudaStatus.MisalignedAddress or CudaStatus.InvalidAddressSpace or CudaStatus.InvalidProgramCounter
            or CudaStatus.LaunchFailed or CudaStatus.Unknown => CudaFault.Sticky,
        CudaStatus.StubLibrary or CudaStatus.DeviceUnavailable or CudaStatus.NoDevice or CudaStatus.InvalidDevice or CudaStatus.SystemNotReady
            or CudaStatus.SystemDriverMismatch or CudaStatus.NoBinaryForGpu => CudaFault.Unavailable,
        _ => CudaFault.Usage,
    };

    /// <summary>What to do about a status.</summary>
    public static string Advice(this CudaStatus status) => status switch
    {
        CudaStatus.NoDevice => "No GPU is visible: check the driver, and CUDA_VISIBLE_DEVICES or the container's --gpus.",
        CudaStatus.InvalidDevice => "There is no device of that number.",
        CudaStatus.StubLibrary => "libcuda is the toolkit's stub, not the driver's: take its folder out of the library path.",
        CudaStatus.SystemDriverMismatch => "The driver's kernel module and library have different versions: restart the machine or update the container's driver.",
        CudaStatus.DeviceUnavailable or CudaStatus.SystemNotReady => "The GPU is taken or not ready: look at nvidia-smi.",
        CudaStatus.NoBinaryForGpu or CudaStatus.InvalidImage => "The compiled kernel does not fit this GPU: delete the kernel cache.",
        _ => status.Fault() switch
        {
            CudaFault.Capacity => "The GPU has too little free memory or resources: lower the memory utilisation or the batch, or free the GPU.",
            CudaFault.Sticky => "The GPU's context is lost: the process must be restarted.",
            CudaFault.Unavailable => "The GPU cannot be used.",
            _ => "This is an error of the server, please report it.",
        },
    };
}
