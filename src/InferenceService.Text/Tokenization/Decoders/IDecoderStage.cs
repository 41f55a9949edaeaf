namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>One stream on its way through a decoder. Tokens arrive as UTF-8, in one or more parts of whole characters, each token closed by
/// <see cref="EndToken"/>; what cannot change any more is handed on at once.</summary>
/// <remarks>A decoder of the file format maps a list of strings to a list of strings. A stage is the same function on a list that is not
/// complete yet. Its output does not depend on how the input arrives, so streaming and decoding at once agree by construction.</remarks>
internal interface IDecoderStage
{
    void Write(ReadOnlySpan<byte> utf8);

    void EndToken();

    /// <summary>No more tokens: hands on everything that was held back.</summary>
    void End();
}
