using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>One paper: whose cache each layer reads, what attention must report, and what survives. Moving slots and freeing blocks is not its business.</summary>
public interface IKvPolicy
{
    /// <summary>Name in configuration, requests and metrics.</summary>
    string Name { get; }

    /// <summary>Whose cache does each layer read, and which lanes keep together? May refuse a checkpoint.</summary>
    /// <exception cref="CheckpointException">The policy cannot serve this model.</exception>
    KvLayout Layout(ModelConfig model);

    /// <summary>Which sums must attention report? <see cref="AttentionSums.None"/> costs nothing.</summary>
    AttentionSums Needs { get; }

    /// <summary>What survives? Null: everything. One selector per sequence, so a paper may keep state.</summary>
    KvSelector? NewSelector(ModelConfig model);
}

/// <summary>A policy's state for one sequence.</summary>
public abstract class KvSelector
{
    /// <summary>Answers which slots of each group survive. Called after every step of the sequence that ends its prompt or extends it.</summary>
    /// <param name="seen">Lengths, positions and sums of the sequence.</param>
    /// <param name="keep">Filled by the selector; a group it does not touch keeps everything.</param>
    public abstract void Select(in KvObservation seen, KeepSet keep);
}
