namespace InferenceService.Text.Tokenization;

/// <summary>Kinds of token ids, for cache policies that treat some alike (FastGen, arXiv:2310.01801 §3: special tokens and punctuation).</summary>
/// <remarks>Decided on the text a token stands for, not on its spelling in the vocabulary, where markers of spaces and bytes would hide it.</remarks>
public static class TokenKinds
{
    /// <summary>Ids of control tokens: beginning, end, instruction marks. Ascending.</summary>
    public static int[] Special(Tokenizer tokenizer) => Where(tokenizer, tokenizer.IsSpecial);

    /// <summary>Ids whose text is punctuation or ASCII symbols, spaces around it allowed; spaces alone are not. Ascending.</summary>
    public static int[] Punctuation(Tokenizer tokenizer) =>
        Where(tokenizer, id => !tokenizer.IsSpecial(id) && IsPunctuation(tokenizer.TokenText(id)));

    private static bool IsPunctuation(ReadOnlySpan<char> text)
    {
        text = text.Trim();
        foreach (char c in text)
        {
            // U+FFFD is what a part of a character decodes to: nobody knows what it will be.
            if (c == '\uFFFD' || !(char.IsPunctuation(c) || (char.IsAscii(c) && char.IsSymbol(c))))
                return false;
        }

        return !text.IsEmpty;
    }

    private static int[] Where(Tokenizer tokenizer, Predicate<int> wanted)
    {
        ArgumentNullException.ThrowIfNull(tokenizer);
        var ids = new List<int>();
        for (int id = 0; id < tokenizer.VocabularySize; id++)
            if (wanted(id))
                ids.Add(id);
        return [.. ids];
    }
}
