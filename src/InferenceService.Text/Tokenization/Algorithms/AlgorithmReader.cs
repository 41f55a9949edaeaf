namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>The "type" switch of <c>model</c>.</summary>
internal static class AlgorithmReader
{
    /// <exception cref="TokenizerException">An unknown type, or a damaged field.</exception>
    public static IAlgorithm Read(JsonPart part)
    {
        string type = part.Optional("type")?.String() ?? Guess(part);
        return type switch
        {
            "BPE" => BytePairEncoding.Read(part),
            "Unigram" => Unigram.Read(part),
            "WordPiece" => WordPiece.Read(part),
            "WordLevel" => WordLevel.Read(part),
            _ => throw part.Error($"has the unknown type {JsonPart.Quote(type)}"),
        };
    }

    /// <summary>Files from before 2021 have no type; the fields tell.</summary>
    private static string Guess(JsonPart part)
    {
        if (part.Has("merges"))
            return "BPE";
        if (part.Optional("vocab") is { Element.ValueKind: System.Text.Json.JsonValueKind.Array })
            return "Unigram";
        if (part.Has("continuing_subword_prefix"))
            return "WordPiece";
        return part.Has("vocab") ? "WordLevel" : throw part.Error("has neither type nor vocab");
    }
}
