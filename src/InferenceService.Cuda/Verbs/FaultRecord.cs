using InferenceService.Compute;
using InferenceService.Cuda.Devices;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Verbs;

/// <summary>Four words on the device in which a kernel says that a table or an id leads nowhere; read whenever the host waits anyway.</summary>
/// <remarks>The kernel that found it has read and written nothing there. The words are those of Kernels/cache.cuh.</remarks>
internal sealed unsafe class FaultRecord(CudaDevice device, CudaStream stream, StagingRing staging, Tensor words)
{
    /// <summary>Words of the record.</summary>
    public const int Words = 4;

    /// <summary>Device address of the words.</summary>
    public ulong Address { get; } = (ulong)words.Address;

    /// <summary>Room for the words.</summary>
    public static Tensor Allocate(DeviceMemory memory) => memory.Take(DType.I32, 1, Words);

    /// <summary>Waits for the stream; throws what a kernel reported since the last time.</summary>
    /// <exception cref="ShapeException">A kernel met a table, id or row range that leads nowhere.</exception>
    public void Check() => Download(Address, null, 0);

    /// <summary>The same while something is copied to the host, in one wait.</summary>
    /// <exception cref="ShapeException">A kernel met a table, id or row range that leads nowhere.</exception>
    public void Download(ulong source, byte* target, long bytes)
    {
        int* found = stackalloc int[Words];
        staging.Download(source, target, bytes, Address, (byte*)found, Words * sizeof(int));
        Throw(found);
    }

    /// <summary>Throws what words that were copied to the host say.</summary>
    /// <exception cref="ShapeException">A kernel met a table, id or row range that leads nowhere.</exception>
    public void Throw(int* found)
    {
        if (found[0] == 0)
            return;
        device.Check(CudaDriver.Fill(Address, 0, Words * sizeof(int), stream.Handle), "cuMemsetD8Async");
        throw new ShapeException(found[0] switch
        {
            1 => $"Id {found[1]} of row {found[2]} is not in the table.",
            2 => $"Slot {found[3]} of KV head {found[2]} of sequence {found[1]} has no block in the tables.",
            3 => $"Sequence {found[1]} writes slot {found[3]} of KV head {found[2]} into a packed block.",
            4 => $"Sequence {found[1]} owns {found[3]} rows from row {found[2]}, which leave the step.",
            5 => $"The sums of sequence {found[1]}, KV head {found[2]} leave their tensor at row {found[3]}.",
            6 => $"Order {found[1]}, for row {found[2]} of the logits, names a row, a change or a token that is not there.",
            _ => $"A kernel reported fault {found[0]}.",
        });
    }
}
