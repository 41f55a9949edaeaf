using System.Runtime.InteropServices;

namespace InferenceService.Cuda.Tests;

/// <summary>What the stand-ins let a test do.</summary>
internal static unsafe class Emulation
{
    private static readonly nint Library = NativeLibrary.Load(Path.Combine(CudaUnderTest.EmulationFolder, "libcuda.so.1"));

    /// <summary>The next call of that name fails with the code; one that loses the context fails every later call, until <see cref="Heal"/>.</summary>
    public static void Fail(string call, int code)
    {
        nint name = Marshal.StringToCoTaskMemUTF8(call);
        ((delegate* unmanaged<byte*, int, void>)NativeLibrary.GetExport(Library, "emulation_inject"))((byte*)name, code);
        Marshal.FreeCoTaskMem(name);
    }

    /// <summary>Nothing fails any more.</summary>
    public static void Heal() => Fail("", 0);
}
