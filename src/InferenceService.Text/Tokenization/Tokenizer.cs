namespace InferenceService.Text.Tokenization;

/// <summary>Strings to token ids and back, as a Hugging Face <c>tokenizer.json</c> describes it. Immutable and safe for concurrent use.</summary>
public sealed class Tokenizer
{
    private Tokenizer() { }

    /// <summary>Reads <c>tokenizer.json</c> and, when present, <c>tokenizer_config.json</c> and the chat template files of a folder.</summary>
    /// <exception cref="TokenizerException">A file is missing, damaged or asks for something unknown.</exception>
    public static Tokenizer Load(string folder) => throw new NotImplementedException();

    /// <summary>Reads the two files from memory; the second may be empty.</summary>
    /// <exception cref="TokenizerException">A file is damaged or asks for something unknown.</exception>
    public static Tokenizer FromJson(ReadOnlyMemory<byte> tokenizerJson, ReadOnlyMemory<byte> tokenizerConfigJson = default) => throw new NotImplementedException();

    /// <summary>Highest id + 1, added tokens included.</summary>
    public int VocabularySize => throw new NotImplementedException();

    public string? BosToken => throw new NotImplementedException();
    public string? EosToken => throw new NotImplementedException();
    public string? PadToken => throw new NotImplementedException();
    public string? UnkToken => throw new NotImplementedException();
    public int? BosId => throw new NotImplementedException();
    public int? EosId => throw new NotImplementedException();
    public int? PadId => throw new NotImplementedException();
    public int? UnkId => throw new NotImplementedException();

    /// <summary><c>model_max_length</c> of tokenizer_config.json when it is a sensible number.</summary>
    public int? ModelMaxLength => throw new NotImplementedException();

    /// <summary>The (default) chat template, or null when the folder has none.</summary>
    public string? ChatTemplate => throw new NotImplementedException();

    /// <summary>All templates by name; the default one under "default".</summary>
    public IReadOnlyDictionary<string, string> NamedChatTemplates => throw new NotImplementedException();

    /// <summary>Text to ids. Special tokens written in the text are recognised.</summary>
    /// <param name="addSpecialTokens">Apply the post-processor (BOS, EOS, ...).</param>
    public int[] Encode(string text, bool addSpecialTokens) => Encode(text, addSpecialTokens, parseSpecialTokens: true);

    /// <param name="parseSpecialTokens">False: special-token strings in the text are plain text.</param>
    public int[] Encode(string text, bool addSpecialTokens, bool parseSpecialTokens) => throw new NotImplementedException();

    /// <summary>Ids to text. Ids outside the vocabulary contribute nothing.</summary>
    public string Decode(ReadOnlySpan<int> ids, bool skipSpecialTokens) => throw new NotImplementedException();

    /// <summary>What this one token contributes inside a text; bytes that are not UTF-8 alone as U+FFFD. Empty for an unknown id.</summary>
    public string TokenText(int id) => throw new NotImplementedException();

    /// <summary>The exact bytes this token contributes. Empty for an unknown id.</summary>
    public byte[] TokenBytes(int id) => throw new NotImplementedException();

    public string? IdToToken(int id) => throw new NotImplementedException();

    public int? TokenToId(string token) => throw new NotImplementedException();

    /// <summary>True for added tokens flagged special.</summary>
    public bool IsSpecial(int id) => throw new NotImplementedException();

    /// <summary>Starts a streaming decoder.</summary>
    /// <param name="promptTail">Last ids of the prompt (or all): the stream then continues that text, so a first token's leading space is kept.</param>
    public Detokenizer NewDetokenizer(bool skipSpecialTokens, ReadOnlySpan<int> promptTail = default) => throw new NotImplementedException();
}
