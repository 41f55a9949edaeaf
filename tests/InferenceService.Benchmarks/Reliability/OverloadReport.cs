using System.Globalization;
using InferenceService.Benchmarks.Reports;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>What an overload did to a server.</summary>
internal sealed class OverloadReport
{
    /// <summary>Each saturation and the overload behind it.</summary>
    public List<(OverloadPhase Saturated, OverloadPhase Overloaded)> Rounds { get; } = [];

    /// <summary>Resident bytes of the server, second by second.</summary>
    public IReadOnlyList<(double Seconds, double Bytes)> Memory { get; set; } = [];

    /// <summary>Bytes by which it rose after the first round.</summary>
    public double MemoryRise { get; set; }

    /// <summary>Its mean after the first round.</summary>
    public double MemoryMean { get; set; }

    /// <summary>The server's own counts, afterwards.</summary>
    public SoakBooks? Books { get; set; }

    /// <summary>How the server ended when it was told to.</summary>
    public int ExitCode { get; set; }

    /// <summary>Everything that must not be; empty = the promise held.</summary>
    public List<string> Faults { get; } = [];

    /// <summary>Good answers a second over all rounds, at saturation and under overload.</summary>
    public (double Saturated, double Overloaded) Goodput => (
        Rounds.Sum(round => round.Saturated.Tally.Good) / Rounds.Sum(round => round.Saturated.Seconds),
        Rounds.Sum(round => round.Overloaded.Tally.Good) / Rounds.Sum(round => round.Overloaded.Seconds));

    /// <summary>Proper refusals.</summary>
    public int Refused => Rounds.Sum(round => round.Overloaded.Tally.Refusals.Values.Sum());

    /// <summary>Compares with what was promised.</summary>
    public void Judge(OverloadOptions options)
    {
        foreach ((OverloadPhase saturated, OverloadPhase overloaded) in Rounds)
        {
            Faults.AddRange(saturated.Tally.Faults.Concat(overloaded.Tally.Faults).Select(fault => $"{fault.Value} times {fault.Key}"));
            if (saturated.Tally.Refusals.Count > 0)
                Faults.Add("requests were refused at saturation");
        }

        if (Books?.Fault is { } fault)
            Faults.Add(fault);
        if (ExitCode != 0)
            Faults.Add($"the server ended with code {ExitCode}");
        if (Refused == 0)
            Faults.Add("nothing was refused: this was no overload");
        if (!options.JudgesFigures)
            return;
        (double best, double under) = Goodput;
        if (!(under >= options.LeastGoodput * best))
            Faults.Add(string.Create(CultureInfo.InvariantCulture, $"goodput fell to {under / best:P1} of the best"));
        double slowest = Refusals().Percentile(99);
        if (!(slowest <= options.RefusalBound))
            Faults.Add(string.Create(CultureInfo.InvariantCulture, $"p99 of the refusals is {slowest * 1e3:F0} ms"));
        if (Rounds.Count > 1 && !(MemoryRise <= options.MaxRise * MemoryMean)) // a single round is the warm-up
            Faults.Add($"memory rose by {Megabytes(MemoryRise)}, more than {options.MaxRise:P0} of {Megabytes(MemoryMean)}");
    }

    /// <summary>The figures.</summary>
    public ResultTable ToTable()
    {
        var table = new ResultTable("Measure", "Saturated", "Overloaded");
        for (int i = 0; i < Rounds.Count; i++)
            table.Add($"round {i + 1}: offered, good answers a second", Rates(Rounds[i].Saturated), Rates(Rounds[i].Overloaded));
        (double best, double under) = Goodput;
        table.Add("good answers a second", Number(best), $"{Number(under)} = {(under / best).ToString("P1", CultureInfo.InvariantCulture)}");
        table.Add("measured seconds", Number(Rounds.Sum(round => round.Saturated.Seconds)), Number(Rounds.Sum(round => round.Overloaded.Seconds)));
        table.Add("complete / late", Answers(Rounds.Select(round => round.Saturated)), Answers(Rounds.Select(round => round.Overloaded)));
        table.Add("first token (p50 / p95 / p99)", All(Rounds.Select(round => round.Saturated.Tally.FirstSeconds)).ToMilliseconds(), All(Rounds.Select(round => round.Overloaded.Tally.FirstSeconds)).ToMilliseconds());
        string codes = string.Join(", ", Rounds.SelectMany(round => round.Overloaded.Tally.Refusals).GroupBy(one => one.Key).Select(group => $"{group.Sum(one => one.Value)} {group.Key}"));
        table.Add("proper refusals", "0", codes);
        table.Add("refusal as the client saw it (p50 / p95 / p99)", "–", Refusals().ToMilliseconds());
        table.Add("anything else", $"{Rounds.Sum(round => round.Saturated.Tally.Faults.Values.Sum())}", $"{Rounds.Sum(round => round.Overloaded.Tally.Faults.Values.Sum())}");
        table.Add("resident memory after the first round: mean, rise, highest", "", $"{Megabytes(MemoryMean)}, {Megabytes(MemoryRise)}, {Megabytes(Memory.Max(sample => sample.Bytes))}");
        foreach (string fault in Faults)
            table.Add("FAULT", "", fault);
        return table;
    }

    private Distribution Refusals() => All(Rounds.Select(round => round.Overloaded.Tally.RefusalSeconds));

    private static Distribution All(IEnumerable<Distribution> parts)
    {
        var all = new Distribution();
        foreach (Distribution part in parts)
            all.AddAll(part);
        return all;
    }

    private static string Rates(OverloadPhase phase) => $"{Number(phase.Offered)}, {Number(phase.Goodput)}";

    private static string Answers(IEnumerable<OverloadPhase> phases) => $"{phases.Sum(phase => phase.Tally.Complete)} / {phases.Sum(phase => phase.Tally.Complete - phase.Tally.Good)}";

    private static string Number(double value) => value.ToString("F1", CultureInfo.InvariantCulture);

    private static string Megabytes(double bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:F1} MB");
}
