using System.IO.Compression;
using System.Text;
using InferenceService.Fuzz.Loop;
using InferenceService.Text.Tokenization;

namespace InferenceService.Fuzz.Targets.Text;

/// <summary>Any text through real tokenizers and back. First byte: which one, and how; the rest: text, or ids of two bytes each.</summary>
internal sealed class EncodeTarget(string golden) : FuzzTarget
{
    /// <summary>Those that keep every text first: the first so many must give back what they were given.</summary>
    private static readonly string[] Folders = ["gpt2", "cl100k", "llama2-spm", "t5-small"];

    private const int Lossless = 2;

    private readonly Tokenizer[] _tokenizers = Array.ConvertAll(Folders, folder => Load(Path.Combine(golden, "tokenizers", folder)));

    public override string Name => "encode";

    public override InputShape Shape => InputShape.Text;

    public override int MaxBytes => 1024;

    public override IReadOnlyList<string> Words => ["<|endoftext|>", "<s>", "</s>", "<unk>", "<pad>", "<extra_id_0>", "▁", "<0x41>", "Ġ", "'s", "'LL", "    ", "\n\n\n", "123456789", "ſ", "İ"];

    public override IEnumerable<byte[]> Seeds()
    {
        for (int which = 0; which < 8; which++)
        {
            foreach (string line in File.ReadLines(Path.Combine(golden, "tokenizers", Folders[which % Folders.Length], "extra.jsonl")).Take(100))
            {
                byte[] text = [(byte)which, .. Encoding.UTF8.GetBytes(line)];
                if (text.Length <= MaxBytes)
                    yield return text;
            }
        }
    }

    public override long MaxAllocated(int length) => (1 << 20) + (2048L * length);

    public override long MaxWork(int length) => 100_000 + (20_000L * length);

    public override bool Run(byte[] input)
    {
        if (input.Length == 0)
            return false;
        int which = input[0] % Folders.Length;
        Tokenizer tokenizer = _tokenizers[which];
        bool asIds = (input[0] & 8) != 0, parse = (input[0] & 16) == 0;
        if (asIds)
        {
            int[] ids = new int[(input.Length - 1) / 2];
            for (int i = 0; i < ids.Length; i++)
                ids[i] = input[1 + (2 * i)] | (input[2 + (2 * i)] << 8);
            TokenizerTarget.CheckStream(tokenizer, ids, skipSpecialTokens: !parse);
            return true;
        }

        string text = Encoding.UTF8.GetString(input.AsSpan(1));
        int[] encoded = tokenizer.Encode(text, addSpecialTokens: false, parse);
        foreach (int id in encoded)
            Require((uint)id < (uint)tokenizer.VocabularySize, "an id beyond the vocabulary");
        Require(tokenizer.FewestTokens(text) <= encoded.Length, "the fewest tokens of a text are more than it has");
        TokenizerTarget.CheckStream(tokenizer, encoded, skipSpecialTokens: false);
        if (which < Lossless)
            Require(tokenizer.Decode(encoded, skipSpecialTokens: false) == text, "a text came back changed");
        return true;
    }

    private static Tokenizer Load(string folder)
    {
        using var json = new MemoryStream();
        using (var zip = new GZipStream(File.OpenRead(Path.Combine(folder, "tokenizer.json.gz")), CompressionMode.Decompress))
            zip.CopyTo(json);
        return Tokenizer.FromJson(json.ToArray());
    }
}
