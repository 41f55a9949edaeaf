using InferenceService.Compute.Cpu.Weights;

namespace InferenceService.Compute.Tests.Cpu.Weights;

public sealed class RowTilesTests
{
    [Fact]
    public void Tiles_cover_every_row_once_and_are_as_even_as_can_be() => Property.Check(200, random =>
    {
        int rows = random.Next(1, 700), height = random.Next(1, 13);
        RowTiles tiles = RowTiles.Of(rows, height);
        Assert.Equal((rows + height - 1) / height, tiles.Tiles);
        int[] heights = [.. Enumerable.Range(0, tiles.Tiles).Select(tile => tiles.First(tile + 1) - tiles.First(tile))];
        Assert.Equal(0, tiles.First(0));
        Assert.Equal(rows, heights.Sum());
        Assert.InRange(heights.Max(), 1, height);
        Assert.InRange(heights.Max() - heights.Min(), 0, 1);
    });
}
