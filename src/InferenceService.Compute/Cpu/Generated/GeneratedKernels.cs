using InferenceService.Compute.Cpu.Weights;

namespace InferenceService.Compute.Cpu.Generated;

/// <summary>The assembled tile kernels of one backend: made when a format is first used, freed with the backend.</summary>
/// <remarks>The first assembly of a process takes about 0.1 s, most of it compiling the assembler, so it is done beside the loading of weights.</remarks>
internal sealed class GeneratedKernels : IDisposable
{
    private readonly List<ExecutableMemory> _code = [];
    private readonly nint[]?[] _kernels = new nint[]?[Formats];
    private readonly Thread?[] _assembling = new Thread?[Formats];

    private static int Formats => Enum.GetValues<WeightFormat>().Length;

    /// <summary>True when the system lets this process make memory executable.</summary>
    public static bool MayExecute { get; } = Probe();

    /// <summary>True when this processor has the instructions for a format.</summary>
    public static bool Has(WeightFormat format) =>
        MayExecute && (format == WeightFormat.BF16 ? CpuFeatures.HasAvx512BF16 : CpuFeatures.HasAvx512Vnni);

    /// <summary>Most rows of a tile.</summary>
    public static int MaxRows(WeightFormat format) => format switch
    {
        WeightFormat.BF16 => BF16Assembler.MaxRows,
        WeightFormat.Int8 => Int8Assembler.MaxRows,
        _ => Int4Assembler.MaxRows,
    };

    /// <summary>Starts to assemble the kernels for a format, unless that was done.</summary>
    public void Begin(WeightFormat format)
    {
        ref Thread? thread = ref _assembling[(int)format];
        if (thread is not null)
            return;
        thread = new Thread(() => Assemble(format)) { IsBackground = true, Name = $"assemble {format}" };
        thread.Start();
    }

    /// <summary>
    /// Functions of a pointer to <see cref="TileArguments"/>; the one at index i is for i + 1 rows. Waits while they are assembled; null when
    /// pages were refused.
    /// </summary>
    public nint[]? For(WeightFormat format)
    {
        if (Volatile.Read(ref _kernels[(int)format]) is { } kernels)
            return kernels;
        Begin(format);
        _assembling[(int)format]!.Join();
        return _kernels[(int)format];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Thread? thread in _assembling)
            thread?.Join();
        Array.Clear(_kernels);
        foreach (ExecutableMemory memory in _code)
            memory.Dispose();
        _code.Clear();
    }

    private void Assemble(WeightFormat format)
    {
        const int Alignment = 64;
        var code = new List<byte>();
        var kernels = new nint[MaxRows(format)];
        for (int i = 0; i < kernels.Length; i++)
        {
            while (code.Count % Alignment != 0)
                code.Add(0xCC); // int3: nobody comes here
            kernels[i] = code.Count;
            TileAssembler assembler = format switch
            {
                WeightFormat.BF16 => new BF16Assembler(i + 1),
                WeightFormat.Int8 => new Int8Assembler(i + 1),
                _ => new Int4Assembler(i + 1),
            };
            code.AddRange(assembler.Assemble());
        }

        if (ExecutableMemory.TryCreate(code.ToArray()) is not { } memory)
            return;
        lock (_code)
            _code.Add(memory);
        for (int i = 0; i < kernels.Length; i++)
            kernels[i] += memory.Address;
        Volatile.Write(ref _kernels[(int)format], kernels);
    }

    private static bool Probe()
    {
        using ExecutableMemory? memory = ExecutableMemory.TryCreate([0xC3]);
        return memory is not null;
    }
}
