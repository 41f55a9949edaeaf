using InferenceService.Compute;

namespace InferenceService.Models;

/// <summary>A loaded decoder: runs one forward pass at a time on its backend. Engine thread only.</summary>
public sealed class DecoderModel
{
    /// <summary>Takes the weights, fuses q/k/v and gate/up, allocates workspaces.</summary>
    /// <exception cref="CheckpointException">A weight is missing, or its shape or type is not what the architecture needs.</exception>
    public static DecoderModel Load(ModelConfig config, IWeightSource weights, IBackend backend, KvLayout layout, DecoderLimits limits,
        IProgress<LoadProgress>? progress = null) => throw new CheckpointException("not built yet");

    private DecoderModel(ModelConfig config, IBackend backend, KvLayout layout, DecoderLimits limits) =>
        (Config, Backend, Layout, Limits) = (config, backend, layout, limits);

    /// <summary>Shape of the model.</summary>
    public ModelConfig Config { get; }

    /// <summary>Device that holds weights and workspaces.</summary>
    public IBackend Backend { get; }

    /// <summary>Whose cache each layer reads.</summary>
    public KvLayout Layout { get; }

    /// <summary>Workspace sizes.</summary>
    public DecoderLimits Limits { get; }

    /// <summary>Runs all layers; writes K and V of every row into the cache.</summary>
    /// <returns>f32 [input.LogitRows.Length, vocabulary], valid until the next call.</returns>
    /// <remarks>Allocates no managed memory.</remarks>
    public Tensor Forward(in ForwardInput input) => throw new CheckpointException($"{Config.Architecture} is not built yet");
}

/// <summary>How far loading has come.</summary>
/// <param name="BytesDone">Weight bytes placed so far.</param>
/// <param name="BytesTotal">All weight bytes.</param>
public readonly record struct LoadProgress(long BytesDone, long BytesTotal);
