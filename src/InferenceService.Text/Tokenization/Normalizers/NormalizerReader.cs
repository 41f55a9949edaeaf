using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>The "type" switch of <c>normalizer</c>.</summary>
internal static class NormalizerReader
{
    /// <exception cref="TokenizerException">An unknown type, or a damaged field.</exception>
    public static INormalizer Read(JsonPart part)
    {
        string type = part.String("type");
        return type switch
        {
            "BertNormalizer" or "Bert" => new BertNormalizer(part),
            "ByteLevel" => new ByteLevelNormalizer(),
            "Lowercase" => new Lowercase(),
            "NFC" => new UnicodeNormalizer(UnicodeForm.Nfc),
            "NFD" => new UnicodeNormalizer(UnicodeForm.Nfd),
            "NFKC" => new UnicodeNormalizer(UnicodeForm.Nfkc),
            "NFKD" => new UnicodeNormalizer(UnicodeForm.Nfkd),
            "Nmt" => new Nmt(),
            "Precompiled" => new Precompiled(part),
            "Prepend" => new Prepend(part),
            "Replace" => new Replace(part),
            "Sequence" => new NormalizerSequence(part),
            "Strip" or "StripNormalizer" => new Strip(part),
            "StripAccents" => new StripAccents(),
            _ => throw part.Error($"has the unknown type {JsonPart.Quote(type)}"),
        };
    }
}
