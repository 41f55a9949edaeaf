using System.Buffers;
using System.Text;
using System.Text.Json;
using InferenceService.Text.Tokenization.PreTokenizers;

namespace InferenceService.Text.Tokenization.Algorithms;

/// <summary>Type "BPE" (Sennrich et al., arXiv:1508.07909): characters, then merges by rank.</summary>
/// <remarks>Dropout is a training device: any value between 0 and 1 is read and not applied, so that encoding is a function of the
/// text.</remarks>
internal sealed class BytePairEncoding : IAlgorithm
{
    private const int DirectTable = 0x400;
    private const int StackSymbols = 256;
    private const int MaxAffix = 64;

    private readonly MergeTable _merges;
    private readonly NeverMerged? _neverMerged;
    private readonly WordCache _cache = new();
    private readonly string? _prefix;
    private readonly string? _suffix;
    private readonly bool _ignoreMerges;
    private readonly bool _fuseUnknown;
    private readonly int[]? _byteTokens;
    private readonly int[] _direct = new int[DirectTable];

    private BytePairEncoding(JsonPart part)
    {
        Vocabulary = Vocabulary.Read(part.Required("vocab"));
        _prefix = ReadAffix(part.Optional("continuing_subword_prefix"));
        _suffix = ReadAffix(part.Optional("end_of_word_suffix"));
        _ignoreMerges = part.Bool("ignore_merges", false);
        _fuseUnknown = part.Bool("fuse_unk", false);
        _byteTokens = part.Bool("byte_fallback", false) ? Vocabulary.ByteTokens() : null;
        if (part.Optional("dropout") is { } dropout && dropout.Number() is < 0 or > 1)
            throw dropout.Error("must be from 0 to 1");
        if (part.Optional("unk_token") is { } unknown)
            UnknownId = Vocabulary.IdOf(unknown.String());
        for (int c = 0; c < DirectTable; c++)
            _direct[c] = Vocabulary.TryGetId([(char)c], out int id) ? id : -1;
        _merges = ReadMerges(part.Required("merges"), out NeverMerged neverMerged);
        if (_prefix is null && _suffix is null)
            _neverMerged = neverMerged;
    }

    public Vocabulary Vocabulary { get; }

    public int? UnknownId { get; }

    public static BytePairEncoding Read(JsonPart part) => new(part);

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        if (_ignoreMerges && Vocabulary.TryGetId(piece, out int whole))
        {
            ids.Add(whole);
            return;
        }

        if (WordCache.Takes(piece) || _neverMerged is null)
        {
            EncodeWord(piece, ids);
            return;
        }

