namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Type "Sequence": each decoder works on the output of the one before.</summary>
internal sealed class DecoderSequence(JsonPart part) : IDecoder
{
    private readonly IDecoder[] _decoders = [.. part.Array("decoders").Select(DecoderReader.Read)];

    public IDecoderStage NewStage(IDecoderStage next, bool raw)
    {
        for (int i = _decoders.Length - 1; i >= 0; i--)
            next = _decoders[i].NewStage(next, raw);
        return next;
    }
}
