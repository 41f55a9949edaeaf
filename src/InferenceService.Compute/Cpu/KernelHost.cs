using InferenceService.Compute.Cpu.Generated;

namespace InferenceService.Compute.Cpu;

/// <summary>What a kernel runs on: the threads, the instruction set, and scratch memory.</summary>
internal sealed unsafe class KernelHost(int threads, SimdPath path, KernelFamily kernels, IReadOnlyList<int>? processors = null) : IDisposable
{
    /// <summary>Work below this many basic vector steps costs less than waking the other threads for it.</summary>
    private const long WorthSharing = 2048;

    private readonly GeneratedKernels? _generated = kernels == KernelFamily.Avx512 ? new GeneratedKernels() : null;
    private readonly WorkerPool _pool = new(threads, processors);
    private HostBuffer _scratch = new(0), _shared = new(0);

    /// <summary>Threads that compute, the caller included.</summary>
    public int Workers => _pool.Workers;

    /// <summary>Keeps the calling thread where the others are kept.</summary>
    public void KeepThread()
    {
        if (processors is not null)
            _ = ThreadPlacement.TryKeepThread(processors);
    }

    /// <summary>Threads asleep.</summary>
    public int Sleeping => _pool.Sleeping;

    /// <summary>Instruction set of the kernels.</summary>
    public SimdPath Path { get; } = path;

    /// <summary>Instructions that multiply packed weights.</summary>
    public KernelFamily Kernels { get; } = kernels;

    /// <summary>Starts to assemble the kernels for a format, where there are any.</summary>
    public void Generate(WeightFormat format)
    {
        if (GeneratedKernels.Has(format))
            _generated?.Begin(format);
    }

    /// <summary>Assembled kernels for a format (<see cref="GeneratedKernels.For"/>); null when the family, the processor or the system has none.</summary>
    public nint[]? Generated(WeightFormat format) => GeneratedKernels.Has(format) ? _generated?.For(format) : null;

    /// <summary>Runs a kernel on all threads, or on the caller alone when the work is small.</summary>
    /// <param name="steps">About how many vector operations there are in all.</param>
    public void Run(delegate*<void*, int, void> kernel, void* job, long steps)
    {
        if (steps < WorthSharing || _pool.Workers == 1)
            kernel(job, 0);
        else
            _pool.Run(kernel, job);
    }

    /// <summary>Scratch of <paramref name="floats"/> floats a worker, one after the other; kept and grown, never shrunk.</summary>
    public float* Scratch(long floats) => Grow(ref _scratch, floats * Workers);

    /// <summary>Another scratch, one for all workers.</summary>
    public float* Shared(long floats) => Grow(ref _shared, floats);

    private static float* Grow(ref HostBuffer buffer, long floats)
    {
        if (floats * sizeof(float) > buffer.ByteLength)
        {
            buffer.Dispose();
            buffer = new HostBuffer(floats * sizeof(float));
        }

        return (float*)buffer.Address;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _pool.Dispose();
        _generated?.Dispose();
        _scratch.Dispose();
        _shared.Dispose();
    }
}
