using System.Runtime.InteropServices;
using InferenceService.Compute;

namespace InferenceService.Models.Layers;

/// <summary>Where the lanes of one layer lie: the group of each KV head, and its byte offset inside a block.</summary>
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
        for (int below = 0; below < layer; below++)
            ProbeRow += layout.SourceLayer[below] == below ? layout.KvHeads : 0;
    }

    /// <summary>i32 [1, kvHeads].</summary>
    public Tensor Group { get; }

    /// <summary>i32 [1, kvHeads]; valid after <see cref="SetFormat"/>.</summary>
    public Tensor Offset { get; }

    /// <summary>Rows that the cache-owning layers below take in a probe.</summary>
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