        // A long piece falls apart where no merge can reach across: the parts are words the cache knows, and their cost stays small.
        while (!piece.IsEmpty)
        {
            int length = _neverMerged.FirstPart(piece);
            EncodeWord(piece[..length], ids);
            piece = piece[length..];
        }
    }

    public int? CharactersPerToken(bool mapsBytes)
    {
        bool knowsBytes = mapsBytes && _prefix is null && _suffix is null && Enumerable.Range(0, 256).All(b => Vocabulary.TryGetId([ByteAlphabet.Character((byte)b)], out _));
        bool fallsBack = _byteTokens is not null && !_byteTokens.Contains(-1);
        bool marksUnknown = UnknownId is not null && !_fuseUnknown;
        // A surrogate pair is one unknown character.
        return knowsBytes || fallsBack || marksUnknown ? Math.Max(2, Vocabulary.LongestToken) : null;
    }

    private static string? ReadAffix(JsonPart? part)
    {
        string? value = part?.String();
        if (value?.Length > MaxAffix)
            throw part!.Value.Error($"is {value.Length} characters long; at most {MaxAffix} are allowed");
        return string.IsNullOrEmpty(value) ? null : value;
    }

    private void EncodeWord(ReadOnlySpan<char> word, List<int> ids)
    {
        bool cached = WordCache.Takes(word);
        int slot = 0;
        if (cached)
        {
            slot = WordCache.SlotOf(word);
            if (_cache.TryAppend(word, slot, ids))
                return;
        }

        int room = Room(word.Length);
        int[]? rented = room <= StackSymbols ? null : ArrayPool<int>.Shared.Rent(room);
        Span<int> symbols = rented is null ? stackalloc int[StackSymbols] : rented;
        int count = Merger.Merge(symbols[..Symbols(word, symbols)], _merges);
        ids.AddRange(symbols[..count]);
        if (cached)
            _cache.Remember(word, slot, symbols[..count].ToArray());
        if (rented is not null)
            ArrayPool<int>.Shared.Return(rented);
    }

    /// <summary>How many symbols a word can have: one a character, or one for each UTF-8 byte of it with prefix and suffix.</summary>
    private int Room(int length)
    {
        long room = _byteTokens is null ? length + 1L : 3L * (((long)length * (1 + (_prefix?.Length ?? 0))) + (_suffix?.Length ?? 0));
        return room <= Array.MaxLength ? (int)room : throw new TokenizerException($"a word of {length} characters is too long");
    }

    /// <summary>The ids of a word's characters before any merge.</summary>
    private int Symbols(ReadOnlySpan<char> word, Span<int> symbols)
    {
        int count = 0;
        bool unknownWaits = false;
        for (int at = 0; at < word.Length;)
        {
            int length = char.IsHighSurrogate(word[at]) && at + 1 < word.Length ? 2 : 1;
            ReadOnlySpan<char> character = word.Slice(at, length);
            bool first = at == 0;
            at += length;
            int id = Find(character, first, at == word.Length, out string? decorated);
            if (id >= 0)
            {
                if (unknownWaits)
                    symbols[count++] = UnknownId!.Value;
                unknownWaits = false;
                symbols[count++] = id;
            }
            else if (_byteTokens is null || !FallBack(decorated is null ? character : decorated, symbols, ref count))
            {
                // An unknown waits for the next known character, so that a run of them can fuse; bytes pass it by, as in the original.
                if (unknownWaits && !_fuseUnknown)
                    symbols[count++] = UnknownId!.Value;
                unknownWaits = UnknownId is not null;
            }
        }

        if (unknownWaits)
            symbols[count++] = UnknownId!.Value;
        return count;
    }

    private int Find(ReadOnlySpan<char> character, bool first, bool last, out string? decorated)
    {
        string? prefix = first ? null : _prefix;
        string? suffix = last ? _suffix : null;
        if (prefix is null && suffix is null)
        {
            decorated = null;
            if (character.Length == 1 && character[0] < DirectTable)
                return _direct[character[0]];
            return Vocabulary.TryGetId(character, out int plain) ? plain : -1;
        }

        decorated = string.Concat(prefix, character, suffix);
        return Vocabulary.TryGetId(decorated, out int id) ? id : -1;
    }

    private bool FallBack(ReadOnlySpan<char> character, Span<int> symbols, ref int count)
    {
        Span<byte> utf8 = character.Length <= 16 ? stackalloc byte[48] : new byte[character.Length * 3];
        int bytes = Encoding.UTF8.GetBytes(character, utf8);
        for (int i = 0; i < bytes; i++)
        {
            if (_byteTokens![utf8[i]] < 0)
                return false;
        }

        for (int i = 0; i < bytes; i++)
            symbols[count++] = _byteTokens![utf8[i]];
        return true;
    }

    /// <summary>Merges are strings "left right" in older files and pairs ["left", "right"] in newer ones.</summary>
    private MergeTable ReadMerges(JsonPart part, out NeverMerged neverMerged)
    {
        int count = part.Count;
        var table = new MergeTable(count);
        neverMerged = new NeverMerged(Vocabulary);
        int rank = 0;
        foreach (JsonElement element in part.Element.EnumerateArray())
        {
            var item = new JsonPart(element, part.Path);
            (string left, string right) = ReadMerge(item, rank);
            if (left.StartsWith("#version", StringComparison.Ordinal) && element.ValueKind == JsonValueKind.String)
                continue;
            if (_prefix is not null && right.Length < _prefix.Length)
                throw item.Error($"number {rank} has {JsonPart.Quote(right)}, which is shorter than continuing_subword_prefix");
            string merged = string.Concat(left, right.AsSpan(_prefix?.Length ?? 0));
            table.Add(IdOf(item, rank, left), IdOf(item, rank, right), rank, IdOf(item, rank, merged));
            neverMerged.Add(merged);
            rank++;
        }

        return table;
    }

    private static (string Left, string Right) ReadMerge(JsonPart item, int rank)
    {
        if (item.Element.ValueKind == JsonValueKind.Array)
        {
            if (item.Element.GetArrayLength() != 2)
                throw item.Error($"number {rank} has {item.Element.GetArrayLength()} parts; it must have 2");
            return (new JsonPart(item.Element[0], item.Path).String(), new JsonPart(item.Element[1], item.Path).String());
        }

        string text = item.String();
        int space = text.IndexOf(' ', StringComparison.Ordinal);
        if (space < 0 || text.IndexOf(' ', space + 1) >= 0)
            throw item.Error($"number {rank} is {JsonPart.Quote(text)}; it must be two tokens with one space between");
        return (text[..space], text[(space + 1)..]);
    }

    private int IdOf(JsonPart item, int rank, string token) =>
        Vocabulary.IdOf(token) ?? throw item.Error($"number {rank} needs the token {JsonPart.Quote(token)}, which is not in the vocabulary");
}
