using InferenceService.Compute;
using InferenceService.Compute.Cpu;

namespace InferenceService.Models.Tests.Architectures;

/// <summary>Every architecture with rounded weights, on every family of kernels that this processor has, each forced in turn.</summary>
public sealed class WeightFormatTests
{
    private static readonly (KernelFamily Family, SimdPath Path)[] Families =
    [
        .. new[]
        {
            (KernelFamily.Portable, SimdPath.Portable), (KernelFamily.Avx2, SimdPath.Avx2), (KernelFamily.AvxVnni, SimdPath.Avx2), (KernelFamily.Avx512, SimdPath.Avx512),
        }.Where(pair => pair.Item1.IsSupported() && pair.Item2.IsSupported()),
    ];

    public static TheoryData<KernelFamily, SimdPath, WeightFormat> Kernels
    {
        get
        {
            var data = new TheoryData<KernelFamily, SimdPath, WeightFormat>();
            foreach ((KernelFamily family, SimdPath path) in Families)
                foreach (WeightFormat format in Enum.GetValues<WeightFormat>().Where(format => format != WeightFormat.F16)) // which the processor leaves as stored
                    data.Add(family, path, format);
            return data;
        }
    }

    /// <summary>
    /// Most that rounding may move the logits of a case, root mean square over that of the logits. The worst cases measured, of random
    /// weights that forgive nothing: 8e-7, 0.015, 0.05 and 0.37.
    /// </summary>
    private static double Tolerance(WeightFormat format) => format switch
    {
        WeightFormat.Stored => 1e-5,
        WeightFormat.BF16 => 0.025,
        WeightFormat.Int8 => 0.08,
        _ => 0.6,
    };

    [Theory, MemberData(nameof(Kernels))]
    public void Logits_agree_with_the_oracle_as_far_as_the_format_allows(KernelFamily family, SimdPath path, WeightFormat format)
    {
        using var backend = new CpuBackend(2, path, family);
        foreach (string name in GoldenCase.Names)
        {
            using var golden = new GoldenCase(name);
            float[][] logits = new TestCache(golden.Load(backend, format: format), 1, 64).Run(golden.Prompt);
            double error = RelativeError(golden.Rows("logits", backend), logits);
            Assert.True(error <= Tolerance(format), $"{name}: logits are off by {error:E1} of their size"); // false for NaN
        }
    }

    [Theory, MemberData(nameof(Kernels))]
    public void Chunks_blocks_grouping_and_neighbours_leave_every_bit(KernelFamily family, SimdPath path, WeightFormat format)
    {
        using var backend = new CpuBackend(2, path, family);
        foreach (string name in GoldenCase.Names)
        {
            using var golden = new GoldenCase(name);
            DecoderModel model = golden.Load(backend, format: format), byHead = golden.Load(backend, KvGrouping.Head, format);
            float[][] expected = new TestCache(model, 1, 40).Run(golden.Prompt);
            foreach ((DecoderModel loaded, int blockSize, int chunk) in (ReadOnlySpan<(DecoderModel, int, int)>)[(model, 16, 1), (byHead, 32, 7), (byHead, 5, 40)])
            {
                var cache = new TestCache(loaded, 1, 40, blockSize);
                Assert.Equal(expected, golden.Prompt.Chunk(chunk).SelectMany(part => cache.Run(part)));
            }

            int[] other = [.. golden.Prompt.Take(23).Reverse()];
            Assert.Equal(expected, new TestCache(byHead, 2, 40).Run([golden.Prompt, other])[..golden.Prompt.Length]);
        }
    }

    [Theory]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.Int4)]
    public void Every_family_gives_the_same_bits_to_integers(WeightFormat format)
    {
        foreach (string name in GoldenCase.Names)
        {
            using var golden = new GoldenCase(name);
            float[][]? expected = null;
            foreach ((KernelFamily family, _) in Families)
            {
                // One path for all, because that decides the order of sums in norms and attention.
                using var backend = new CpuBackend(2, SimdPathExtensions.Best, family);
                float[][] logits = new TestCache(golden.Load(backend, format: format), 1, 64).Run(golden.Prompt);
                Assert.Equal(expected ??= logits, logits);
            }
        }
    }

    private static double RelativeError(float[][] expected, float[][] actual)
    {
        double lost = 0, total = 0;
        for (int row = 0; row < expected.Length; row++)
        {
            for (int column = 0; column < expected[row].Length; column++)
            {
                double difference = (double)expected[row][column] - actual[row][column];
                lost += difference * difference;
                total += (double)expected[row][column] * expected[row][column];
            }
        }

        return Math.Sqrt(lost / total);
    }
}
