namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Where everything lies in a packed weight, and in the tile of x that meets it.</summary>
/// <remarks>
/// <para>
/// A weight is a row of panels of <see cref="PanelRows"/> output channels, each contiguous, in the order in which a kernel reads: one
/// step after the other along the columns, and in a step 32 words, one a channel, so that channels are the lanes of a vector and x is
/// broadcast. Channels that do not exist are zero.
/// </para>
/// <para>
/// BF16: a step is 2 columns; word = two bfloat16. Int8: a step is 4 columns; word = four bytes, code + 128; after every run of 256 columns
/// 32 f32 scales. Int4: per group of 32 columns 4 pairs of steps, then 32 f16 scales; word = four bytes, whose low nibbles are one step's
/// code + 8 and whose high nibbles the next step's.
/// </para>
/// <para>
/// x, rounded, lies in tiles of up to 12 rows (R): a step is R words, one a row. BF16: steps only. Int8, per run: R i32 "starts" (−128
/// times the sum of the run's codes, which undoes the 128 in the weight), steps, R f32 scales. Int4, per run: for every group R starts
/// (−8 times the sum of the group's codes) and 8 steps; then R scales. So a tile too is read from front to back.
/// </para>
/// </remarks>
internal static class WeightLayout
{
    /// <summary>Names what packing yields, bit for bit, in every kernel family and on every processor: another yield needs another name.</summary>
    public const string Name = "panels of 32, 1";

    /// <summary>Output channels of a panel.</summary>
    public const int PanelRows = 32;

    /// <summary>Columns that share a scale of x, and of an <see cref="WeightFormat.Int8"/> weight.</summary>
    public const int RunColumns = 256;

    /// <summary>Columns that share a scale of an <see cref="WeightFormat.Int4"/> weight.</summary>
    public const int GroupColumns = 32;

    /// <summary>Bytes of one step of a panel: a word a channel.</summary>
    public const int StepBytes = PanelRows * sizeof(int);

    /// <summary>Bytes of one <see cref="WeightFormat.Int4"/> group of a panel: half a byte an element, an f16 scale a channel.</summary>
    public const int Int4GroupBytes = PanelRows * GroupColumns / 2 + PanelRows * sizeof(ushort);

    /// <summary>Panels of a weight with so many rows.</summary>
    public static int Panels(int rows) => (rows + PanelRows - 1) / PanelRows;

    /// <summary>Runs of a row; the last may be shorter.</summary>
    public static int Runs(int columns) => (columns + RunColumns - 1) / RunColumns;

    /// <summary>Bytes of a panel.</summary>
    public static int PanelBytes(WeightFormat format, int columns) => checked(format switch
    {
        WeightFormat.BF16 => columns / 2 * StepBytes,
        WeightFormat.Int8 => columns / 4 * StepBytes + Runs(columns) * PanelRows * sizeof(float),
        _ => columns / GroupColumns * Int4GroupBytes,
    });

    /// <summary>Bytes of one row of x in a tile.</summary>
    public static int TileRowBytes(WeightFormat format, int columns) => checked(format switch
    {
        WeightFormat.BF16 => columns * 2,
        WeightFormat.Int8 => columns + Runs(columns) * (sizeof(int) + sizeof(float)),
        _ => columns + columns / GroupColumns * sizeof(int) + Runs(columns) * sizeof(float),
    });
}
