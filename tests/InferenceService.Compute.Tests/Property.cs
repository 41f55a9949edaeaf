using FsCheck;
using FsCheck.Fluent;

namespace InferenceService.Compute.Tests;

/// <summary>Runs a property on random cases; a failure names the seed of its case.</summary>
internal static class Property
{
    /// <summary>Calls <paramref name="property"/> with <paramref name="cases"/> generators of different seeds.</summary>
    public static void Check(int cases, Action<Random> property) =>
        Prop.ForAll(Gen.Choose(0, int.MaxValue).ToArbitrary(), seed => property(new Random(seed)))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(cases));

    /// <summary>The case of a seed that a failure named.</summary>
    public static void Replay(int seed, Action<Random> property) => property(new Random(seed));
}
