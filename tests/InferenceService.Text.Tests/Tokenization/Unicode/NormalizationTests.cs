using System.IO.Compression;
using System.Text.Json;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tests.Tokenization.Unicode;

public sealed class NormalizationTests
{
    [Fact]
    public void The_tests_run_under_the_setting_that_makes_string_Normalize_useless()
    {
        Assert.True(AppContext.TryGetSwitch("System.Globalization.Invariant", out bool invariant) && invariant);
    }

    [Theory]
    [InlineData(1, (int)UnicodeForm.Nfc)]
    [InlineData(2, (int)UnicodeForm.Nfd)]
    [InlineData(3, (int)UnicodeForm.Nfkc)]
    [InlineData(4, (int)UnicodeForm.Nfkd)]
    public void Every_form_agrees_with_the_goldens(int column, int form)
    {
        string path = Path.Combine(Goldens.Folder, "..", "unicode", "normalization.jsonl.gz");
        using var packed = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
        using var reader = new StreamReader(packed);
        int lines = 0;
        while (reader.ReadLine() is { } line)
        {
            string[] texts = JsonSerializer.Deserialize<string[]>(line)!;
            Assert.Equal(texts[column], Normalization.Normalize(texts[0], (UnicodeForm)form));
            Assert.Equal(texts[column], Normalization.Normalize(texts[column], (UnicodeForm)form));
            lines++;
        }

        Assert.True(lines > 500);
    }

    [Theory]
    [InlineData("plain ascii", (int)UnicodeForm.Nfkd)]
    [InlineData("naïve Ångström", (int)UnicodeForm.Nfc)]
    [InlineData("한국어 日本語 😀", (int)UnicodeForm.Nfc)]
    public void Normalized_text_comes_back_as_the_same_instance(string text, int form)
    {
        Assert.Same(text, Normalization.Normalize(text, (UnicodeForm)form));
    }

    [Fact]
    public void A_long_run_of_marks_in_the_wrong_order_is_sorted_stably()
    {
        // A million marks, two classes in turn: an insertion sort would not come back.
        string marks = string.Concat(Enumerable.Repeat("\u0301\u0316", 200_000));
        string normalized = Normalization.Normalize("x" + marks, UnicodeForm.Nfd);
        Assert.Equal("x" + new string('\u0316', 200_000) + new string('\u0301', 200_000), normalized);
    }
}
