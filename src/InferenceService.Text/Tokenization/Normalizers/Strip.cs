namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Type "Strip": white space off the left end, the right end or both.</summary>
internal sealed class Strip(JsonPart part) : INormalizer
{
    private readonly bool _left = part.Bool("strip_left", true);
    private readonly bool _right = part.Bool("strip_right", true);

    public string Normalize(string text)
    {
        if (_left)
            text = text.TrimStart();
        return _right ? text.TrimEnd() : text;
    }
}
