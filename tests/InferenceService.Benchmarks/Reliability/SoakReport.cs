using System.Globalization;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>What a soak found.</summary>
internal sealed class SoakReport
{
    // Shorter runs are still warming up: code is compiled, heaps find their size.
    private const double ShortestForMemory = 900;

    /// <summary>How the requests ended.</summary>
    public required SoakTally Tally { get; init; }

    /// <summary>How long they took.</summary>
    public double Seconds { get; set; }

    /// <summary>Resident bytes of the server, second by second.</summary>
    public IReadOnlyList<(double Seconds, double Bytes)> Memory { get; set; } = [];

    /// <summary>Bytes by which it rose after the warm-up.</summary>
    public double MemoryRise { get; set; }

    /// <summary>Its mean after the warm-up.</summary>
    public double MemoryMean { get; set; }

    /// <summary>The server's own counts, afterwards.</summary>
    public SoakBooks? Books { get; set; }

    /// <summary>How the server ended when it was told to.</summary>
    public int ExitCode { get; set; }

    /// <summary>Answers that were asked for again.</summary>
    public int Compared { get; set; }

    /// <summary>Of these, those that then said something else.</summary>
    public List<string> Different { get; } = [];

    /// <summary>Everything that must not be; empty = the soak was passed.</summary>
    public List<string> Faults { get; } = [];

    /// <summary>Compares with what was promised.</summary>
    public void Judge(SoakOptions options)
    {
        Faults.AddRange(Tally.Faults);
        if (Books?.Fault is { } fault)
            Faults.Add(fault);
        Faults.AddRange(Different.Take(5));
        if (ExitCode != 0)
            Faults.Add($"the server ended with code {ExitCode}");
        if (Seconds >= ShortestForMemory && !(MemoryRise <= options.MaxRise * MemoryMean))
            Faults.Add($"memory rose by {Megabytes(MemoryRise)} after the warm-up, more than {options.MaxRise:P0} of {Megabytes(MemoryMean)}");
    }

    /// <summary>The figures.</summary>
    public ResultTable ToTable()
    {
        var table = new ResultTable("Measure", "Value");
        SoakBooks books = Books!;
        table.Add("requests, seconds", $"{Tally.Total} in {Seconds:F0} s");
        table.Add("answered in full / refused properly / left by their client / mistakes named", string.Join(
            " / ", ((SoakEnd[])[SoakEnd.Answered, SoakEnd.Refused, SoakEnd.Left, SoakEnd.Corrected]).Select(Tally.Count)));
        table.Add("lost or wrong", $"{Tally.Count(SoakEnd.Wrong)}");
        table.Add("answers by policy", string.Join(", ", Tally.Policies.Select(policy => $"{policy.Key} {policy.Value}")));
        table.Add("tokens generated, from the prefix cache, preemptions", $"{books.Generated:F0}, {books.PrefixHits:F0}, {books.Preemptions:F0}");
        table.Add("accepted by the engine = complete + left by their client + waited too long", $"{books.Accepted:F0} = {books.Complete:F0} + {books.Abandoned:F0} + {books.TimedOut:F0}");
        table.Add("KV blocks owned, KV bytes held afterwards", string.Create(CultureInfo.InvariantCulture, $"{books.Owned:P2}, {books.HeldBytes:F0}"));
        table.Add("asked again alone / different", $"{Compared} / {Different.Count}");
        table.Add("resident memory after warm-up: mean, rise, highest", $"{Megabytes(MemoryMean)}, {Megabytes(MemoryRise)}, {Megabytes(Memory.Max(sample => sample.Bytes))}");
        table.Add("exit code after SIGTERM", $"{ExitCode}");
        foreach (string fault in Faults)
            table.Add("FAULT", fault);
        return table;
    }

    private static string Megabytes(double bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F1} MB");
}
