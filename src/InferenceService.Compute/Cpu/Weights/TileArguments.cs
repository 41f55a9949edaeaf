using System.Runtime.InteropServices;

namespace InferenceService.Compute.Cpu.Weights;

/// <summary>What one call of a tile kernel gets: up to 12 rows of x against one panel of a weight. Generated code knows the offsets.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct TileArguments
{
    /// <summary>The tile of x: see <see cref="WeightLayout"/>.</summary>
    public byte* X;

    /// <summary>The panel.</summary>
    public byte* Weight;

    /// <summary>First output of the first row; 32 are written in every row.</summary>
    public float* Output;

    /// <summary>Bytes from one row of the output to the next.</summary>
    public long OutputStride;

    /// <summary>Room for 32 floats a row.</summary>
    public float* Sums;

    /// <summary>Depth, a multiple of 32 (2 in bf16).</summary>
    public long Columns;

    /// <summary>Memory that will be read soon: two lines of it are fetched at every two lines of the panel.</summary>
    public byte* Ahead;

    /// <summary>Bytes by which <see cref="Ahead"/> moves each time: as fast as the panel, or slower when later tiles fetch the rest.</summary>
    public long AheadStep;

    /// <summary>Rows of the tile; a generated kernel is made for one number of rows and does not read it.</summary>
    public long Rows;
}
