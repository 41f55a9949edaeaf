using System.Globalization;
using System.Text;

namespace InferenceService.Compute.Cpu;

/// <summary>The processors of this process, shared out between the threads that compute and all others.</summary>
/// <param name="Compute">One for each thread that computes.</param>
/// <param name="Others">For the rest of the process; none of them is in <paramref name="Compute"/>.</param>
public sealed record ProcessorSplit(IReadOnlyList<int> Compute, IReadOnlyList<int> Others)
{
    /// <summary>
    /// True when the processors are this process's own, as far as it can be seen: its affinity is a part of the machine's processors
    /// (somebody dealt them out) and no quota stops it from using all of them. Elsewhere another process may choose the same ones.
    /// </summary>
    public static bool IsSafe => IsOwn(UsableCores.Allowed, UsableCores.Online, UsableCores.Quota);

    /// <summary>The split for so many threads; null where every processor computes, or the system tells none.</summary>
    public static ProcessorSplit? Of(int threads) => Of(threads, UsableCores.Allowed, UsableCores.CoreOf);

    /// <summary>The same from given facts.</summary>
    /// <remarks>
    /// Threads get a core each before any gets a core's second processor. They begin at the last core: the first serves most
    /// interrupts of most machines. The others get whole cores where there are any, and else the siblings of cores that compute.
    /// </remarks>
    /// <param name="allowed">Processors of this process.</param>
    /// <param name="coreOf">Equal for processors of one core.</param>
    internal static ProcessorSplit? Of(int threads, IReadOnlyList<int> allowed, Func<int, string> coreOf)
    {
        if (threads >= allowed.Count)
            return null;
        List<int[]> cores = [.. allowed.GroupBy(coreOf, StringComparer.Ordinal).Select(core => core.ToArray())];
        var compute = new List<int>();
        for (int sibling = 0; compute.Count < threads; sibling++)
        {
            for (int core = cores.Count - 1; core >= 0 && compute.Count < threads; core--)
            {
                if (sibling < cores[core].Length)
                    compute.Add(cores[core][sibling]);
            }
        }

        compute.Sort();
        int[] untouched = [.. cores.Where(core => !core.Any(compute.Contains)).SelectMany(core => core).Order()];
        return new ProcessorSplit(compute, untouched.Length > 0 ? untouched : [.. allowed.Except(compute)]);
    }

    /// <summary><see cref="IsSafe"/> from given facts.</summary>
    internal static bool IsOwn(IReadOnlyList<int> allowed, IReadOnlyList<int> online, double quota) =>
        allowed.Count > 0 && allowed.Count < online.Count && quota >= allowed.Count;

    /// <summary>Processor numbers as the system writes them: "0-3,8".</summary>
    public static string Text(IReadOnlyList<int> processors)
    {
        var text = new StringBuilder();
        for (int i = 0, end; i < processors.Count; i = end + 1)
        {
            for (end = i; end + 1 < processors.Count && processors[end + 1] == processors[end] + 1; end++)
            {
            }

            text.Append(CultureInfo.InvariantCulture, $"{(i > 0 ? "," : "")}{processors[i]}");
            if (end > i)
                text.Append(CultureInfo.InvariantCulture, $"-{processors[end]}");
        }

        return text.ToString();
    }
}
