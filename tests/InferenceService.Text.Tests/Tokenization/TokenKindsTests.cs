using InferenceService.Text.Tokenization;

namespace InferenceService.Text.Tests.Tokenization;

public sealed class TokenKindsTests
{
    [Theory]
    [InlineData("gpt2")]
    [InlineData("llama2-spm")]
    [InlineData("t5-small")]
    public void Punctuation_is_found_by_decoded_text_whatever_marks_the_vocabulary_uses_for_spaces(string name)
    {
        Tokenizer tokenizer = Goldens.Tokenizer(name);
        int[] punctuation = TokenKinds.Punctuation(tokenizer), special = TokenKinds.Special(tokenizer);
        foreach (string mark in (string[])[".", ",", "?", "!", "(", ":"])
            Assert.Contains(tokenizer.Encode("word" + mark, addSpecialTokens: false)[^1], punctuation);
        foreach (string word in (string[])["the", "7", "a"])
            Assert.DoesNotContain(tokenizer.Encode(word, addSpecialTokens: false)[^1], punctuation);
        Assert.Empty(punctuation.Intersect(special));
        Assert.All(punctuation, id => Assert.DoesNotContain(tokenizer.TokenText(id), c => char.IsLetterOrDigit(c)));
        Assert.All(punctuation, id => Assert.False(string.IsNullOrWhiteSpace(tokenizer.TokenText(id))));
    }

    [Fact]
    public void Control_tokens_are_special_and_byte_pieces_of_characters_are_nothing()
    {
        Tokenizer tokenizer = Goldens.Tokenizer("llama2-spm");
        Assert.Equal([0, 1, 2], TokenKinds.Special(tokenizer));
        int[] punctuation = TokenKinds.Punctuation(tokenizer);
        Assert.Contains(tokenizer.TokenToId("<0x2E>")!.Value, punctuation); // a full stop
        Assert.DoesNotContain(tokenizer.TokenToId("<0xE2>")!.Value, punctuation); // may begin anything
    }
}
