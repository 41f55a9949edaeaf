using InferenceService.Text.Tokenization.Algorithms;
using InferenceService.Text.Tokenization.Normalizers;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization;

/// <summary>All added tokens: by id, by content, and as a cutter of texts. Immutable.</summary>
internal sealed class AddedVocabulary
{
    private readonly Dictionary<int, AddedToken> _byId = [];
    private readonly Dictionary<string, AddedToken> _byContent = new(StringComparer.Ordinal);
    private readonly Dictionary<int, string> _decodedForms = [];
    private readonly AddedTokenFinder _raw;
    private readonly AddedTokenFinder _normalized;

    /// <param name="tokens">In order of priority rising: a later token of the same content replaces the flags of an earlier one.</param>
    public AddedVocabulary(IEnumerable<AddedToken> tokens, Vocabulary vocabulary, INormalizer? normalizer)
    {
        foreach (AddedToken token in tokens)
        {
            if (token.Content.Length == 0)
                continue;

            // A token of the vocabulary keeps its id there, whatever the list says.
            int id = vocabulary.IdOf(token.Content) ?? (_byContent.TryGetValue(token.Content, out AddedToken? earlier) ? earlier.Id : token.Id);
            AddedToken placed = token with { Id = id };
            _byContent[token.Content] = placed;
            _byId[id] = placed;
            Size = Math.Max(Size, id + 1);
        }

        MapsBytes = normalizer is ByteLevelNormalizer or NormalizerSequence { MapsBytes: true };
        var raw = new List<(string, AddedToken)>();
        var normalized = new List<(string, AddedToken)>();
        foreach (AddedToken token in _byContent.Values.OrderBy(t => t.Id))
        {
            if (!token.Normalized)
            {
                raw.Add((token.Content, token));
                continue;
            }

            string form = normalizer?.Normalize(token.Content) ?? token.Content;
            normalized.Add((form, token));

            // What went in as visible bytes has to come out through the decoder that turns those back.
            if (MapsBytes)
                _decodedForms[token.Id] = form;
        }

        LongestToken = raw.Concat(normalized).Select(entry => entry.Item1.Length).DefaultIfEmpty().Max();
        Strips = (raw.Exists(entry => entry.Item2.LeftStrip || entry.Item2.RightStrip), normalized.Exists(entry => entry.Item2.LeftStrip || entry.Item2.RightStrip));
        _raw = new AddedTokenFinder(raw);
        _normalized = new AddedTokenFinder(normalized);
    }

    /// <summary>A part of a text: an added token, or text between them (<c>Id</c> -1).</summary>
    public readonly record struct Segment(int Start, int End, int Id);

    /// <summary>Highest id + 1; 0 without tokens.</summary>
    public int Size { get; }

    /// <summary>Whether the normalizer turns text into the visible characters of bytes.</summary>
    public bool MapsBytes { get; }

    /// <summary>UTF-16 characters of the longest token, as it is looked for.</summary>
    public int LongestToken { get; }

    /// <summary>Whether some token swallows white space of the raw text, and of the normalized text.</summary>
    public (bool Raw, bool Normalized) Strips { get; }

    public int? IdOf(string content) => _byContent.TryGetValue(content, out AddedToken? token) ? token.Id : null;

    public AddedToken? TokenOf(int id) => _byId.GetValueOrDefault(id);

    /// <summary>The string that goes into the decoder for a token.</summary>
    public string? DecodedForm(int id) => _decodedForms.TryGetValue(id, out string? form) ? form : _byId.GetValueOrDefault(id)?.Content;

    /// <summary>Cuts a raw text at the tokens that are looked for before normalization.</summary>
    public void CutRaw(ReadOnlySpan<char> text, bool parseSpecialTokens, List<Segment> segments) => Cut(_raw, text, parseSpecialTokens, segments);

    /// <summary>Cuts a normalized text at the tokens that are looked for after it.</summary>
    public void CutNormalized(ReadOnlySpan<char> text, bool parseSpecialTokens, List<Segment> segments) =>
        Cut(_normalized, text, parseSpecialTokens, segments);

    private static void Cut(AddedTokenFinder finder, ReadOnlySpan<char> text, bool parseSpecialTokens, List<Segment> segments)
    {
        segments.Clear();
        int covered = 0;
        int from = finder.IsEmpty ? text.Length : 0;
        while (finder.FindNext(text, from, out int start, out int end) is { } token)
        {
            // A match that is then refused still uses up its text, as in the original.
            from = end;
            if ((token.Special && !parseSpecialTokens) || (token.SingleWord && !StandsAlone(text, start, end)))
                continue;
            if (token.LeftStrip)
                start = Math.Max(covered, text[..start].TrimEnd().Length);
            if (token.RightStrip)
                end = text.Length - text[end..].TrimStart().Length;
            if (covered < start)
                segments.Add(new Segment(covered, start, -1));
            segments.Add(new Segment(start, end, token.Id));
            covered = end;
        }

        if (covered < text.Length)
            segments.Add(new Segment(covered, text.Length, -1));
    }

    private static bool StandsAlone(ReadOnlySpan<char> text, int start, int end)
    {
        int before = start >= 2 && char.IsLowSurrogate(text[start - 1]) ? start - 2 : start - 1;
        bool left = before < 0 || Categories.WordMatcher.MatchLength(text, before) == 0;
        return left && (end == text.Length || Categories.WordMatcher.MatchLength(text, end) == 0);
    }
}
