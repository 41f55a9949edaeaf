using InferenceService.Fuzz.Coverage;

namespace InferenceService.Fuzz.Loop;

/// <summary>Shrinks a run's corpus to what is worth committing.</summary>
internal static class Keeper
{
    /// <summary>Bytes that inputs may take which only run a block more often than others do.</summary>
    private const int MoreOftenBytes = 32 << 10;

    /// <summary>Writes to <c>tests/golden/fuzz</c>, the smallest first, every input that reaches a new block, then some that reach one more often.</summary>
    public static int Run(FuzzTarget target, RunOptions options, int blocks)
    {
        var trial = new Trial(target);
        byte[][] seeds = [.. target.Seeds()], all =
        [
            .. Corpus.Kept(options.Golden, target.Name).Concat(Corpus.Lines(Corpus.FileIn(Path.Combine(options.Output!, target.Name)))).OrderBy(input => input.Length),
        ];
        var coverage = new CoverageMap(blocks);
        foreach (byte[] seed in seeds)
            Take(coverage, seed);
        int before = coverage.Reached;
        List<byte[]> kept = [.. all.Where(input => Take(coverage, input).NewBlocks > 0)];
        int reached = coverage.Reached, bytes = 0;
        coverage = new CoverageMap(blocks);
        foreach (byte[] input in seeds.Concat(kept))
            Take(coverage, input);
        foreach (byte[] input in all)
        {
            if (bytes + input.Length > MoreOftenBytes || Take(coverage, input).New == 0)
                continue;
            kept.Add(input);
            bytes += input.Length;
        }

        Corpus.Save(Path.Combine(options.Golden, target.Name), kept);
        Console.Out.WriteLine($"{target.Name}: {kept.Count} inputs of {kept.Sum(input => input.Length)} bytes; blocks {reached}, of which {before} by the target's own seeds");
        return 0;

        (int New, int NewBlocks) Take(CoverageMap map, byte[] input)
        {
            int had = map.Reached;
            BlockCounts.Clear(blocks);
            _ = trial.Run(input, out _);
            return (map.TakeNew(), map.Reached - had);
        }
    }
}
