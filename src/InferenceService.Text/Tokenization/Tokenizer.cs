using System.Text;
using System.Text.Json;
using InferenceService.Text.Tokenization.Decoders;

namespace InferenceService.Text.Tokenization;

/// <summary>Strings to token ids and back, as a Hugging Face <c>tokenizer.json</c> describes it. Immutable and safe for concurrent
/// use.</summary>
public sealed class Tokenizer
{
    private readonly TokenizerParts _parts;
    private readonly TokenizerConfig _config;
    private readonly int[] _before;
    private readonly int[] _after;
    private readonly byte[]?[] _tokenBytes;
    private readonly TokenSpan? _span;

    internal Tokenizer(TokenizerParts parts, TokenizerConfig config)
    {
        _parts = parts;
        _config = config;
        _before = [.. parts.PostProcessor.Before];
        _after = [.. parts.PostProcessor.After];
        VocabularySize = Math.Max(parts.Algorithm.Vocabulary.Size, parts.Added.Size);
        _tokenBytes = new byte[]?[VocabularySize];
        BosId = IdOf(BosToken);
        EosId = IdOf(EosToken);
        PadId = IdOf(PadToken);
        UnkId = IdOf(UnkToken) ?? parts.Algorithm.UnknownId;
        _span = TokenSpan.Of(parts);
    }

    /// <summary>Reads <c>tokenizer.json</c> and, when present, <c>tokenizer_config.json</c>, <c>special_tokens_map.json</c> and the
    /// chat template
    /// files of a folder.</summary>
    /// <exception cref="TokenizerException">A file is missing, damaged or asks for something unknown.</exception>
    public static Tokenizer Load(string folder) => TokenizerFolder.Load(folder);

    /// <summary>Reads the two files from memory; the second may be empty.</summary>
    /// <exception cref="TokenizerException">A file is damaged or asks for something unknown.</exception>
    public static Tokenizer FromJson(ReadOnlyMemory<byte> tokenizerJson, ReadOnlyMemory<byte> tokenizerConfigJson = default)
    {
        var config = new TokenizerConfig();
        if (!tokenizerConfigJson.IsEmpty)
        {
            using JsonDocument document = JsonPart.Parse(tokenizerConfigJson, "tokenizer_config.json");
            config.Read(new JsonPart(document.RootElement, "tokenizer_config.json"));
        }

        return TokenizerJson.Read(tokenizerJson, config);
    }

    /// <summary>Highest id + 1, added tokens included. Ids may have gaps.</summary>
    public int VocabularySize { get; }

    public string? BosToken => _config.Role("bos_token");

    public string? EosToken => _config.Role("eos_token");

    public string? PadToken => _config.Role("pad_token");

    public string? UnkToken => _config.Role("unk_token");

    /// <summary>Null when there is no such token, or it is not in the vocabulary; the same for the other three.</summary>
    public int? BosId { get; }

    public int? EosId { get; }

    public int? PadId { get; }

    public int? UnkId { get; }

    /// <summary><c>model_max_length</c>, when it is a sensible number.</summary>
    public int? ModelMaxLength => _config.ModelMaxLength;

    /// <summary>The chat template named "default", or the only one; null when there is none.</summary>
    public string? ChatTemplate => NamedChatTemplates.TryGetValue("default", out string? template) ? template
        : NamedChatTemplates.Count == 1 ? NamedChatTemplates.Values.First() : null;

    /// <summary>All chat templates by name; the unnamed one under "default".</summary>
    public IReadOnlyDictionary<string, string> NamedChatTemplates => _config.ChatTemplates;

    /// <summary>Text to ids. Special tokens written in the text are recognised.</summary>
    /// <param name="addSpecialTokens">Put the post-processor's tokens (BOS, EOS, ...) around the text.</param>
    public int[] Encode(string text, bool addSpecialTokens) => Encode(text, addSpecialTokens, parseSpecialTokens: true);

    /// <summary>Text to ids. Half surrogate pairs count as U+FFFD.</summary>
    /// <param name="addSpecialTokens">Put the post-processor's tokens (BOS, EOS, ...) around the text.</param>
    /// <param name="parseSpecialTokens">False: special tokens written in the text are plain text. Added tokens that are not special are
    /// recognised all the same.</param>
    /// <exception cref="TokenizerException">A pattern of the tokenizer needs too many steps on this text.</exception>
    public int[] Encode(string text, bool addSpecialTokens, bool parseSpecialTokens)
    {
        ArgumentNullException.ThrowIfNull(text);
        text = WithoutHalfPairs(text);
        var ids = new List<int>((text.Length / 4) + 16);
        if (addSpecialTokens)
            ids.AddRange(_before);
        var work = new EncodingRun(_parts, parseSpecialTokens, ids);
        work.Append(text);
        if (addSpecialTokens)
            ids.AddRange(_after);
        return [.. ids];
    }

