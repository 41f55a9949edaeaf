using FsCheck;
using FsCheck.Fluent;

namespace InferenceService.Engine.Tests;

/// <summary>A property over seeded scenarios; a failure names the seed, and FsCheck's own replay seed.</summary>
internal static class Property
{
    public static void Check(int runs, Action<int> body)
    {
        Arbitrary<int> seeds = Gen.Choose(0, int.MaxValue - 1).ToArbitrary();
        Prop.ForAll(seeds, seed =>
        {
            try
            {
                body(seed);
            }
            catch (Exception failure)
            {
                throw new InvalidOperationException($"seed {seed}: {failure.Message}", failure);
            }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(runs));
    }
}
