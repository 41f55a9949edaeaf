using System.Runtime.InteropServices;
using Iced.Intel;
using InferenceService.Compute.Cpu.Weights;
using static Iced.Intel.AssemblerRegisters;

namespace InferenceService.Compute.Cpu.Generated;

/// <summary>What the generated tile kernels have in common: arguments, registers, the end.</summary>
/// <remarks>
/// A kernel is a function of one pointer to <see cref="TileArguments"/>. It uses only registers that the callee may destroy under both
/// calling conventions (System V and Windows), but for xmm6 to xmm15, which it saves on Windows.
/// </remarks>
internal abstract class TileAssembler
{
    /// <summary>Bytes of one vector of a step.</summary>
    protected const int VectorBytes = 64;

    /// <summary>Words of x of one step of the panel, and the bytes of a step.</summary>
    protected const int StepBytes = WeightLayout.StepBytes;

    /// <summary>Registers of a step's weights, behind the most accumulators.</summary>
    protected const int W0 = 24, W1 = 25;

    private const int SavedFirst = 6, SavedCount = 10; // xmm6 to xmm15

    private static readonly AssemblerRegisterXMM[] Xmm =
        [xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15];

    private static readonly AssemblerRegisterZMM[] Zmm =
    [
        zmm0, zmm1, zmm2, zmm3, zmm4, zmm5, zmm6, zmm7, zmm8, zmm9, zmm10, zmm11, zmm12, zmm13, zmm14, zmm15,
        zmm16, zmm17, zmm18, zmm19, zmm20, zmm21, zmm22, zmm23, zmm24, zmm25, zmm26, zmm27, zmm28, zmm29, zmm30, zmm31,
    ];

    protected TileAssembler(int rows) => Rows = rows;

    /// <summary>Whether callers use the calling convention of Windows.</summary>
    public bool ForWindows { get; init; } = OperatingSystem.IsWindows();

    /// <summary>Rows of x in the tile.</summary>
    protected int Rows { get; }

    /// <summary>The code.</summary>
    protected Assembler Code { get; } = new(64);

    /// <summary>Place in the tile of x.</summary>
    protected static AssemblerRegister64 X => rax;

    /// <summary>Place in the panel.</summary>
    protected static AssemblerRegister64 Weight => rcx;

    /// <summary>Place in the memory to fetch.</summary>
    protected static AssemblerRegister64 Ahead => rdx;

    /// <summary>Columns to come.</summary>
    protected static AssemblerRegister64 Left => r8;

    /// <summary>Counter of the inner loop.</summary>
    protected static AssemblerRegister64 Count => r9;

    /// <summary>Sums of the tile, 32 floats a row.</summary>
    protected static AssemblerRegister64 Sums => r10;

    /// <summary>The arguments.</summary>
    private static AssemblerRegister64 Arguments => r11;

    /// <summary>Assembles the whole function.</summary>
    public byte[] Assemble()
    {
        if (ForWindows)
        {
            Code.mov(Arguments, rcx);
            Code.sub(rsp, SavedCount * 16 + 8); // the return address leaves the stack 8 off
            for (int i = 0; i < SavedCount; i++)
                Code.vmovups(__[rsp + i * 16], Xmm[SavedFirst + i]);
        }
        else
        {
            Code.mov(Arguments, rdi);
        }

        Code.mov(X, __qword_ptr[Arguments + Offset(nameof(TileArguments.X))]);
        Code.mov(Weight, __qword_ptr[Arguments + Offset(nameof(TileArguments.Weight))]);
        Code.mov(Ahead, __qword_ptr[Arguments + Offset(nameof(TileArguments.Ahead))]);
        Code.mov(Left, __qword_ptr[Arguments + Offset(nameof(TileArguments.Columns))]);
        Code.mov(Sums, __qword_ptr[Arguments + Offset(nameof(TileArguments.Sums))]);
        Body();
        if (ForWindows)
        {
            for (int i = 0; i < SavedCount; i++)
                Code.vmovups(Xmm[SavedFirst + i], __[rsp + i * 16]);
            Code.add(rsp, SavedCount * 16 + 8);
        }

        Code.vzeroupper();
        Code.ret();
        using var stream = new MemoryStream();
        Code.Assemble(new StreamCodeWriter(stream), 0); // no absolute addresses: it runs anywhere
        return stream.ToArray();
    }

    /// <summary>All between the arguments in their registers and the outputs written.</summary>
    protected abstract void Body();

    /// <summary>A vector register.</summary>
    protected static AssemblerRegisterZMM Vector(int number) => Zmm[number];

    /// <summary>Asks for two lines to come; once for every two lines of the panel.</summary>
    protected void Prefetch()
    {
        Code.prefetcht0(__[Ahead]);
        Code.prefetcht0(__[Ahead + VectorBytes]);
        Code.add(Ahead, __qword_ptr[Arguments + Offset(nameof(TileArguments.AheadStep))]);
    }

    /// <summary>One step of the panel into accumulators 2r and 2r + 1 of every row r: both vectors of weights times a word of x.</summary>
    /// <param name="step">Which, from <see cref="Weight"/> and <see cref="X"/> on.</param>
    /// <param name="dot">The instruction: adds to the first operand the products of the other two.</param>
    protected void Step(int step, Action<AssemblerRegisterZMM, AssemblerRegisterZMM, AssemblerRegisterZMM> dot)
    {
        Code.vmovdqu64(Vector(W0), __[Weight + step * StepBytes]);
        Code.vmovdqu64(Vector(W1), __[Weight + step * StepBytes + VectorBytes]);
        Prefetch();
        for (int r = 0; r < Rows; r++)
        {
            AssemblerRegisterZMM word = Vector(W1 + 1 + r % 6); // several, so that no row waits for the one before
            Code.vpbroadcastd(word, __dword_ptr[X + (step * Rows + r) * 4]);
            dot(Vector(2 * r), Vector(W0), word);
            dot(Vector(2 * r + 1), Vector(W1), word);
        }
    }

    /// <summary>Sets the sums of the tile to +0.</summary>
    protected void ClearSums()
    {
        Code.vpxord(zmm31, zmm31, zmm31);
        for (int i = 0; i < 2 * Rows; i++)
            Code.vmovups(__[Sums + i * VectorBytes], zmm31);
    }

    /// <summary>Writes the sums to the output.</summary>
    protected void StoreSums() => StoreOutput((row, half) =>
    {
        Code.vmovups(Vector(half), __[Sums + (2 * row + half) * VectorBytes]);
        return Vector(half);
    });

    /// <summary>Writes two vectors a row to the output.</summary>
    protected void StoreOutput(Func<int, int, AssemblerRegisterZMM> source)
    {
        Code.mov(rax, __qword_ptr[Arguments + Offset(nameof(TileArguments.Output))]);
        Code.mov(rcx, __qword_ptr[Arguments + Offset(nameof(TileArguments.OutputStride))]);
        for (int row = 0; row < Rows; row++)
        {
            for (int half = 0; half < 2; half++)
                Code.vmovups(__[rax + half * VectorBytes], source(row, half));
            if (row < Rows - 1)
                Code.add(rax, rcx);
        }
    }

    private static int Offset(string field) => (int)Marshal.OffsetOf<TileArguments>(field);
}
