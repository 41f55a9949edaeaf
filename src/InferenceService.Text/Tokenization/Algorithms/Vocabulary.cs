using System.Text.Json;

namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>Tokens by id and ids by token. Ids may have gaps.</summary>
internal sealed class Vocabulary
{
    /// <summary>Bounds what a damaged id can make us allocate; the largest vocabularies in use have about 260,000 tokens.</summary>
    public const int MaxId = (1 << 21) - 1;

    /// <summary>Ids that may be left out whatever the number of tokens; beyond it each token allows <see cref="GapsPerToken"/> more.</summary>
    private const int AnyGaps = 1 << 16;

    private const int GapsPerToken = 8;

    /// <summary>Bounds what one token can cost to look for; the longest tokens in use have a few hundred characters.</summary>
    public const int MaxTokenLength = 4096;

    private readonly Dictionary<string, int> _ids;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _idsBySpan;
    private readonly string?[] _tokens;

    private Vocabulary(Dictionary<string, int> ids, string?[] tokens)
    {
        _ids = ids;
        _idsBySpan = ids.GetAlternateLookup<ReadOnlySpan<char>>();
        _tokens = tokens;
    }

    /// <summary>Highest id + 1.</summary>
    public int Size => _tokens.Length;

    public IEnumerable<KeyValuePair<string, int>> Entries => _ids;

    /// <summary>UTF-16 characters of the longest token.</summary>
    public int LongestToken => _ids.Count == 0 ? 0 : _ids.Keys.Max(token => token.Length);

    /// <summary>Reads an object of token to id.</summary>
    public static Vocabulary Read(JsonPart part)
    {
        if (part.Element.ValueKind != JsonValueKind.Object)
            throw part.Error("must be an object of token to id");
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        int size = 0;
        foreach (JsonProperty entry in part.Element.EnumerateObject())
        {
            string token = Checked(part.NameOf(entry), part);
            bool isNumber = entry.Value.ValueKind == JsonValueKind.Number;
            if (!isNumber || !entry.Value.TryGetInt32(out int id) || id is < 0 or > MaxId)
                throw part.Error($"gives {JsonPart.Quote(token)} the id {(isNumber ? JsonPart.Quote(entry.Value.GetRawText()) : "of another kind")}; it must be a whole number from 0 to {MaxId}");
            ids[token] = id;
            size = Math.Max(size, id + 1);
        }

        CheckGaps(size, ids.Count, part);
        string?[] tokens = new string?[size];
        foreach ((string token, int id) in ids)
            tokens[id] = token;
        return new Vocabulary(ids, tokens);
    }

    /// <summary>Token i has id i; of equal tokens the last one's id is found.</summary>
    public static Vocabulary FromList(IReadOnlyList<string> list)
    {
        var ids = new Dictionary<string, int>(list.Count, StringComparer.Ordinal);
        for (int i = 0; i < list.Count; i++)
            ids[list[i]] = i;

        return new Vocabulary(ids, [.. list]);
    }

    public int? IdOf(string token) => _ids.TryGetValue(token, out int id) ? id : null;

    public bool TryGetId(ReadOnlySpan<char> token, out int id) => _idsBySpan.TryGetValue(token, out id);

    public string? TokenOf(int id) => (uint)id < (uint)_tokens.Length ? _tokens[id] : null;

    /// <summary>The ids of &lt;0x00&gt; to &lt;0xFF&gt;, -1 for those that are missing.</summary>
    public int[] ByteTokens()
    {
        int[] ids = new int[256];
        for (int b = 0; b < 256; b++)
            ids[b] = IdOf($"<0x{b:X2}>") ?? -1;
        return ids;
    }

    /// <summary>Tables go by id: a few tokens must not make them as large as the highest id there is.</summary>
    /// <param name="size">Highest id + 1.</param>
    /// <param name="count">Tokens.</param>
    public static void CheckGaps(int size, int count, JsonPart part)
    {
        long most = AnyGaps + ((long)GapsPerToken * count);
        if (size > most)
            throw part.Error($"has ids up to {size - 1} for {count} tokens; at most {most - 1} is allowed for so few");
    }

    /// <summary>The token, unless it is too long.</summary>
    public static string Checked(string token, JsonPart part) =>
        token.Length <= MaxTokenLength ? token : throw part.Error($"has a token of {token.Length} characters; at most {MaxTokenLength} are allowed");
}
