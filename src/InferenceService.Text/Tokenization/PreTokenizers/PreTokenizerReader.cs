namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>The "type" switch of <c>pre_tokenizer</c>.</summary>
internal static class PreTokenizerReader
{
    /// <exception cref="TokenizerException">An unknown type, or a damaged field.</exception>
    public static IPreTokenizer Read(JsonPart part)
    {
        string type = part.String("type");
        return type switch
        {
            "BertPreTokenizer" => new BertPreTokenizer(),
            "ByteLevel" => new ByteLevelPreTokenizer(part),
            "CharDelimiterSplit" or "Delimiter" => new CharDelimiterSplit(part),
            "Digits" => new Digits(part),
            "FixedLength" => new FixedLength(part),
            "Metaspace" => new MetaspacePreTokenizer(part),
            "Punctuation" => new Punctuation(part),
            "Sequence" => new PreTokenizerSequence(part),
            "Split" => new Split(part),
            "UnicodeScripts" => new UnicodeScripts(),
            "Whitespace" => new Whitespace(),
            "WhitespaceSplit" => new WhitespaceSplit(),
            _ => throw part.Error($"has the unknown type {JsonPart.Quote(type)}"),
        };
    }
}