    /// <summary>A number of ids that <see cref="Encode(string, bool)"/> is sure to reach, without encoding; 0 when this tokenizer may leave
    /// text out.</summary>
    public int FewestTokens(ReadOnlySpan<char> text) => _span?.FewestTokens(text) ?? 0;

    /// <summary>Ids to text. Ids outside the vocabulary contribute nothing; bytes that are not UTF-8 become U+FFFD.</summary>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens)
    {
        var text = new ByteBuffer();
        IDecoderStage stage = _parts.Decoder.NewStage(text, raw: false);
        foreach (int id in ids)
            Feed(stage, id, skipSpecialTokens);
        stage.End();
        return Encoding.UTF8.GetString(text.Span);
    }

    /// <summary>What this one token contributes inside a text; bytes that are no characters by themselves as U+FFFD. Empty for an
    /// unknown id.</summary>
    public string TokenText(int id) => Encoding.UTF8.GetString(BytesOf(id));

    /// <summary>The exact bytes this token contributes inside a text, which may be part of a character. Empty for an unknown id.</summary>
    public byte[] TokenBytes(int id) => [.. BytesOf(id)];

    /// <summary>The token as the vocabulary spells it, or null.</summary>
    public string? IdToToken(int id) => _parts.Added.TokenOf(id)?.Content ?? _parts.Algorithm.Vocabulary.TokenOf(id);

    /// <summary>The id of a token as the vocabulary spells it, or null.</summary>
    public int? TokenToId(string token) => _parts.TokenToId(token);

    /// <summary>True for added tokens that are control tokens.</summary>
    public bool IsSpecial(int id) => _parts.Added.TokenOf(id) is { Special: true };

    /// <summary>Starts a streaming decoder.</summary>
    /// <param name="promptTail">The ids that the stream continues, or at least the last ones that are text. With them the stream is the
    /// rest of that text, so a leading space of the first new token is kept; without them it is a text of its own.</param>
    /// <param name="keepsRest">What the prompt leaves open, half a character at its end, belongs to the stream even when the stream does
    /// not complete it; false where the prompt is not shown.</param>
    public Detokenizer NewDetokenizer(bool skipSpecialTokens, ReadOnlySpan<int> promptTail = default, bool keepsRest = false) =>
        new(this, skipSpecialTokens, promptTail, keepsRest);

    /// <summary>Gives a stage one token; false when the id contributes nothing.</summary>
    internal bool Feed(IDecoderStage stage, int id, bool skipSpecialTokens)
    {
        if ((skipSpecialTokens && IsSpecial(id)) || DecodedForm(id) is not { } token)
            return false;
        Span<byte> small = stackalloc byte[192];
        Span<byte> utf8 = token.Length * 3 <= small.Length ? small : new byte[token.Length * 3];
        stage.Write(utf8[..Encoding.UTF8.GetBytes(token, utf8)]);
        stage.EndToken();
        return true;
    }

    internal IDecoderStage NewStage(IDecoderStage next) => _parts.Decoder.NewStage(next, raw: false);

    internal bool Contributes(int id, bool skipSpecialTokens) => !(skipSpecialTokens && IsSpecial(id)) && DecodedForm(id) is not null;

    private string? DecodedForm(int id) => _parts.Added.DecodedForm(id) ?? _parts.Algorithm.Vocabulary.TokenOf(id);

    private int? IdOf(string? token) => token is null ? null : TokenToId(token);

    private byte[] BytesOf(int id)
    {
        if ((uint)id >= (uint)_tokenBytes.Length)
            return [];
        return Volatile.Read(ref _tokenBytes[id]) ?? ComputeBytes(id);
    }

    private byte[] ComputeBytes(int id)
    {
        var bytes = new ByteBuffer();
        IDecoderStage stage = _parts.Decoder.NewStage(bytes, raw: true);

        // A token before it puts the stages in the middle of a text. It is nothing that any stage would treat specially.
        stage.Write("\uFFFF"u8);
        stage.EndToken();
        bytes.Clear();
        Feed(stage, id, skipSpecialTokens: false);
        stage.End();
        byte[] result = bytes.Span.ToArray();
        Volatile.Write(ref _tokenBytes[id], result);
        return result;
    }

    private static string WithoutHalfPairs(string text)
    {
        int at = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF');
        if (at < 0)
            return text;
        StringBuilder? repaired = null;
        for (; at < text.Length; at++)
        {
            bool high = char.IsHighSurrogate(text[at]);
            if (high && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]))
                at++;
            else if (high || char.IsLowSurrogate(text[at]))
                (repaired ??= new StringBuilder(text))[at] = '\uFFFD';
        }

        return repaired?.ToString() ?? text;
    }
}
