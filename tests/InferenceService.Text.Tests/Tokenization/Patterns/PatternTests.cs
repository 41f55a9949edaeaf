using InferenceService.Text.Tokenization;
using InferenceService.Text.Tokenization.Patterns;

namespace InferenceService.Text.Tests.Tokenization.Patterns;

/// <summary>What the component goldens cannot show: refusals, bounds, and syntax that the reference reads but has no text for.</summary>
public sealed class PatternTests
{
    [Theory]
    [InlineData("(", "group without ')'")]
    [InlineData(")", "unmatched ')'")]
    [InlineData("[a", "character class without ']'")]
    [InlineData("a**b**(", "group without ')'")]
    [InlineData("*a", "nothing to repeat")]
    [InlineData("\\", "trailing '\\'")]
    [InlineData("\\p{Klingon}", "unknown property \"Klingon\"")]
    [InlineData("\\p{L", "property without '}'")]
    [InlineData("(a)\\1", "unsupported escape '\\1'")]
    [InlineData("\\k<x>", "unsupported escape '\\k'")]
    [InlineData("(?(1)a|b)", "unsupported group")]
    [InlineData("[z-a]", "wrong order")]
    [InlineData("a{3,2}", "wrong order")]
    [InlineData("a{2000}", "repeat count above 1000")]
    [InlineData("\\x{110000}", "damaged hexadecimal escape")]
    [InlineData("(?<=a+)b", "looks behind by a varying length")]
    [InlineData("(?:(?:(?:a{1,90}b){1,90}c){1,90}d){1,90}", "too large")]
    public void A_bad_expression_is_refused_in_one_line(string expression, string reason)
    {
        TokenizerException e = Assert.Throws<TokenizerException>(() => Pattern.Regex(expression));
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', e.Message);
    }

    [Fact]
    public void Nesting_and_length_are_bounded()
    {
        Assert.Throws<TokenizerException>(() => Pattern.Regex(new string('(', 5000) + new string(')', 5000)));
        Assert.Throws<TokenizerException>(() => Pattern.Regex(string.Concat(Enumerable.Repeat("[", 5000))));
        Assert.Throws<TokenizerException>(() => Pattern.Regex("a" + new string('+', 5000)));
        Assert.Throws<TokenizerException>(() => Pattern.Regex(new string('a', 100_000)));
    }

    [Theory]
    [InlineData("(a+)+b")]
    [InlineData("(?:a|aa|a?)*b")]
    [InlineData("(?=(a*)*b)x|a*a*a*a*a*b")]
    [InlineData("(?:a*)*+b")]
    public void A_catastrophic_pattern_ends_in_an_error(string expression)
    {
        Pattern pattern = Pattern.Regex(expression);
        string text = new('a', 20_000);
        TokenizerException e = Assert.Throws<TokenizerException>(() => Count(pattern, text));
        Assert.Contains("too many steps", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_loop_over_nothing_ends()
    {
        Assert.Equal(["", "", ""], Matches("(?:)*", "ab"));
        Assert.Equal(["aa"], Matches("(?:a|)*", "aa"));
        Assert.Equal(["b"], Matches("(?:a*)*b", "b"));
        Assert.Equal(["ab"], Matches("(?:(?:a|(?=b))*)+b", "ab"));
    }

    [Theory]
    [InlineData("(?<!ab|c)d", "abd cd xd", "d")]
    [InlineData("(?<=ab|c)d", "abd cd xd", "d,d")]
    [InlineData("(?<=😀)x", "😀x ax", "x")]
    [InlineData("a{2,3}?", "aaaaa", "aa,aa")]
    [InlineData("(?:ab){1,2}", "ababab", "abab,ab")]
    [InlineData("(?>a|ab)c", "abc ac", "ac")]
    [InlineData("a++a|aa", "aaa", "aa")]
    [InlineData("[\\p{L}--]", "a-b", "a,-,b")]
    [InlineData("(?i)k", "K k \u212A", "K,k,\u212A")]
    [InlineData("\\p{scx=Han}|\\p{Script=Han}", "漢", "!")]
    public void Syntax_means_what_Oniguruma_means(string expression, string text, string expected)
    {
        if (expected == "!")
        {
            Assert.Throws<TokenizerException>(() => Pattern.Regex(expression));
            return;
        }

        Assert.Equal(expected.Split(','), Matches(expression, text));
    }

    [Fact]
    public void A_long_run_is_matched_without_deep_recursion()
    {
        string text = string.Concat(Enumerable.Repeat("ab", 200_000));
        Assert.Equal([text], Matches("(?:a(?:b))+", text));
        Assert.Equal(400_000, Matches("(?:.)*$", text)[0].Length);
    }

    private static int Count(Pattern pattern, string text)
    {
        int count = 0;
        PatternScan scan = pattern.Scan(text);
        while (scan.Next())
            count++;
        return count;
    }

    private static List<string> Matches(string expression, string text)
    {
        var matches = new List<string>();
        PatternScan scan = Pattern.Regex(expression).Scan(text);
        while (scan.Next())
            matches.Add(text[scan.Start..scan.End]);
        scan.Dispose();
        return matches;
    }
}
