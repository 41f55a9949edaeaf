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
}
