namespace InferenceService.Text.Tokenization.Decoders;

/// <summary>The "type" switch of <c>decoder</c>.</summary>
internal static class DecoderReader
{
    /// <exception cref="TokenizerException">An unknown type, or a damaged field.</exception>
    public static IDecoder Read(JsonPart part)
    {
        string type = part.String("type");
        return type switch
        {
            "BPEDecoder" => new BpeDecoder(part),
            "ByteFallback" => new ByteFallback(),
            "ByteLevel" => new ByteLevelDecoder(),
            "CTC" => new CtcDecoder(part),
            "Fuse" => new Fuse(),
            "Metaspace" => new MetaspaceDecoder(part),
            "Replace" => new ReplaceDecoder(part),
            "Sequence" => new DecoderSequence(part),
            "Strip" => new StripDecoder(part),
            "WordPiece" => new WordPieceDecoder(part),
            _ => throw part.Error($"has the unknown type {JsonPart.Quote(type)}"),
        };
    }
}
