namespace InferenceService.Compute.Cpu.Weights;

/// <summary>Rows of x cut into tiles as even as can be.</summary>
/// <param name="Rows">Rows of x, at least 1.</param>
/// <param name="Tiles">Number of tiles; the first of them have one row more when it does not come out even.</param>
internal readonly record struct RowTiles(int Rows, int Tiles)
{
    /// <summary>The fewest tiles of at most <paramref name="height"/> rows.</summary>
    public static RowTiles Of(int rows, int height) => new(rows, (rows + height - 1) / height);

    /// <summary>First row of a tile; of the tile after the last, the number of rows.</summary>
    public int First(int tile) => Rows / Tiles * tile + Math.Min(tile, Rows % Tiles);
}
