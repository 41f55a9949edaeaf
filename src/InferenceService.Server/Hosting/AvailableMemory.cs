using System.Globalization;

namespace InferenceService.Server.Hosting;

/// <summary>How much memory this process may still take: the machine's, or its control group's where that is less.</summary>
internal static class AvailableMemory
{
    /// <summary>Bytes, read from the kernel.</summary>
    public static long Bytes() => Bytes("/proc/meminfo", "/sys/fs/cgroup");

    /// <summary>The same from given files, for tests.</summary>
    /// <param name="memoryInfo">A file like <c>/proc/meminfo</c>.</param>
    /// <param name="controlGroup">A folder like <c>/sys/fs/cgroup</c>, version 2 or 1.</param>
    public static long Bytes(string memoryInfo, string controlGroup)
    {
        long machine = FromMemoryInfo(memoryInfo) ?? GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        long? limit = Number(Path.Combine(controlGroup, "memory.max")) ?? Number(Path.Combine(controlGroup, "memory", "memory.limit_in_bytes"));
        long used = Number(Path.Combine(controlGroup, "memory.current")) ?? Number(Path.Combine(controlGroup, "memory", "memory.usage_in_bytes")) ?? 0;
        // File pages of the group count as used but can be taken back.
        long reclaimable = Field(Path.Combine(controlGroup, "memory.stat"), "inactive_file") ?? 0;
        return limit is { } bytes ? Math.Max(0, Math.Min(machine, bytes - used + Math.Min(reclaimable, used))) : machine;
    }

    private static long? FromMemoryInfo(string path) => Field(path, "MemAvailable:") is { } kibibytes ? kibibytes * 1024 : null;

    private static long? Field(string path, string name)
    {
        foreach (string line in Lines(path))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 2 && words[0] == name && long.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out long value))
                return value;
        }

        return null;
    }

    // "max" means no limit; so does version 1's number near 2^63.
    private static long? Number(string path) =>
        Lines(path) is [string line, ..] && long.TryParse(line.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long value) && value < 1L << 60
            ? value
            : null;

    private static string[] Lines(string path)
    {
        try
        {
            return File.Exists(path) ? File.ReadAllLines(path) : [];
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
