using InferenceService.Text.Tokenization.PreTokenizers;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "ByteLevel": every UTF-8 byte becomes its visible character.</summary>
internal sealed class ByteLevelNormalizer : INormalizer
{
    public int? Condensation => 1;

    public string Normalize(string text) => ByteAlphabet.Encode(text);
}
