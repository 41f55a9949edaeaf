namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>What tokenizer.json calls the model: turns one piece of text into ids. Immutable to its callers, safe for concurrent
/// use.</summary>
internal interface IAlgorithm
{
    Vocabulary Vocabulary { get; }

    /// <summary>The unknown token's id, or null. Without one, what the vocabulary cannot express is left out.</summary>
    int? UnknownId { get; }

    /// <summary>Appends the ids of a piece that is not empty.</summary>
    void Encode(ReadOnlySpan<char> piece, List<int> ids);

    /// <summary>Most UTF-16 characters of a piece that one id may stand for; null when characters may be left out or fuse without bound.</summary>
    /// <param name="mapsBytes">Pieces consist of the visible characters of bytes.</param>
    int? CharactersPerToken(bool mapsBytes) => null;
}
