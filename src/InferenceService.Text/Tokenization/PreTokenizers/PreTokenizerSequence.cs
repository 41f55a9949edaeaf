namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "Sequence": one pre-tokenizer after the other, each on the pieces of the one before.</summary>
internal sealed class PreTokenizerSequence(JsonPart part) : IPreTokenizer
{
    private readonly IPreTokenizer[] _preTokenizers = [.. part.Array("pretokenizers").Select(PreTokenizerReader.Read)];

    public bool KeepsText => _preTokenizers.All(p => p.KeepsText);

    public bool MapsBytes => _preTokenizers.Any(p => p.MapsBytes);

    public void Split(Pieces pieces)
    {
        foreach (IPreTokenizer preTokenizer in _preTokenizers)
            preTokenizer.Split(pieces);
    }
}
