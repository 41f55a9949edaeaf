using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Cuda.Verbs;

/// <summary>Packed weights as they lie on a device, row after row, and how the host rounds a row.</summary>
/// <remarks>
/// BF16 and F16: elements, padded with zeros to 16 bytes. Int8: codes, then one f32 scale a run of 256 columns. Int4: byte i of a group of 32 holds
/// elements i and i + 16, each + 8; then one f16 scale a group. Every row is padded to 16 bytes. Codes and scales are those of the CPU backend.
/// </remarks>
internal static unsafe class PackedRows
{
    public const int Run = 256, Group = 32;

    private const int Alignment = 16;
    private const float Smallest = 7.888609e-31f; // 2^-100: below it a reciprocal would overflow

    /// <summary>Levels from zero to where a group's largest element falls: the CPU backend's candidates for the scale.</summary>
    private static ReadOnlySpan<float> Reaches => [7.2f, 7.6f, 8f, 8.4f, 8.8f];

    /// <summary>Elements from row to row of a BF16 weight.</summary>
    public static int Stride(int columns) => checked((columns + 7) / 8 * 8);

    /// <summary>Runs of a row; the last may be shorter.</summary>
    public static int Runs(int columns) => (columns + Run - 1) / Run;

    /// <summary>Bytes of a row.</summary>
    public static int Bytes(WeightFormat format, int columns)
    {
        int bytes = format switch
        {
            WeightFormat.BF16 or WeightFormat.F16 => checked(Stride(columns) * sizeof(ushort)),
            WeightFormat.Int8 => checked(columns + Runs(columns) * sizeof(float)),
            _ => columns / 2 + columns / Group * sizeof(ushort),
        };
        return (bytes + Alignment - 1) / Alignment * Alignment;
    }

    /// <summary>The host's rows are the packed rows already, one behind the other: nothing is rounded, and they go as they lie.</summary>
    public static bool IsAsStored(WeightFormat format, in Tensor host) =>
        (format, host.Type) is (WeightFormat.BF16, DType.BF16) or (WeightFormat.F16, DType.F16) && host.IsDense && Stride(host.Columns) == host.Columns;

    /// <summary>Rounds a row of a host matrix.</summary>
    /// <param name="values">Room for the row in f32.</param>
    /// <param name="target">A row's bytes, all zero.</param>
    /// <returns>What rounding lost.</returns>
    public static WeightError Round(WeightFormat format, Tensor host, int row, Span<float> values, Span<byte> target)
    {
        byte* source = (byte*)host.Address + row * host.RowBytes;
        for (int c = 0; c < host.Columns; c++)
            values[c] = Read(host.Type, source, c);
        return format switch
        {
            WeightFormat.BF16 => BF16(values, MemoryMarshal.Cast<byte, ushort>(target)),
            WeightFormat.F16 => F16(values, MemoryMarshal.Cast<byte, Half>(target)),
            WeightFormat.Int8 => Int8(values, target),
            _ => Int4(values, target),
        };
    }

