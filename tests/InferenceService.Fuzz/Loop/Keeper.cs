using InferenceService.Fuzz.Coverage;

namespace InferenceService.Fuzz.Loop;

/// <summary>Shrinks a run's corpus to what is worth committing.</summary>
internal static class Keeper
{
    /// <summary>Bytes of one target's kept corpus, at most.</summary>
    private const int MaxBytes = 64 << 10;

    /// <summary>Smallest first, keeps every input that reaches something new, and writes them to <c>tests/golden/fuzz</c>.</summary>
    public static int Run(FuzzTarget target, RunOptions options, int blocks)
    {
        var coverage = new CoverageMap(blocks);
        var trial = new Trial(target);
        foreach (byte[] seed in target.Seeds())
            Reaches(seed);
        int seeds = coverage.Reached, bytes = 0;
        var kept = new List<byte[]>();
        IEnumerable<byte[]> all = Corpus.Kept(options.Golden, target.Name).Concat(Corpus.Lines(Corpus.FileIn(Path.Combine(options.Output!, target.Name))));
        foreach (byte[] input in all.OrderBy(input => input.Length).ToArray())
        {
            if (bytes + input.Length > MaxBytes || !Reaches(input))
                continue;
            kept.Add(input);
            bytes += input.Length;
        }

        Corpus.Save(Path.Combine(options.Golden, target.Name), kept);
        Console.Out.WriteLine($"{target.Name}: {kept.Count} inputs of {bytes} bytes; blocks {coverage.Reached}, of which {seeds} by the target's own seeds");
        return 0;

        bool Reaches(byte[] input)
        {
            BlockCounts.Clear(blocks);
            _ = trial.Run(input, out _);
            return coverage.TakeNew() > 0;
        }
    }
}
