using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Types "NFC", "NFD", "NFKC" and "NFKD".</summary>
internal sealed class UnicodeNormalizer(UnicodeForm form) : INormalizer
{
    public string Normalize(string text) => Normalization.Normalize(text, form);
}
