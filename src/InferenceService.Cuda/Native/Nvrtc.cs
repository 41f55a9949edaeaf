using System.Runtime.InteropServices;

namespace InferenceService.Cuda.Native;

/// <summary>Status of an NVRTC call (nvrtcResult), as far as it is told apart here.</summary>
internal enum NvrtcStatus
{
    Success = 0,
    OutOfMemory = 1,
    InvalidOption = 5,
    Compilation = 6,
}

/// <summary>The run-time compiler. Signatures: NVIDIA, NVRTC reference 13.0.</summary>
internal static unsafe partial class Nvrtc
{
    private const string Library = NativeLibraries.Nvrtc;

    [LibraryImport(Library, EntryPoint = "nvrtcVersion")]
    public static partial NvrtcStatus Version(int* major, int* minor);

    [LibraryImport(Library, EntryPoint = "nvrtcGetNumSupportedArchs")]
    public static partial NvrtcStatus GetArchitectureCount(int* count);

    [LibraryImport(Library, EntryPoint = "nvrtcGetSupportedArchs")]
    public static partial NvrtcStatus GetArchitectures(int* architectures);

    [LibraryImport(Library, EntryPoint = "nvrtcCreateProgram")]
    public static partial NvrtcStatus CreateProgram(nint* program, byte* source, byte* name, int headers, byte** headerSources, byte** headerNames);

    [LibraryImport(Library, EntryPoint = "nvrtcDestroyProgram")]
    public static partial NvrtcStatus DestroyProgram(nint* program);

    [LibraryImport(Library, EntryPoint = "nvrtcCompileProgram")]
    public static partial NvrtcStatus CompileProgram(nint program, int count, byte** options);

    [LibraryImport(Library, EntryPoint = "nvrtcGetProgramLogSize")]
    public static partial NvrtcStatus GetLogSize(nint program, nuint* bytes);

    [LibraryImport(Library, EntryPoint = "nvrtcGetProgramLog")]
    public static partial NvrtcStatus GetLog(nint program, byte* log);

    [LibraryImport(Library, EntryPoint = "nvrtcGetCUBINSize")]
    public static partial NvrtcStatus GetCubinSize(nint program, nuint* bytes);

    [LibraryImport(Library, EntryPoint = "nvrtcGetCUBIN")]
    public static partial NvrtcStatus GetCubin(nint program, byte* image);

    [LibraryImport(Library, EntryPoint = "nvrtcGetPTXSize")]
    public static partial NvrtcStatus GetPtxSize(nint program, nuint* bytes);

    [LibraryImport(Library, EntryPoint = "nvrtcGetPTX")]
    public static partial NvrtcStatus GetPtx(nint program, byte* image);

    [LibraryImport(Library, EntryPoint = "nvrtcGetErrorString")]
    public static partial byte* GetErrorString(NvrtcStatus status);

    /// <summary>Throws unless the status is a success.</summary>
    /// <param name="call">The call, for the message.</param>
    /// <param name="advice">What to do about it: for a source that does not compile, the compiler's words.</param>
    /// <exception cref="CudaException">The call failed.</exception>
    public static void Check(NvrtcStatus status, string call, string? advice = null)
    {
        if (status != NvrtcStatus.Success)
        {
            throw new CudaException(
                (int)status, Marshal.PtrToStringUTF8((nint)GetErrorString(status)) ?? "an unknown error", call,
                status == NvrtcStatus.OutOfMemory ? CudaFault.Capacity : CudaFault.Usage, advice ?? "This is an error of the server, please report it.");
        }
    }
}
