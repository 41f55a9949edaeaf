using System.Runtime.InteropServices;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Devices;

/// <summary>One GPU and its primary context.</summary>
/// <remarks>Calls need the context current on their thread: every entry from outside begins with <see cref="MakeCurrent"/>.</remarks>
public sealed unsafe class CudaDevice : IDisposable
{
    private const int OldestMajor = 8;       // bf16 mma and cp.async
    private const uint BlockingSync = 4;

    [ThreadStatic]
    private static nint _current;

    private readonly int _handle;
    private readonly nint _context;
    private volatile bool _isLost;

    private CudaDevice(int handle, nint context, string name, long totalBytes, int driverVersion) =>
        (_handle, _context, Name, TotalBytes, DriverVersion) = (handle, context, name, totalBytes, driverVersion);

    /// <summary>The GPU's own name.</summary>
    public string Name { get; }

    /// <summary>All of its memory.</summary>
    public long TotalBytes { get; }

    /// <summary>CUDA version of the driver: 1000 · major + 10 · minor.</summary>
    public int DriverVersion { get; }

    /// <summary>Compute capability: 10 · major + minor.</summary>
    public int Capability { get; private init; }

    /// <summary>Multiprocessors.</summary>
    public int Multiprocessors { get; private init; }

    /// <summary>Most dynamic shared memory of a block.</summary>
    public int SharedBytesPerBlock { get; private init; }

    /// <summary>A sticky fault has happened: nothing more can be done on the device, and nothing is given back. Any thread may ask.</summary>
    public bool IsLost => _isLost;

    /// <summary>Opens the device that the options name.</summary>
    /// <exception cref="CudaException">No driver, no such device, or one that is too old; the message says what to do.</exception>
    public static CudaDevice Open(CudaOptions options)
    {
        NativeLibraries.Configure(options.LibraryPath, options.Log);
        _ = NativeLibraries.Require(NativeLibraries.Cuda);
        CudaDriver.Check(CudaDriver.Init(0), "cuInit");
        int version, count, handle;
        CudaDriver.Check(CudaDriver.DriverGetVersion(&version), "cuDriverGetVersion");
        if (version / 1000 < LibraryCandidates.OldestMajor)
            throw new CudaException($"The driver is one for CUDA {version / 1000}.{version % 1000 / 10}; {LibraryCandidates.OldestMajor}.0 or newer is needed: update it.");
        NativeLibraries.LimitTo(version / 1000);
        CudaDriver.Check(CudaDriver.DeviceGetCount(&count), "cuDeviceGetCount");
        if (count == 0)
            throw new CudaException((int)CudaStatus.NoDevice, "CUDA_ERROR_NO_DEVICE", "cuDeviceGetCount", CudaFault.Unavailable, CudaStatus.NoDevice.Advice());
        if (options.Device < 0 || options.Device >= count)
            throw new CudaException($"Device {options.Device} was asked for; this machine has devices 0 to {count - 1}.");
        CudaDriver.Check(CudaDriver.DeviceGet(&handle, options.Device), "cuDeviceGet");
        int capability = 10 * Attribute(handle, DeviceAttribute.CapabilityMajor) + Attribute(handle, DeviceAttribute.CapabilityMinor);
        byte* name = stackalloc byte[256];
        CudaDriver.Check(CudaDriver.DeviceGetName(name, 256, handle), "cuDeviceGetName");
        string known = Marshal.PtrToStringUTF8((nint)name) ?? "unnamed";
        if (capability < 10 * OldestMajor)
            throw new CudaException($"{known} has compute capability {capability / 10}.{capability % 10}; {OldestMajor}.0 or newer is needed.");
        nuint bytes;
        CudaDriver.Check(CudaDriver.DeviceTotalMem(&bytes, handle), "cuDeviceTotalMem");
        nint context;
        _ = CudaDriver.PrimaryContextSetFlags(handle, BlockingSync); // a wish: another user of the context may have set its own
        CudaDriver.Check(CudaDriver.PrimaryContextRetain(&context, handle), "cuDevicePrimaryCtxRetain", known);
        return new CudaDevice(handle, context, known, (long)bytes, version)
        {
            Capability = capability,
            Multiprocessors = Attribute(handle, DeviceAttribute.MultiprocessorCount),
            SharedBytesPerBlock = Attribute(handle, DeviceAttribute.SharedBytesPerBlock),
        };
    }

    /// <summary>Makes the context that of the calling thread.</summary>
    internal void MakeCurrent()
    {
        if (_current == _context)
            return;
        Check(CudaDriver.ContextSetCurrent(_context), "cuCtxSetCurrent");
        _current = _context;
    }

    /// <summary>Throws unless the status is a success; remembers a sticky one.</summary>
    /// <exception cref="CudaException">The call failed.</exception>
    internal void Check(CudaStatus status, string call, string? about = null)
    {
        if (status == CudaStatus.Success)
            return;
        _isLost |= status.Fault() == CudaFault.Sticky;
        CudaDriver.Check(status, call, about);
    }

    /// <summary>As <see cref="Check(CudaStatus, string, string?)"/>, for cuBLASLt.</summary>
    internal void Check(CublasStatus status, string call)
    {
        _isLost |= status is CublasStatus.ExecutionFailed or CublasStatus.MappingError;
        CublasLt.Check(status, call);
    }

    /// <summary>Bytes free now, of all processes.</summary>
    public long FreeBytes()
    {
        MakeCurrent();
        nuint free, total;
        Check(CudaDriver.MemoryInfo(&free, &total), "cuMemGetInfo");
        return (long)free;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (IsLost)
            return;
        if (_current == _context)
        {
            _ = CudaDriver.ContextSetCurrent(0);
            _current = 0;
        }

        _ = CudaDriver.PrimaryContextRelease(_handle);
    }

    private static int Attribute(int device, DeviceAttribute attribute)
    {
        int value;
        CudaDriver.Check(CudaDriver.DeviceGetAttribute(&value, attribute, device), "cuDeviceGetAttribute", attribute.ToString());
        return value;
    }
}
