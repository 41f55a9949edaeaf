using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests.Sampling;

public sealed class PhiloxTests
{
    /// <summary>Known answers of Random123 (kat_vectors, philox4x32, 10 rounds).</summary>
    [Theory]
    [InlineData(0u, 0u, 0u, 0u, 0ul, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu, 0xfffffffffffffffful, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u, 0x299f31d0a4093822ul, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Blocks_equal_the_published_vectors(uint c0, uint c1, uint c2, uint c3, ulong key, uint w0, uint w1, uint w2, uint w3) =>
        Assert.Equal(new Philox.Words(w0, w1, w2, w3), Philox.Next(key, c0, c1, c2, c3));

    [Fact]
    public void Of_32_neighbours_eight_share_a_word_of_eight_blocks()
    {
        for (int token = 64; token < 96; token++)
        {
            Philox.Words words = Philox.Next(77, (uint)(16 + token % 8), 9);
            uint[] all = [words.W0, words.W1, words.W2, words.W3];
            Assert.Equal(all[(token - 64) / 8], Philox.Word(77, 9, token));
        }
    }

    [Fact]
    public void Words_computed_side_by_side_equal_those_computed_alone()
    {
        if (!Avx2.IsSupported)
            return;
        var random = new Random(3);
        for (int round = 0; round < 50; round++)
        {
            (ulong key, int position, int token) = ((ulong)random.NextInt64(), random.Next(), random.Next(10_000) * 32);
            (Vector256<uint> w0, Vector256<uint> w1, Vector256<uint> w2, Vector256<uint> w3) = Philox.Next32(key, position, token);
            for (int i = 0; i < 32; i++)
                Assert.Equal(Philox.Word(key, position, token + i), ((i / 8) switch { 0 => w0, 1 => w1, 2 => w2, _ => w3 })[i % 8]);
        }
    }
}
