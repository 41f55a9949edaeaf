using System.IO.Compression;
using System.Text;
using System.Text.Json;
using InferenceService.Fuzz.Loop;
using InferenceService.Text.Tokenization;

namespace InferenceService.Fuzz.Targets.Text;

/// <summary>tokenizer.json, tokenizer_config.json, and a text that what they describe encodes and decodes.</summary>
internal sealed class TokenizerTarget(string golden) : FuzzTarget
{
    private const string Config =
        """{"bos_token":"<s>","eos_token":{"content":"</s>","special":true},"unk_token":"<unk>","add_bos_token":true,"added_tokens_decoder":{"1":{"content":"</s>"}},"model_max_length":1e30,"tokenizer_class":"LlamaTokenizer","additional_special_tokens":["<x>"],"chat_template":[{"name":"default","template":"a"}]}""";

    private const string Model =
        """{"type":"BPE","unk_token":"<unk>","byte_fallback":true,"vocab":{"<unk>":0,"<s>":1,"</s>":2,"a":3,"b":4,"ab":5,"▁":6,"<0x41>":7,"Ġ":8,"abb":9},"merges":["a b",["ab","b"]]}""";

    private const string Text = "Hello a ab abb 12 <s>é漢\n  </s>";

    public override string Name => "tokenizer";

    public override int MaxBytes => 6144;

    public override IReadOnlyList<string> Words =>
    [
        "BPE", "Unigram", "WordPiece", "WordLevel", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "BertNormalizer", "Precompiled", "Prepend", "Replace", "Strip", "ByteLevel",
        "Sequence", "Metaspace", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits", "Split", "CharDelimiterSplit", "UnicodeScripts", "BertPreTokenizer", "FixedLength", "BertProcessing",
        "RobertaProcessing", "TemplateProcessing", "ByteFallback", "Fuse", "CTC", "BPEDecoder", "Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous", "always", "never", "first",
        "\\\\p{L}+", "\\\\p{N}{1,3}", "(?i:'s|'t)", "\\\\s+(?!\\\\S)", "[^\\\\r\\\\n\\\\p{L}]", "(a|b)*?", "(a*)*b", "x{0,1000}", "[a-z&&[^b]]", "\\\\x{1F600}", "(?<=a)b", "\\\\1", "$", "^", "\\\\b",
    ];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Input($$$"""{"model":{{{Model}}},"added_tokens":[{"id":1,"content":"<s>","special":true,"lstrip":true},{"id":11,"content":"<x>","normalized":true,"single_word":true}]}""");
        foreach ((string kind, string part) in Parts())
        {
            byte[] input = kind == "tokenizer" ? Input(part) : Input($$$"""{"{{{kind}}}":{{{part}}},"model":{{{Model}}}}""");
            if (input.Length <= MaxBytes)
                yield return input;
        }
    }

    // Vocabularies are tables by id, and some tens of thousands of ids may be left out: see Vocabulary.CheckGaps.
    public override long MaxAllocated(int length) => (16L << 20) + (4096L * length);

    public override long MaxWork(int length) => 250_000_000;

    public override bool Run(byte[] input)
    {
        (byte[] json, byte[] rest) = Sections.Split(input);
        (byte[] config, byte[] bytes) = Sections.Split(rest);
        try
        {
            var tokenizer = Tokenizer.FromJson(json, config);
            Check(tokenizer, Encoding.UTF8.GetString(bytes));
            return true;
        }
        catch (TokenizerException e)
        {
            CheckMessage(e.Message);
            return false;
        }
    }

    /// <summary>What must hold of every tokenizer, however odd its parts.</summary>
    internal static void Check(Tokenizer tokenizer, string text)
    {
        int[] ids = tokenizer.Encode(text, addSpecialTokens: true);
        foreach (int id in ids)
            Require((uint)id < (uint)tokenizer.VocabularySize, "an id beyond the vocabulary");
        Require(tokenizer.FewestTokens(text) <= ids.Length, "the fewest tokens of a text are more than it has");
        CheckStream(tokenizer, ids, skipSpecialTokens: false);
        CheckStream(tokenizer, ids, skipSpecialTokens: true);
        CheckStream(tokenizer, [0, 1, 2, tokenizer.VocabularySize - 1, tokenizer.VocabularySize, -1, int.MaxValue, 0], skipSpecialTokens: false);
    }

    /// <summary>Ids one by one make the text that all of them make at once.</summary>
    internal static void CheckStream(Tokenizer tokenizer, ReadOnlySpan<int> ids, bool skipSpecialTokens)
    {
        string whole = tokenizer.Decode(ids, skipSpecialTokens);
        Detokenizer stream = tokenizer.NewDetokenizer(skipSpecialTokens);
        var pieces = new StringBuilder();
        foreach (int id in ids)
            pieces.Append(stream.Append(id));
        pieces.Append(stream.Flush());
        Require(pieces.Equals(whole), "streamed text differs from decoded text");
    }

    private IEnumerable<(string Kind, string Part)> Parts()
    {
        using var lines = new StreamReader(new GZipStream(File.OpenRead(Path.Combine(golden, "tokenizers", "components", "components.jsonl.gz")), CompressionMode.Decompress));
        while (lines.ReadLine() is { } line)
        {
            using JsonDocument document = JsonDocument.Parse(line);
            yield return (document.RootElement.GetProperty("kind").GetString()!, document.RootElement.GetProperty("part").GetRawText());
        }
    }

    private static byte[] Input(string json) => [.. Sections.Join(json, Config), 0, .. Encoding.UTF8.GetBytes(Text)];
}
