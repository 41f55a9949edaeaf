namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "Prepend": puts a string before any text that is not empty.</summary>
internal sealed class Prepend(JsonPart part) : INormalizer
{
    private readonly string _prefix = part.String("prepend");

    public int? Condensation => 1;

    public string Normalize(string text) => text.Length == 0 ? text : _prefix + text;
}