    private static WeightError BF16(ReadOnlySpan<float> values, Span<ushort> target)
    {
        double lost = 0, total = 0;
        for (int c = 0; c < values.Length; c++)
        {
            uint bits = BitConverter.SingleToUInt32Bits(values[c]);
            target[c] = (ushort)(float.IsNaN(values[c]) ? (bits >> 16) | 0x40 : (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
            double difference = (double)BitConverter.UInt32BitsToSingle((uint)target[c] << 16) - values[c];
            (lost, total) = (lost + difference * difference, total + (double)values[c] * values[c]);
        }

        return new WeightError(lost, total);
    }

    private static WeightError F16(ReadOnlySpan<float> values, Span<Half> target)
    {
        double lost = 0, total = 0;
        for (int c = 0; c < values.Length; c++)
        {
            float value = values[c];
            target[c] = (Half)(float.IsFinite(value) ? Math.Clamp(value, (float)Half.MinValue, (float)Half.MaxValue) : value);
            double difference = (double)target[c] - value;
            (lost, total) = (lost + difference * difference, total + (double)value * value);
        }

        return new WeightError(lost, total);
    }

    private static WeightError Int8(ReadOnlySpan<float> values, Span<byte> target)
    {
        double lost = 0, total = 0;
        Span<float> scales = MemoryMarshal.Cast<byte, float>(target[values.Length..]);
        for (int start = 0; start < values.Length; start += Run)
        {
            ReadOnlySpan<float> run = values[start..Math.Min(start + Run, values.Length)];
            float largest = Math.Abs(Largest(run));
            if (!Scalable(largest))
            {
                scales[start / Run] = Unscalable(largest);
                continue;
            }

            float scale = scales[start / Run] = largest / 127f, inverse = 127f / largest;
            for (int c = 0; c < run.Length; c++)
            {
                float code = MathF.Round(run[c] * inverse);
                target[start + c] = (byte)(sbyte)code;
                double difference = run[c] - (double)code * scale;
                (lost, total) = (lost + difference * difference, total + (double)run[c] * run[c]);
            }
        }

        return new WeightError(lost, total);
    }

    private static WeightError Int4(ReadOnlySpan<float> values, Span<byte> target)
    {
        double lost = 0, total = 0;
        Span<Half> scales = MemoryMarshal.Cast<byte, Half>(target[(values.Length / 2)..]);
        for (int start = 0; start < values.Length; start += Group)
        {
            ReadOnlySpan<float> group = values.Slice(start, Group);
            float largest = Largest(group), magnitude = Math.Abs(largest);
            bool usable = Scalable(magnitude);
            Half scale = scales[start / Group] = (Half)(usable ? BestScale(group, largest) : Unscalable(magnitude));
            float step = usable ? (float)scale : 0, inverse = step == 0 ? 0 : 1 / step;
            for (int c = 0; c < Group; c++)
            {
                float value = usable ? group[c] : 0, level = Level(value * inverse);
                target[start / 2 + c % 16] |= (byte)((int)(level + 8) << (c / 16 * 4));
                double difference = value - (double)level * step;
                (lost, total) = (lost + difference * difference, total + (double)value * value);
            }
        }

        return new WeightError(lost, total);
    }

    /// <summary>The scale that explains most of the group's squares: with the codes of each candidate the best is Σvq / Σq².</summary>
    private static float BestScale(ReadOnlySpan<float> group, float largest)
    {
        float best = 0, scale = 0;
        foreach (float reach in Reaches)
        {
            float inverse = -reach / largest, product = 0, square = 0;
            foreach (float value in group)
            {
                float level = Level(value * inverse);
                product += value * level;
                square += level * level;
            }

            float fitted = product / square, explained = product * fitted;
            if (explained > best)
                (best, scale) = (explained, fitted);
        }

        return scale;
    }

    private static float Level(float value) => Math.Clamp(MathF.Round(value), -8f, 7f);

    /// <summary>The first element of largest magnitude; a NaN wins.</summary>
    private static float Largest(ReadOnlySpan<float> values)
    {
        float largest = 0;
        foreach (float value in values)
        {
            if (float.IsNaN(value))
                return value;
            if (Math.Abs(value) > Math.Abs(largest))
                largest = value;
        }

        return largest;
    }

    private static bool Scalable(float magnitude) => magnitude >= Smallest && magnitude <= float.MaxValue;

    private static float Unscalable(float magnitude) => magnitude < Smallest ? 0 : float.NaN;

    private static float Read(DType type, byte* row, int column) => type switch
    {
        DType.F32 => ((float*)row)[column],
        DType.F16 => (float)((Half*)row)[column],
        _ => BitConverter.UInt32BitsToSingle((uint)((ushort*)row)[column] << 16),
    };
}
