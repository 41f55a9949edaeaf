using System.Globalization;
using System.Runtime.InteropServices;

namespace InferenceService.Compute.Cpu;

/// <summary>Says on which processors threads may run. Linux only; other systems place them as they like.</summary>
public static partial class ThreadPlacement
{
    /// <summary>Keeps the calling thread on these processors.</summary>
    /// <returns>False when the system refuses, or has no such call.</returns>
    public static bool TryKeepThread(IReadOnlyList<int> processors) => OperatingSystem.IsLinux() && TrySet(0, Mask(processors));

    /// <summary>Keeps every thread of this process on these processors, and those that will be started.</summary>
    /// <remarks>
    /// The runtime starts each of its threads on the processors of the main thread, whoever asked for it (CPalThread::ThreadEntry of
    /// dotnet/runtime); a thread that shall run elsewhere calls <see cref="TryKeepThread"/> itself. Threads are gone through twice: one that
    /// was just starting may have read the main thread's processors before they changed, and set them after.
    /// </remarks>
    /// <returns>False when the system refuses; then nothing has changed.</returns>
    public static bool TryKeepProcess(IReadOnlyList<int> processors)
    {
        if (!OperatingSystem.IsLinux())
            return false;
        ulong[] mask = Mask(processors);
        if (!TrySet(Environment.ProcessId, mask))
            return false;
        for (int pass = 0; pass < 2; pass++)
        {
            foreach (string task in Directory.EnumerateDirectories("/proc/self/task"))
            {
                if (int.TryParse(Path.GetFileName(task), NumberStyles.None, CultureInfo.InvariantCulture, out int thread))
                    _ = TrySet(thread, mask); // one that has ended meanwhile needs no place
            }
        }

        return true;
    }

    private static bool TrySet(int thread, ulong[] mask) => SetAffinity(thread, (nuint)mask.Length * sizeof(ulong), mask) == 0;

    private static ulong[] Mask(IReadOnlyList<int> processors)
    {
        ulong[] mask = new ulong[processors.Max() / 64 + 1];
        foreach (int processor in processors)
            mask[processor / 64] |= 1UL << (processor % 64);
        return mask;
    }

    [LibraryImport("libc", EntryPoint = "sched_setaffinity")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int SetAffinity(int thread, nuint bytes, [In] ulong[] mask);
}
