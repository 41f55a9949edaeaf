using System.Runtime.InteropServices;

namespace InferenceService.Cuda.Native;

/// <summary>The driver API, as far as it is used. Exported names with their suffixes: headers map them, an import does not.</summary>
/// <remarks>Signatures: NVIDIA, CUDA driver API reference 13.0. Device pointers are <see langword="ulong"/>, handles <see langword="nint"/>.</remarks>
internal static unsafe partial class CudaDriver
{
    private const string Library = NativeLibraries.Cuda;

    [LibraryImport(Library, EntryPoint = "cuInit")]
    public static partial CudaStatus Init(uint flags);

    [LibraryImport(Library, EntryPoint = "cuDriverGetVersion")]
    public static partial CudaStatus DriverGetVersion(int* version);

    [LibraryImport(Library, EntryPoint = "cuDeviceGetCount")]
    public static partial CudaStatus DeviceGetCount(int* count);

    [LibraryImport(Library, EntryPoint = "cuDeviceGet")]
    public static partial CudaStatus DeviceGet(int* device, int ordinal);

    [LibraryImport(Library, EntryPoint = "cuDeviceGetName")]
    public static partial CudaStatus DeviceGetName(byte* name, int length, int device);

    [LibraryImport(Library, EntryPoint = "cuDeviceGetAttribute")]
    public static partial CudaStatus DeviceGetAttribute(int* value, DeviceAttribute attribute, int device);

    [LibraryImport(Library, EntryPoint = "cuDeviceTotalMem_v2")]
    public static partial CudaStatus DeviceTotalMem(nuint* bytes, int device);

    [LibraryImport(Library, EntryPoint = "cuDevicePrimaryCtxSetFlags_v2")]
    public static partial CudaStatus PrimaryContextSetFlags(int device, uint flags);

    [LibraryImport(Library, EntryPoint = "cuDevicePrimaryCtxRetain")]
    public static partial CudaStatus PrimaryContextRetain(nint* context, int device);

    [LibraryImport(Library, EntryPoint = "cuDevicePrimaryCtxRelease_v2")]
    public static partial CudaStatus PrimaryContextRelease(int device);

    [LibraryImport(Library, EntryPoint = "cuCtxSetCurrent")]
    public static partial CudaStatus ContextSetCurrent(nint context);

    [LibraryImport(Library, EntryPoint = "cuGetErrorName")]
    public static partial CudaStatus GetErrorName(CudaStatus status, byte** name);

    [LibraryImport(Library, EntryPoint = "cuMemAlloc_v2")]
    public static partial CudaStatus MemoryAllocate(ulong* address, nuint bytes);

    [LibraryImport(Library, EntryPoint = "cuMemFree_v2")]
    public static partial CudaStatus MemoryFree(ulong address);

    [LibraryImport(Library, EntryPoint = "cuMemGetInfo_v2")]
    public static partial CudaStatus MemoryInfo(nuint* free, nuint* total);

    [LibraryImport(Library, EntryPoint = "cuMemHostAlloc")]
    public static partial CudaStatus HostAllocate(void** memory, nuint bytes, uint flags);

    [LibraryImport(Library, EntryPoint = "cuMemFreeHost")]
    public static partial CudaStatus HostFree(void* memory);

    [LibraryImport(Library, EntryPoint = "cuMemcpyHtoDAsync_v2")]
    public static partial CudaStatus CopyToDevice(ulong target, void* source, nuint bytes, nint stream);

    [LibraryImport(Library, EntryPoint = "cuMemcpyDtoHAsync_v2")]
    public static partial CudaStatus CopyToHost(void* target, ulong source, nuint bytes, nint stream);

    [LibraryImport(Library, EntryPoint = "cuMemcpyDtoDAsync_v2")]
    public static partial CudaStatus CopyOnDevice(ulong target, ulong source, nuint bytes, nint stream);

    [LibraryImport(Library, EntryPoint = "cuMemsetD8Async")]
    public static partial CudaStatus Fill(ulong target, byte value, nuint bytes, nint stream);

    [LibraryImport(Library, EntryPoint = "cuStreamCreateWithPriority")]
    public static partial CudaStatus StreamCreate(nint* stream, uint flags, int priority);

    [LibraryImport(Library, EntryPoint = "cuStreamDestroy_v2")]
    public static partial CudaStatus StreamDestroy(nint stream);

