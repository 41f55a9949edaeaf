namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>Type "Sequence": one pre-tokenizer after the other, each on the pieces of the one before.</summary>
internal sealed class PreTokenizerSequence(JsonPart part) : IPreTokenizer
{
    private readonly IPreTokenizer[] _preTokenizers = [.. part.Array("pretokenizers").Select(PreTokenizerReader.Read)];

    public void Split(Pieces pieces)
    {
        foreach (IPreTokenizer preTokenizer in _preTokenizers)
            preTokenizer.Split(pieces);
    }
}
