using System.Globalization;
using System.Text;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tests.Tokenization.Unicode;

public sealed class CodePointSetTests
{
    [Fact]
    public void Sets_behave_like_sets()
    {
        var chance = new Random(7);
        for (int round = 0; round < 200; round++)
        {
            HashSet<int> plainA = [], plainB = [];
            CodePointSet a = Random(chance, plainA), b = Random(chance, plainB);
            CodePointSet union = new();
            union.Add(a);
            union.Add(b);
            CodePointSet both = a.Intersect(b), not = a.Complement();
            CodePointMatcher frozen = a.Freeze();
            for (int c = 0; c < 400; c++)
            {
                Assert.Equal(plainA.Contains(c), a.Contains(c));
                Assert.Equal(plainA.Contains(c), frozen.Contains(c));
                Assert.Equal(!plainA.Contains(c), not.Contains(c));
                Assert.Equal(plainA.Contains(c) || plainB.Contains(c), union.Contains(c));
                Assert.Equal(plainA.Contains(c) && plainB.Contains(c), both.Contains(c));
            }
        }
    }

    [Theory]
    [InlineData("a", 1)]
    [InlineData("😀", 2)]
    [InlineData("𠀀", 2)]
    public void A_match_takes_the_whole_code_point(string text, int length)
    {
        CodePointMatcher matcher = CodePointSet.Of(Rune.GetRuneAt(text, 0).Value).Freeze();
        Assert.Equal(length, matcher.MatchLength(text, 0));
        Assert.Equal(0, matcher.MatchLength("-" + text, 0));
        Assert.Equal(length, matcher.MatchLength("-" + text, 1));
    }

    [Fact]
    public void Half_a_pair_is_not_its_character()
    {
        CodePointMatcher emoji = CodePointSet.Of(0x1F600).Freeze();
        Assert.Equal(0, emoji.MatchLength("\uD83D", 0));
        Assert.Equal(0, emoji.MatchLength("\uD83Dx", 0));
    }

    [Fact]
    public void Categories_cover_the_supplementary_planes()
    {
        Assert.True(Categories.Of(UnicodeCategory.UppercaseLetter).Contains(0x10400));
        Assert.True(Categories.Of(UnicodeCategory.OtherLetter).Contains(0x20000));
        Assert.True(Categories.Alphabetic.Contains(0x1F130));
        Assert.False(Categories.Alphabetic.Contains(0x94D));
        Assert.True(Categories.Word.Contains(0x94D));
    }

    private static CodePointSet Random(Random chance, HashSet<int> plain)
    {
        var set = new CodePointSet();
        for (int i = chance.Next(6); i > 0; i--)
        {
            int first = chance.Next(390);
            int last = Math.Min(395, first + chance.Next(30));
            set.Add(first, last);
            plain.UnionWith(Enumerable.Range(first, last - first + 1));
        }

        return set;
    }
}