    [LibraryImport(Library, EntryPoint = "cuStreamSynchronize")]
    public static partial CudaStatus StreamSynchronize(nint stream);

    [LibraryImport(Library, EntryPoint = "cuStreamWaitEvent")]
    public static partial CudaStatus StreamWaitEvent(nint stream, nint happening, uint flags);

    [LibraryImport(Library, EntryPoint = "cuEventCreate")]
    public static partial CudaStatus EventCreate(nint* happening, uint flags);

    [LibraryImport(Library, EntryPoint = "cuEventDestroy_v2")]
    public static partial CudaStatus EventDestroy(nint happening);

    [LibraryImport(Library, EntryPoint = "cuEventRecord")]
    public static partial CudaStatus EventRecord(nint happening, nint stream);

    [LibraryImport(Library, EntryPoint = "cuEventSynchronize")]
    public static partial CudaStatus EventSynchronize(nint happening);

    [LibraryImport(Library, EntryPoint = "cuModuleLoadDataEx")]
    public static partial CudaStatus ModuleLoad(nint* module, void* image, uint options, int* names, void** values);

    [LibraryImport(Library, EntryPoint = "cuModuleUnload")]
    public static partial CudaStatus ModuleUnload(nint module);

    [LibraryImport(Library, EntryPoint = "cuModuleGetFunction")]
    public static partial CudaStatus ModuleGetFunction(nint* function, nint module, byte* name);

    [LibraryImport(Library, EntryPoint = "cuFuncLoad")]
    public static partial CudaStatus FunctionLoad(nint function);

    [LibraryImport(Library, EntryPoint = "cuFuncSetAttribute")]
    public static partial CudaStatus FunctionSetAttribute(nint function, FunctionAttribute attribute, int value);

    [LibraryImport(Library, EntryPoint = "cuFuncGetParamInfo")]
    public static partial CudaStatus FunctionGetParameter(nint function, nuint index, nuint* offset, nuint* size);

    [LibraryImport(Library, EntryPoint = "cuLaunchKernel")]
    public static partial CudaStatus Launch(
        nint function, uint gridX, uint gridY, uint gridZ, uint blockX, uint blockY, uint blockZ, uint sharedBytes, nint stream, void** arguments, void** extra);

    [LibraryImport(Library, EntryPoint = "cuStreamBeginCapture_v2")]
    public static partial CudaStatus CaptureBegin(nint stream, int mode);

    [LibraryImport(Library, EntryPoint = "cuStreamEndCapture")]
    public static partial CudaStatus CaptureEnd(nint stream, nint* graph);

    [LibraryImport(Library, EntryPoint = "cuGraphInstantiateWithFlags")]
    public static partial CudaStatus GraphInstantiate(nint* executable, nint graph, ulong flags);

    [LibraryImport(Library, EntryPoint = "cuGraphLaunch")]
    public static partial CudaStatus GraphLaunch(nint executable, nint stream);

    [LibraryImport(Library, EntryPoint = "cuGraphExecDestroy")]
    public static partial CudaStatus GraphExecutableDestroy(nint executable);

    [LibraryImport(Library, EntryPoint = "cuGraphDestroy")]
    public static partial CudaStatus GraphDestroy(nint graph);

    /// <summary>Throws unless the status is a success.</summary>
    /// <param name="call">The call, for the message.</param>
    /// <param name="about">Kernel or file, if there is one.</param>
    /// <exception cref="CudaException">The call failed.</exception>
    public static void Check(CudaStatus status, string call, string? about = null)
    {
        if (status != CudaStatus.Success)
            throw Failure(status, call, about);
    }

    private static CudaException Failure(CudaStatus status, string call, string? about)
    {
        byte* name = null;
        bool known = GetErrorName(status, &name) == CudaStatus.Success && name != null;
        return new CudaException(
            (int)status, known ? Marshal.PtrToStringUTF8((nint)name)! : "an unknown error", about is null ? call : $"{call} ({about})", status.Fault(), status.Advice());
    }
}

/// <summary>CUdevice_attribute, as far as used.</summary>
internal enum DeviceAttribute
{
    MultiprocessorCount = 16,
    L2Bytes = 38,
    CapabilityMajor = 75,
    CapabilityMinor = 76,
    SharedBytesPerMultiprocessor = 81,
    SharedBytesPerBlock = 97,
}

/// <summary>CUfunction_attribute, as far as used.</summary>
internal enum FunctionAttribute
{
    MaxDynamicSharedBytes = 8,
}
