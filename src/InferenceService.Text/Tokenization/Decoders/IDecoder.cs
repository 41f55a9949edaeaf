namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>Turns tokens back into text. The decoder itself is immutable; each stream of tokens gets its own stage.</summary>
internal interface IDecoder
{
    /// <summary>A stage that works for one stream and hands its output to <paramref name="next"/>.</summary>
    /// <param name="raw">The stage is to show what one token contributes, byte for byte: bytes that are not UTF-8 pass as they are, and
    /// what depends on neighbours (a leading space that is stripped at the start, a repeated token) is left as inside a text.</param>
    IDecoderStage NewStage(IDecoderStage next, bool raw);
}
