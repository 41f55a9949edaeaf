using InferenceService.Compute;
using InferenceService.Models;

namespace InferenceService.Engine.Cache.Policies;

/// <summary>One paper with its option values: whose cache each layer reads, what a row may see, and what survives. Immutable.</summary>
/// <remarks>Moving slots and freeing blocks is not its business. <see cref="KvPolicyRegistry.Create"/> makes instances.</remarks>
public interface IKvPolicy
{
    /// <summary>Name in configuration, requests and metrics.</summary>
    string Name { get; }

    /// <summary>Option values as <c>name=value</c>, comma-separated; empty when it has none. Part of what decides the output.</summary>
    string Settings => "";

    /// <summary>Whose cache does each layer read, and which lanes keep together? May refuse a checkpoint.</summary>
    /// <exception cref="CheckpointException">The policy cannot serve this model.</exception>
    KvLayout Layout(ModelConfig model);

    /// <summary>
    /// What does a row see, also inside the prompt? With a mask, K and V of a prompt depend on it, so they are shared only under the
    /// same mask, and what it hides may be dropped while the prompt is still being computed.
    /// </summary>
    KvMask Mask => default;

    /// <summary>In how many bits does it keep what survives? <c>default</c>: as computed.</summary>
    KvPacking Packing => default;

    /// <summary>Attention sums that its selectors may ever ask for: memory for them is reserved when the model loads.</summary>
    AttentionSums Sums => AttentionSums.None;

    /// <summary>What survives? Null: everything. One selector per sequence, so a paper may keep state.</summary>
    KvSelector? NewSelector(in KvSelectorContext context);
}
