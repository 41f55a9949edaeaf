using System.Globalization;

namespace InferenceService.Compute.Cpu;

/// <summary>How many threads are worth starting: one a physical core that this process may really use.</summary>
public static class UsableCores
{
    /// <summary>Cores allowed by affinity, hyper-threads counted once, and by the cgroup's processor quota, rounded down; at least 1.</summary>
    /// <remarks>
    /// Rounded down because kernels wait for each other by spinning: with 2 threads on a quota of 1.5 processors the system stops both for a
    /// quarter of the time.
    /// </remarks>
    public static int Count()
    {
        int cores = Environment.ProcessorCount;
        if (!OperatingSystem.IsLinux())
            return cores;
        if (AllowedProcessors(ReadOrEmpty("/proc/self/status")) is { Count: > 0 } allowed)
            cores = Math.Min(cores, PhysicalCores(allowed));
        double quota = Math.Min(
            QuotaV2(ReadOrEmpty("/sys/fs/cgroup/cpu.max")),
            QuotaV1(ReadOrEmpty("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), ReadOrEmpty("/sys/fs/cgroup/cpu/cpu.cfs_period_us")));
        return Math.Max(1, quota < cores ? (int)quota : cores);
    }

    /// <summary>Processor numbers of the line "Cpus_allowed_list: 0-3,8" of /proc/self/status; empty when there is none.</summary>
    internal static List<int> AllowedProcessors(string status)
    {
        const string Key = "Cpus_allowed_list:";
        foreach (string line in status.Split('\n'))
        {
            if (line.StartsWith(Key, StringComparison.Ordinal))
                return ParseList(line[Key.Length..]);
        }

        return [];
    }

    /// <summary>Processors that cgroup v2 grants: "quota period" in microseconds, or "max period".</summary>
    internal static double QuotaV2(string text)
    {
        string[] parts = text.Split(' ', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return parts.Length == 2 ? QuotaV1(parts[0], parts[1]) : double.PositiveInfinity;
    }

    /// <summary>Processors that cgroup v1 grants; a quota of −1 means no limit.</summary>
    internal static double QuotaV1(string quota, string period) =>
        long.TryParse(quota, NumberStyles.Integer, CultureInfo.InvariantCulture, out long granted)
        && long.TryParse(period, NumberStyles.Integer, CultureInfo.InvariantCulture, out long each)
        && granted > 0 && each > 0 ? (double)granted / each : double.PositiveInfinity;

    /// <summary>Numbers of a list such as "0-3,8"; what is not a number is skipped.</summary>
    internal static List<int> ParseList(string text)
    {
        var numbers = new List<int>();
        foreach (string part in text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            string[] ends = part.Split('-');
            if (int.TryParse(ends[0], NumberStyles.None, CultureInfo.InvariantCulture, out int first)
                && int.TryParse(ends[^1], NumberStyles.None, CultureInfo.InvariantCulture, out int last) && last - first < 65536)
            {
                for (int i = first; i <= last; i++)
                    numbers.Add(i);
            }
        }

        return numbers;
    }

    private static int PhysicalCores(List<int> processors)
    {
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (int processor in processors)
        {
            string siblings = ReadOrEmpty(string.Create(
                CultureInfo.InvariantCulture, $"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"));
            seen.Add(siblings.Length > 0 ? siblings : processor.ToString(CultureInfo.InvariantCulture));
        }

        return seen.Count;
    }

    private static string ReadOrEmpty(string path)
    {
        try
        {
            return File.ReadAllText(path).Trim();
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return ""; // not this system's layout: the other sources decide
        }
    }
}
