namespace InferenceService.Compute.Tests.Cpu.Weights;

/// <summary>The oracle of packed products: x rounded by plain loops, times the elements that the weight stands for, summed in binary64.</summary>
internal static class RoundedProduct
{
    /// <summary>Throws on the first output that is further from the oracle than rounding in binary32 explains.</summary>
    /// <remarks>
    /// Integers: a run (or group) sum is exact; then each of n = runs or groups costs at most four roundings of 2^−24 (x's scale is rounded
    /// once, the scaled sum once, the running sums twice), and none exceeds the sum of magnitudes so far:
    /// |error| ≤ 4 (n + 1) 2^−24 Σ|xw|. bfloat16: one or two roundings a product, |error| ≤ 2 K 2^−24 Σ|xw|; a processor that takes
    /// subnormal sums as zero loses at most 2^−126 a step.
    /// </remarks>
    public static void AssertClose(WeightFormat format, Matrix x, PackedMatrix weight, int outputs, float[] actual, string what)
    {
        int columns = x.Columns;
        int roundings = format switch { WeightFormat.Int8 => 4 * (columns / 256 + 2), WeightFormat.Int4 => 4 * (columns / 32 + 2), _ => 2 * columns };
        double[] rounded = new double[columns];
        for (int r = 0; r < x.Rows; r++)
        {
            Round(format, x.Row(r), rounded);
            for (int n = 0; n < outputs; n++)
            {
                double sum = 0, magnitude = 0;
                for (int k = 0; k < columns; k++)
                {
                    double product = rounded[k] * weight[n, k];
                    sum += product;
                    magnitude += Math.Abs(product);
                }

                double bound = roundings * Math.Pow(2, -24) * magnitude + columns * 1.2e-38;
                if (!(Math.Abs(actual[r * outputs + n] - sum) <= bound))
                    Assert.Fail($"{what}: row {r}, output {n} is {actual[r * outputs + n]:R}, expected {sum:R} ± {bound:R}.");
            }
        }
    }

    private static void Round(WeightFormat format, ReadOnlySpan<float> row, double[] rounded)
    {
        for (int start = 0; start < row.Length; start += 256)
        {
            int end = Math.Min(start + 256, row.Length);
            float largest = 0;
            for (int k = start; k < end; k++)
                largest = Math.Max(largest, Math.Abs(row[k]));
            float inverse = 127f / largest;
            for (int k = start; k < end; k++)
            {
                rounded[k] = format == WeightFormat.BF16
                    ? Bfloat16(row[k])
                    : largest == 0 ? 0 : Math.Round((double)(row[k] * inverse), MidpointRounding.ToEven) * (largest / 127.0);
            }
        }
    }

    private static float Bfloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return BitConverter.UInt32BitsToSingle((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000);
    }
}
