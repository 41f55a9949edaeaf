using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Types "NFC", "NFD", "NFKC" and "NFKD".</summary>
internal sealed class UnicodeNormalizer(UnicodeForm form) : INormalizer
{
    /// <summary>A character composes at most 4 (Unicode Standard Annex #15, maximum expansion factor of NFD in UTF-16), each of which may
    /// stand for a surrogate pair that is only compatible with it.</summary>
    public int? Condensation => form is UnicodeForm.Nfc or UnicodeForm.Nfd ? 4 : 8;

    public string Normalize(string text) => Normalization.Normalize(text, form);
}
