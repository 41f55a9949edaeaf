namespace InferenceService.Text.Tokenization.Normalizers;

/// <summary>Rewrites text before it is split. Immutable, safe for concurrent use.</summary>
internal interface INormalizer
{
    /// <summary>The rewritten text; the same instance when nothing changed. Never called with an empty text by the pipeline.</summary>
    string Normalize(string text);

    /// <summary>Most UTF-16 characters of a text that become one; null when characters may vanish.</summary>
    int? Condensation => null;
}
