using System.Globalization;

namespace InferenceService.Compute.Cpu;

/// <summary>How many threads are worth starting: one a physical core that this process may really use.</summary>
public static class UsableCores
{
    // Read once: threads that are kept on some of them later must not make it look as if there were fewer.
    private static readonly Lazy<IReadOnlyList<int>> AllowedOnce = new(() => AllowedProcessors(ReadOrEmpty("/proc/self/status")));

    /// <summary>Processors that this process was started with; empty when the system does not tell.</summary>
    internal static IReadOnlyList<int> Allowed => AllowedOnce.Value;

    /// <summary>Processors of the machine; empty when the system does not tell.</summary>
    internal static IReadOnlyList<int> Online => ParseList(ReadOrEmpty("/sys/devices/system/cpu/online"));

    /// <summary>Processors' worth of time that the cgroup grants; infinite without a limit.</summary>
    internal static double Quota => Math.Min(
        QuotaV2(ReadOrEmpty("/sys/fs/cgroup/cpu.max")),
        QuotaV1(ReadOrEmpty("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), ReadOrEmpty("/sys/fs/cgroup/cpu/cpu.cfs_period_us")));

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
        if (Allowed.Count > 0)
            cores = Math.Min(cores, Allowed.Select(CoreOf).Distinct(StringComparer.Ordinal).Count());
        double quota = Quota;
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

    /// <summary>What the processors of one core have in common.</summary>
    internal static string CoreOf(int processor)
    {
        string siblings = ReadOrEmpty(string.Create(
            CultureInfo.InvariantCulture, $"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"));
        return siblings.Length > 0 ? siblings : processor.ToString(CultureInfo.InvariantCulture);
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
