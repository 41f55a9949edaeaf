namespace InferenceService.Text.Tokenization;

/// <summary>A token that is found in the text before the algorithm sees it.</summary>
/// <param name="SingleWord">Only where no word character touches it.</param>
/// <param name="LeftStrip">Swallows white space before it.</param>
/// <param name="RightStrip">Swallows white space after it.</param>
/// <param name="Normalized">Looked for, in its own normalized form, in the normalized text; otherwise as it is in the raw text.</param>
/// <param name="Special">A control token: can be left out when decoding, and is plain text for callers who ask for that.</param>
internal sealed record AddedToken(int Id, string Content, bool SingleWord, bool LeftStrip, bool RightStrip, bool Normalized, bool Special)
{
    /// <summary>An entry of <c>added_tokens</c>.</summary>
    public static AddedToken Read(JsonPart part, int id)
    {
        bool special = part.Bool("special", false);
        string content = Algorithms.Vocabulary.Checked(part.String("content"), part);
        return new AddedToken(id, content, part.Bool("single_word", false), part.Bool("lstrip", false), part.Bool("rstrip", false),
            part.Bool("normalized", !special), special);
    }

    /// <summary>A control token that is named without flags.</summary>
    public static AddedToken Control(int id, string content) => new(id, content, false, false, false, Normalized: false, Special: true);
}
