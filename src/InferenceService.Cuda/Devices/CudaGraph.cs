using InferenceService.Compute;
using InferenceService.Cuda.Native;

namespace InferenceService.Cuda.Devices;

/// <summary>Work that was recorded from a stream once and is enqueued as a whole.</summary>
internal sealed unsafe class CudaGraph : RecordedStep
{
    private const int ThreadLocal = 1; // other threads' calls do not break the capture

    private readonly CudaDevice _device;
    private readonly CudaStream _stream;
    private readonly Action _replayed;
    private nint _executable;

    private CudaGraph(CudaDevice device, CudaStream stream, nint executable, Action replayed) =>
        (_device, _stream, _executable, _replayed) = (device, stream, executable, replayed);

    /// <summary>From now on the stream's work is recorded, not run.</summary>
    public static void Begin(CudaDevice device, CudaStream stream) =>
        device.Check(CudaDriver.CaptureBegin(stream.Handle, ThreadLocal), "cuStreamBeginCapture");

    /// <summary>Ends the recording and makes it ready to run.</summary>
    /// <param name="replayed">Told whenever it has been enqueued: it writes memory that others may think they know.</param>
    public static CudaGraph End(CudaDevice device, CudaStream stream, Action replayed)
    {
        nint graph, executable;
        device.Check(CudaDriver.CaptureEnd(stream.Handle, &graph), "cuStreamEndCapture");
        try
        {
            device.Check(CudaDriver.GraphInstantiate(&executable, graph, 0), "cuGraphInstantiateWithFlags");
        }
        finally
        {
            _ = CudaDriver.GraphDestroy(graph);
        }

        return new CudaGraph(device, stream, executable, replayed);
    }

    /// <summary>Ends a recording that failed half-way, and forgets it.</summary>
    public static void Abandon(CudaStream stream)
    {
        nint graph = 0;
        _ = CudaDriver.CaptureEnd(stream.Handle, &graph);
        if (graph != 0)
            _ = CudaDriver.GraphDestroy(graph);
    }

    /// <summary>Enqueues the recorded work on the stream it was recorded from.</summary>
    public override void Replay()
    {
        _device.MakeCurrent();
        _device.Check(CudaDriver.GraphLaunch(_executable, _stream.Handle), "cuGraphLaunch");
        _replayed();
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!disposing || _executable == 0 || _device.IsLost)
            return;
        _device.MakeCurrent();
        _ = CudaDriver.GraphExecutableDestroy(_executable);
        _executable = 0;
    }
}
