using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Models.Layers;

/// <summary>Where the lanes that one layer reads lie: the group of each KV head, and its byte offset inside a block.</summary>
internal sealed class CacheLanes
{
    private readonly IBackend _backend;
    private readonly KvLayout _layout;
    private readonly int _layer;

    /// <summary>Uploads the groups of a layer; offsets follow with the block format.</summary>
    public CacheLanes(KvLayout layout, int layer, IBackend backend)
    {
        (_layout, _layer, _backend) = (layout, layer, backend);
        Group = backend.Allocate(DType.I32, 1, layout.KvHeads);
        Offset = backend.Allocate(DType.I32, 1, layout.KvHeads);
        var groups = new int[layout.KvHeads];
        for (int head = 0; head < groups.Length; head++)
            groups[head] = layout.GroupOf(layer, head);
        backend.Upload(MemoryMarshal.AsBytes<int>(groups), Group);
        ProbeRow = layout.LaneIndex(layer, 0);
    }

    /// <summary>i32 [1, kvHeads].</summary>
    public Tensor Group { get; }

    /// <summary>i32 [1, kvHeads]; valid after <see cref="SetFormat"/>.</summary>
    public Tensor Offset { get; }

    /// <summary>First row of these lanes in a probe: layers that read the same lanes add to the same rows.</summary>
    public int ProbeRow { get; }

    /// <summary>Uploads byte offsets for a block format.</summary>
    public void SetFormat(KvBlockFormat format)
    {
        var offsets = new int[_layout.KvHeads];
        for (int head = 0; head < offsets.Length; head++)
            offsets[head] = format.LaneOffset(_layout.LaneOf(_layer, head));
        _backend.Upload(MemoryMarshal.AsBytes<int>(offsets), Offset);
    }
}
