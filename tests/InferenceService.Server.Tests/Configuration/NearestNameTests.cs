using InferenceService.Server.Configuration;

namespace InferenceService.Server.Tests.Configuration;

public sealed class NearestNameTests
{
    private static readonly string[] Names = ["--max-num-seqs", "--max-num-batched-tokens", "--port", "--model"];

    [Theory]
    [InlineData("--max-num-seq", "--max-num-seqs")]
    [InlineData("--MaxNumSeqs", "--max-num-seqs")]
    [InlineData("--prot", "--port")]
    [InlineData("--modle", "--model")]
    public void A_slip_of_the_pen_finds_its_name(string written, string meant) => Assert.Equal(meant, NearestName.Of(written, Names));

    [Fact]
    public void Something_else_altogether_finds_nothing()
    {
        Assert.Null(NearestName.Of("--xyzzyplugh", Names));
        Assert.Equal("", NearestName.Hint("--xyzzyplugh", Names));
    }
}
