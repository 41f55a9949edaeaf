using InferenceService.Compute;
using InferenceService.Models;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Benchmarks.Decoding;

/// <summary>What a benchmark runs: a checkpoint folder, or a shape with seeded random weights.</summary>
internal sealed class BenchmarkModel : IDisposable
{
    private readonly Checkpoint? _checkpoint;
    private readonly RandomWeights? _random;

    /// <summary>Opens a folder, or makes weights of a shape.</summary>
    /// <param name="folder">Checkpoint; null = <paramref name="shape"/>.</param>
    /// <param name="shape">One of <see cref="BenchmarkShape.Names"/>.</param>
    /// <param name="type">Element type of random weights.</param>
    public BenchmarkModel(string? folder, string shape, DType type)
    {
        if (folder is null)
        {
            (Name, Config, Type) = (shape, BenchmarkShape.Config(shape), type);
            _random = new RandomWeights(Config, seed: 1234, type);
            return;
        }

        Name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));
        _checkpoint = Checkpoint.Open(folder);
        Config = _checkpoint.Config;
        Type = Config.StatedType ?? DType.BF16;
    }

    /// <summary>For titles.</summary>
    public string Name { get; }

    /// <summary>Shape.</summary>
    public ModelConfig Config { get; }

    /// <summary>Element type of the weights as stored.</summary>
    public DType Type { get; }

    /// <summary>Weights.</summary>
    public IWeightSource Weights => (IWeightSource?)_checkpoint ?? _random!;

    /// <summary>Bytes of all matrices that a decode step reads, the output head among them, in a format.</summary>
    public double MatrixBytes(WeightFormat format)
    {
        double head = (double)Config.VocabularySize * Config.HiddenSize, layers = BenchmarkShape.MatrixElements(Config) - head;
        return layers * BytesPerElement(format) + head * BytesPerElement(WeightFacts.HeadFormatOf(format));
    }

    public void Dispose()
    {
        _checkpoint?.Dispose();
        _random?.Dispose();
    }

    private double BytesPerElement(WeightFormat format) => format switch
    {
        WeightFormat.Stored => Type.Size(),
        WeightFormat.BF16 => 2,
        WeightFormat.Int8 => 8.125 / 8,
        _ => 4.5 / 8,
    };
}
