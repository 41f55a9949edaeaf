namespace InferenceService.Compute;

/// <summary>How the elements of a decoder's matrix are held.</summary>
public enum WeightFormat
{
    /// <summary>As the checkpoint has them (f32, f16 or bf16), read where they lie.</summary>
    Stored,

    /// <summary>bfloat16 in the order in which the kernel reads; x is rounded to bfloat16 too. 16 bits an element; columns are a multiple of 2.</summary>
    BF16,

    /// <summary>Signed bytes with one f32 scale a row and run of 256 columns. 8.125 bits an element; columns are a multiple of 32.</summary>
    Int8,

    /// <summary>Four bits with one f16 scale a row and group of 32 columns. 4.5 bits an element; columns are a multiple of 32.</summary>
    Int4,

    /// <summary>
    /// binary16; x is rounded to binary16 too, where finite numbers beyond ±65504 become the largest that it has. 16 bits an element; columns are a
    /// multiple of 2. Devices with tensor cores alone.
    /// </summary>
    F16,
}

/// <summary>Facts about <see cref="WeightFormat"/>.</summary>
public static class WeightFormatExtensions
{
    /// <summary>True when rows of so many columns can be held in the format at all; a backend may hold fewer.</summary>
    public static bool Holds(this WeightFormat format, int columns) => format switch
    {
        WeightFormat.Stored => true,
        WeightFormat.BF16 or WeightFormat.F16 => columns > 0 && columns % 2 == 0,
        WeightFormat.Int8 or WeightFormat.Int4 => columns > 0 && columns % 32 == 0,
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "Unknown weight format."),
    };

    /// <summary>Bytes of a packed matrix, elements and scales; a backend may round the number of rows up.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The format is <see cref="WeightFormat.Stored"/>, whose size its type decides.</exception>
    public static long ByteLength(this WeightFormat format, int rows, int columns) => format switch
    {
        WeightFormat.BF16 or WeightFormat.F16 => 2L * rows * columns,
        WeightFormat.Int8 => rows * (columns + sizeof(float) * (((long)columns + 255) / 256)),
        WeightFormat.Int4 => rows * (columns / 2L + 2 * (columns / 32)),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "Only packed formats have a size of their own."),
    };
}
