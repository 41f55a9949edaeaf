using InferenceService.Compute.Cpu;
using InferenceService.Compute.Cpu.Generated;
using InferenceService.Compute.Cpu.Weights;

namespace InferenceService.Compute.Tests.Cpu.Generated;

[RequiresKernels(KernelFamily.Avx512)]
public sealed unsafe class TileAssemblerTests
{
    private const int Columns = 288, OutputFloats = 12 * 40;

    /// <summary>mov rcx, rdi, then the function itself: makes one with the Windows convention callable here.</summary>
    private static readonly byte[] FromSystemV = [0x48, 0x89, 0xF9];

    [ContractFact]
    public void Both_calling_conventions_give_the_same_outputs()
    {
        if (OperatingSystem.IsWindows())
            return;
        foreach (WeightFormat format in (WeightFormat[])[WeightFormat.BF16, WeightFormat.Int8, WeightFormat.Int4])
        {
            if (!GeneratedKernels.Has(format))
                continue;
            for (int rows = 1; rows <= GeneratedKernels.MaxRows(format); rows++)
            {
                float[] here = Run(format, rows, Assembler(format, rows, windows: false));
                float[] windows = Run(format, rows, [.. FromSystemV, .. Assembler(format, rows, windows: true)]);
                Tolerance.AssertSame(here, windows, $"{format}, {rows} rows");
            }
        }
    }

    private static byte[] Assembler(WeightFormat format, int rows, bool windows) => (format switch
    {
        WeightFormat.BF16 => (TileAssembler)new BF16Assembler(rows) { ForWindows = windows },
        WeightFormat.Int8 => new Int8Assembler(rows) { ForWindows = windows },
        _ => new Int4Assembler(rows) { ForWindows = windows },
    }).Assemble();

    private static float[] Run(WeightFormat format, int rows, byte[] code)
    {
        var random = new Random(rows);
        using var x = new HostBuffer(rows * WeightLayout.TileRowBytes(format, Columns));
        using var panel = new HostBuffer(WeightLayout.PanelBytes(format, Columns) + 8192);
        using var sums = new HostBuffer(12 * 32 * sizeof(float));
        float[] values = [.. Enumerable.Range(0, rows * Columns).Select(_ => random.NextSingle() - 0.5f)], output = new float[OutputFloats];
        random.NextBytes(new Span<byte>((void*)panel.Address, WeightLayout.PanelBytes(format, Columns)));
        if (format == WeightFormat.BF16)
            new Span<byte>((void*)panel.Address, WeightLayout.PanelBytes(format, Columns)).Replace((byte)0x7F, (byte)0x3F); // no infinities
        using ExecutableMemory memory = ExecutableMemory.TryCreate(code)!;
        fixed (float* source = values, target = output)
        {
            TileRounding.Round(format, source, Columns, rows, Columns, (byte*)x.Address);
            var tile = new TileArguments
            {
                X = (byte*)x.Address,
                Weight = (byte*)panel.Address,
                Output = target,
                OutputStride = 40 * sizeof(float),
                Sums = (float*)sums.Address,
                Columns = Columns,
                Ahead = (byte*)panel.Address,
                AheadStep = 64,
                Rows = rows,
            };
            ((delegate* unmanaged<TileArguments*, void>)memory.Address)(&tile);
        }

        return output;
    }
}
