namespace InferenceService.Text.Tokenization;

/// <summary>One Encode call: the text's way through added tokens, normalizer, pre-tokenizer and algorithm.</summary>
internal sealed class EncodingRun(TokenizerParts parts, bool parseSpecialTokens, List<int> ids)
{
    private readonly Pieces _pieces = new();
    private readonly List<AddedVocabulary.Segment> _rawSegments = [];
    private readonly List<AddedVocabulary.Segment> _segments = [];

    public void Append(string text)
    {
        parts.Added.CutRaw(text, parseSpecialTokens, _rawSegments);
        foreach (AddedVocabulary.Segment segment in _rawSegments)
        {
            if (segment.Id >= 0)
                ids.Add(segment.Id);
            else
                AppendText(segment.Start == 0 && segment.End == text.Length ? text : text[segment.Start..segment.End], segment.Start == 0);
        }
    }

    private void AppendText(string text, bool atStart)
    {
        string normalized = parts.Normalizer?.Normalize(text) ?? text;
        parts.Added.CutNormalized(normalized, parseSpecialTokens, _segments);
        foreach (AddedVocabulary.Segment segment in _segments)
        {
            if (segment.Id >= 0)
            {
                ids.Add(segment.Id);
                continue;
            }

            _pieces.Reset(normalized.AsSpan(segment.Start, segment.End - segment.Start), atStart && segment.Start == 0);
            parts.PreTokenizer?.Split(_pieces);
            for (int i = 0; i < _pieces.Count; i++)
                parts.Algorithm.Encode(_pieces.Text(_pieces[i]), ids);
        }
    }
}
