using InferenceService.Models.Layers;

namespace InferenceService.Models.Tests.Layers;

public sealed class RotaryEmbeddingTests
{
    private static readonly RopeConfig Dynamic = new()
    {
        Theta = 10_000,
        RotaryDim = 8,
        Scaling = new RopeScaling { Kind = RopeScaling.Dynamic, Factor = 2, OriginalMaxPositions = 16 },
    };

    private static float[] Fill(RopeConfig config, int maxPositions, params int[] positions)
    {
        var cosSin = new float[positions.Length * config.RotaryDim];
        new RotaryEmbedding(config, maxPositions).Fill(positions, cosSin);
        return cosSin;
    }

    [Fact]
    public void A_row_is_cosines_then_sines_of_the_position_times_the_frequencies()
    {
        float[] row = Fill(new RopeConfig { Theta = 100, RotaryDim = 4 }, 64, 3);
        Assert.Equal([(float)Math.Cos(3), (float)Math.Cos(0.3), (float)Math.Sin(3), (float)Math.Sin(0.3)], row, (a, b) => Math.Abs(a - b) < 1e-7f);
    }

    [Fact]
    public void Position_zero_rotates_nothing() => Assert.Equal([1, 1, 0, 0], Fill(new RopeConfig { Theta = 100, RotaryDim = 4 }, 64, 0));

    [Fact]
    public void Far_positions_keep_their_precision()
    {
        const int position = 100_000_001; // as f32 it would be 100000000
        float[] row = Fill(new RopeConfig { Theta = 100, RotaryDim = 2 }, 1 << 28, position);
        Assert.Equal([(float)Math.Cos(position), (float)Math.Sin(position)], row);
    }

    [Fact]
    public void Under_dynamic_scaling_a_rotation_does_not_depend_on_its_neighbours()
    {
        int[] positions = [.. Enumerable.Range(0, 40)];
        Assert.Equal(positions.SelectMany(position => Fill(Dynamic, 32, position)), Fill(Dynamic, 32, positions));
    }

    [Fact]
    public void Dynamic_scaling_begins_beyond_the_original_context()
    {
        RopeConfig plain = Dynamic with { Scaling = null };
        Assert.Equal(Fill(plain, 32, 0, 7, 15), Fill(Dynamic, 32, 0, 7, 15));
        Assert.NotEqual(Fill(plain, 32, 16), Fill(Dynamic, 32, 16));
    }

    [Fact]
    public void Longrope_chooses_its_list_by_the_longest_sequence_to_be_served()
    {
        var config = new RopeConfig
        {
            Theta = 100,
            RotaryDim = 4,
            Scaling = new RopeScaling
            {
                Kind = RopeScaling.LongRope,
                OriginalMaxPositions = 64,
                AttentionFactor = 1,
                ShortFactors = [1, 2],
                LongFactors = [4, 8],
            },
        };
        Assert.Equal((float)Math.Cos(0.3 / 2), Fill(config, 64, 3)[1]);
        Assert.Equal((float)Math.Cos(0.3 / 8), Fill(config, 65, 3)[1]);
    }

    [Fact]
    public void Attention_factor_is_inside_cosines_and_sines()
    {
        var config = new RopeConfig
        {
            Theta = 10_000,
            RotaryDim = 4,
            Scaling = new RopeScaling { Kind = RopeScaling.Yarn, Factor = 8, OriginalMaxPositions = 64 },
        };
        float[] row = Fill(config, 512, 5);
        float expected = (float)(0.1 * Math.Log(8) + 1);
        Assert.Equal(expected, MathF.Sqrt(row[0] * row[0] + row[2] * row[2]), 1e-5f);
        Assert.Equal(expected, MathF.Sqrt(row[1] * row[1] + row[3] * row[3]), 1e-5f);
    }
}
