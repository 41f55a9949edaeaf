using Iced.Intel;
using InferenceService.Compute.Cpu.Weights;
using static Iced.Intel.AssemblerRegisters;

namespace InferenceService.Compute.Cpu.Generated;

/// <summary>Up to 12 rows of x against a panel of <see cref="WeightFormat.Int8"/> with vpdpbusd.</summary>
/// <remarks>
/// 24 accumulators, 2 vectors of weights; words of x are broadcast to a register
/// each, which halves the loads of broadcasting in both instructions that need them. vpdpbusd multiplies unsigned by signed bytes: the
/// weights carry 128 and each run starts at −128 · Σx.
/// </remarks>
internal sealed class Int8Assembler(int rows) : TileAssembler(rows)
{
    /// <summary>Most rows that registers allow.</summary>
    public const int MaxRows = 12;

    private const int T0 = 28, T1 = 29;

    protected override void Body()
    {
        Label run = Code.CreateLabel(), steps = Code.CreateLabel();
        int unroll = Rows <= 4 ? 8 : 4;
        ClearSums();
        Code.Label(ref run);
        Code.mov(Count, WeightLayout.RunColumns);
        Code.cmp(Left, Count);
        Code.cmovb(Count, Left);
        Code.sub(Left, Count);
        for (int r = 0; r < Rows; r++)
        {
            Code.vpbroadcastd(Vector(2 * r), __dword_ptr[X + r * 4]);
            Code.vpbroadcastd(Vector(2 * r + 1), __dword_ptr[X + r * 4]);
        }

        Code.add(X, Rows * 4);
        Code.Label(ref steps);
        for (int step = 0; step < unroll; step++)
            Step(step, Code.vpdpbusd);
        Code.add(X, unroll * Rows * 4);
        Code.add(Weight, unroll * StepBytes);
        Code.sub(Count, unroll * 4);
        Code.jnz(steps);
        Scale();
        Code.add(X, Rows * 4);
        Code.add(Weight, StepBytes);
        Code.test(Left, Left);
        Code.jnz(run);
        StoreSums();
    }

    /// <summary>sum ← fma(float(S) · weight scale, x scale, sum).</summary>
    private void Scale()
    {
        Code.vmovups(Vector(W0), __[Weight]);
        Code.vmovups(Vector(W1), __[Weight + VectorBytes]);
        for (int r = 0; r < Rows; r++)
        {
            for (int half = 0; half < 2; half++)
            {
                AssemblerRegisterZMM s = Vector(2 * r + half), sum = Vector(half == 0 ? T0 : T1);
                AssemblerMemoryOperand place = __[Sums + (2 * r + half) * VectorBytes];
                Code.vcvtdq2ps(s, s);
                Code.vmulps(s, s, Vector(half == 0 ? W0 : W1));
                Code.vmovups(sum, place);
                Code.vfmadd231ps(sum, s, __dword_bcst[X + r * 4]);
                Code.vmovups(place, sum);
            }
        }
    }
}
