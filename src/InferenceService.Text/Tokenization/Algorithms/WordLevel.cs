namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>Type "WordLevel": a piece is a token or it is unknown.</summary>
internal sealed class WordLevel : IAlgorithm
{
    private WordLevel(JsonPart part)
    {
        Vocabulary = Vocabulary.Read(part.Required("vocab"));
        UnknownId = Vocabulary.IdOf(part.String("unk_token", "<unk>"));
    }

    public Vocabulary Vocabulary { get; }

    public int? UnknownId { get; }

    public static WordLevel Read(JsonPart part) => new(part);

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        if (Vocabulary.TryGetId(piece, out int id))
            ids.Add(id);
        else if (UnknownId is { } unknown)
            ids.Add(unknown);
    }
}
