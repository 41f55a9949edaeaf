namespace InferenceService.Text.Tokenization.Unicode;

/// <summary>The four normalization forms of UAX #15.</summary>
internal enum UnicodeForm
{
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
}
