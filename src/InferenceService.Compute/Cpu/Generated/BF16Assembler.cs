using Iced.Intel;

namespace InferenceService.Compute.Cpu.Generated;

/// <summary>Up to 12 rows of x against a panel of <see cref="WeightFormat.BF16"/> with vdpbf16ps.</summary>
/// <remarks>24 accumulators over the whole depth, 2 vectors of weights; pairs of x are broadcast to a register each.</remarks>
internal sealed class BF16Assembler(int rows) : TileAssembler(rows)
{
    /// <summary>Most rows that registers allow.</summary>
    public const int MaxRows = 12;

    private const int Unroll = 4;

    protected override void Body()
    {
        Label steps = Code.CreateLabel(), rest = Code.CreateLabel(), end = Code.CreateLabel();
        for (int i = 0; i < 2 * Rows; i++)
            Code.vpxord(Vector(i), Vector(i), Vector(i));
        Code.mov(Count, Left);
        Code.shr(Count, 1); // pairs
        Code.sub(Count, Unroll);
        Code.jl(rest);
        Code.Label(ref steps);
        Steps(Unroll);
        Code.sub(Count, Unroll);
        Code.jge(steps);
        Code.Label(ref rest);
        Code.add(Count, Unroll);
        Code.jz(end);
        Label one = Code.CreateLabel();
        Code.Label(ref one);
        Steps(1);
        Code.dec(Count);
        Code.jnz(one);
        Code.Label(ref end);
        StoreOutput((row, half) => Vector(2 * row + half));
    }

    private void Steps(int count)
    {
        for (int step = 0; step < count; step++)
            Step(step, Code.vdpbf16ps);
        Code.add(X, count * Rows * 4);
        Code.add(Weight, count * StepBytes);
    }
}
