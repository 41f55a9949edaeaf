using InferenceService.Benchmarks.Decoding;
using InferenceService.Compute;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;
using InferenceService.Text.Tokenization;

namespace InferenceService.Benchmarks.Policies;

/// <summary>What the policy commands serve: a checkpoint folder with its tokenizer, or a shape with seeded random weights.</summary>
internal sealed class PolicyModel : IDisposable
{
    private const int PunctuationIds = 40; // of 4,096 random ids: about one in a hundred

    private readonly Checkpoint? _checkpoint;
    private readonly RandomWeights? _weights;

    /// <summary>Opens a folder, or makes weights of a shape.</summary>
    /// <param name="folder">Checkpoint; null = <paramref name="shape"/>.</param>
    /// <param name="shape">One of <see cref="BenchmarkShape.Names"/>.</param>
    /// <param name="positions">Context of a shape; a checkpoint has its own.</param>
    public PolicyModel(string? folder, string shape, int positions)
    {
        if (folder is null)
        {
            Name = shape;
            Config = BenchmarkShape.Config(shape) with { MaxPositions = positions };
            _weights = new RandomWeights(Config, seed: 1234, DType.BF16);
            Classes = new TokenClasses([1, 2], [.. Enumerable.Range(3, PunctuationIds)]);
            return;
        }

        Name = Path.GetFileName(Path.TrimEndingDirectorySeparator(folder));
        _checkpoint = Checkpoint.Open(folder);
        Config = _checkpoint.Config;
        Tokenizer = Tokenizer.Load(folder);
        Classes = new TokenClasses(TokenKinds.Special(Tokenizer), TokenKinds.Punctuation(Tokenizer));
    }

    /// <summary>For titles.</summary>
    public string Name { get; }

    /// <summary>Shape.</summary>
    public ModelConfig Config { get; }

    /// <summary>Weights.</summary>
    public IWeightSource Weights => (IWeightSource?)_checkpoint ?? _weights!;

    /// <summary>Null for random weights.</summary>
    public Tokenizer? Tokenizer { get; }

    /// <summary>Special and punctuation ids.</summary>
    public TokenClasses Classes { get; }

    /// <summary>Layers read caches of other layers, so that <c>lckv</c> is the baseline.</summary>
    public bool IsCrossLayer => Config.KvSources.Where((source, layer) => source != layer).Any();

    /// <summary>The text of a file as ids; seeded random ids where there is no tokenizer or no file.</summary>
    public int[] Prose(string? path, int randomLength)
    {
        if (Tokenizer is not null && path is not null)
            return Tokenizer.Encode(File.ReadAllText(path), addSpecialTokens: false);
        var random = new Random(11);
        return [.. Enumerable.Range(0, randomLength).Select(_ => random.Next(3, Config.VocabularySize))];
    }

    public void Dispose()
    {
        _checkpoint?.Dispose();
        _weights?.Dispose();
    }
}
