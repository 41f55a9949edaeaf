using System.Text.Json;
using InferenceService.Text.Tokenization.Algorithms;
using InferenceService.Text.Tokenization.Decoders;
using InferenceService.Text.Tokenization.Normalizers;
using InferenceService.Text.Tokenization.PostProcessors;
using InferenceService.Text.Tokenization.PreTokenizers;

namespace InferenceService.Text.Tokenization;

/// <summary>Reads <c>tokenizer.json</c>: one part of the pipeline per field. <c>truncation</c> and <c>padding</c> are training
/// settings and ignored.</summary>
internal static class TokenizerJson
{
    private const string File = "tokenizer.json";

    /// <summary>Classes that build their post-processor from add_bos_token (true unless said otherwise) and add_eos_token.</summary>
    private static readonly string[] BosClasses = ["LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"];

    /// <exception cref="TokenizerException">The file is damaged or asks for something unknown.</exception>
    public static Tokenizer Read(ReadOnlyMemory<byte> json, TokenizerConfig config)
    {
        using JsonDocument document = JsonPart.Parse(json, File);
        var root = new JsonPart(document.RootElement, File);
        JsonPart model = root.Required("model");
        IAlgorithm algorithm = AlgorithmReader.Read(model with { Path = "model" });
        INormalizer? normalizer = Part(root, "normalizer") is { } n ? NormalizerReader.Read(n) : null;
        List<AddedToken> tokens = AddedTokens(root, config, algorithm.Vocabulary);
        var added = new AddedVocabulary(tokens, algorithm.Vocabulary, normalizer);
        Vocabulary.CheckGaps(added.Size, algorithm.Vocabulary.Size + tokens.Count, root with { Path = "added_tokens" });
        var parts = new TokenizerParts
        {
            Added = added,
            Normalizer = normalizer,
            PreTokenizer = Part(root, "pre_tokenizer") is { } p ? PreTokenizerReader.Read(p) : null,
            Algorithm = algorithm,
            PostProcessor = Part(root, "post_processor") is { } q ? PostProcessorReader.Read(q) : Affixes.None,
            Decoder = Part(root, "decoder") is { } d ? DecoderReader.Read(d) : new SpaceJoin(),
        };
        IPostProcessor postProcessor = Override(parts, config);
        CheckIds(postProcessor, Math.Max(algorithm.Vocabulary.Size, added.Size), root with { Path = "post_processor" });
        return new Tokenizer(parts with { PostProcessor = postProcessor }, config);
    }

    private static JsonPart? Part(JsonPart root, string name) => root.Optional(name) is { } part ? part with { Path = name } : null;

    /// <summary>The file's added tokens, then those of the configuration, whose flags win, then control tokens that are only in the
    /// vocabulary.</summary>
    private static List<AddedToken> AddedTokens(JsonPart root, TokenizerConfig config, Vocabulary vocabulary)
    {
        var tokens = new List<AddedToken>();
        if (Part(root, "added_tokens") is { } list)
        {
            foreach (JsonPart item in list.Items())
                tokens.Add(AddedToken.Read(item, item.Int("id", 0, Vocabulary.MaxId)));
        }

        tokens.AddRange(config.AddedTokens);
        var known = new Dictionary<string, AddedToken>(StringComparer.Ordinal);
        foreach (AddedToken token in tokens)
            known[token.Content] = token;
        foreach (AddedToken control in config.ControlTokens)
        {
            if (known.TryGetValue(control.Content, out AddedToken? token))
                tokens.Add(token with { Special = true });
            else if (vocabulary.IdOf(control.Content) is { } id)
                tokens.Add(control with { Id = id });
        }

        return tokens;
    }

    /// <summary>What is put around every text must be tokens: a model would be asked for a row that its embedding does not have.</summary>
    private static void CheckIds(IPostProcessor postProcessor, int size, JsonPart part)
    {
        foreach (int id in postProcessor.Before.Concat(postProcessor.After))
        {
            if (id >= size)
                throw part.Error($"adds the id {id}, and the vocabulary ends at {size - 1}");
        }
    }

    /// <summary>An explicit add_bos_token or add_eos_token replaces the file's post-processor, as in the transformers library.</summary>
    private static IPostProcessor Override(TokenizerParts parts, TokenizerConfig config)
    {
        string name = config.TokenizerClass ?? "";
        if (name.EndsWith("Fast", StringComparison.Ordinal))
            name = name[..^4];
        bool bosClass = BosClasses.Contains(name);
        if (config.AddBos is null && config.AddEos is null && !bosClass)
            return parts.PostProcessor;
        bool addBos = config.AddBos ?? bosClass;
        bool addEos = config.AddEos ?? false;
        return new Affixes(Wanted(addBos, "bos_token"), Wanted(addEos, "eos_token"));

        int[] Wanted(bool wanted, string role) => wanted && config.Role(role) is { } token && parts.TokenToId(token) is { } id ? [id] : [];
    }
}
