using Iced.Intel;
using InferenceService.Compute.Cpu.Weights;
using static Iced.Intel.AssemblerRegisters;

namespace InferenceService.Compute.Cpu.Generated;

/// <summary>Up to 6 rows of x against a panel of <see cref="WeightFormat.Int4"/> with vpdpbusd.</summary>
/// <remarks>
/// 12 integer accumulators for a group of 32 columns, 12 float ones for a run of 256. A line of the panel is two steps: the low and the
/// high nibbles of its bytes.
/// </remarks>
internal sealed class Int4Assembler(int rows) : TileAssembler(rows)
{
    /// <summary>Most rows that registers allow.</summary>
    public const int MaxRows = 6;

    private const int Inner = 12, Low0 = 24, Low1 = 25, High0 = 26, High1 = 27, Scale0 = 28, Scale1 = 29, Mask = 30;

    protected override void Body()
    {
        Label run = Code.CreateLabel(), group = Code.CreateLabel();
        ClearSums();
        Code.mov(r9d, 0x0F0F0F0F);
        Code.vpbroadcastd(Vector(Mask), r9d);
        Code.Label(ref run);
        Code.mov(Count, WeightLayout.RunColumns);
        Code.cmp(Left, Count);
        Code.cmovb(Count, Left);
        Code.sub(Left, Count);
        for (int i = 0; i < 2 * Rows; i++)
            Code.vpxord(Vector(Inner + i), Vector(Inner + i), Vector(Inner + i));
        Code.Label(ref group);
        Group();
        Code.add(X, 9 * Rows * 4);
        Code.add(Weight, WeightLayout.Int4GroupBytes);
        Code.sub(Count, WeightLayout.GroupColumns);
        Code.jnz(group);
        for (int i = 0; i < 2 * Rows; i++)
        {
            Code.vmovups(Vector(Low0), __[Sums + i * VectorBytes]);
            Code.vfmadd231ps(Vector(Low0), Vector(Inner + i), __dword_bcst[X + i / 2 * 4]);
            Code.vmovups(__[Sums + i * VectorBytes], Vector(Low0));
        }

        Code.add(X, Rows * 4);
        Code.test(Left, Left);
        Code.jnz(run);
        StoreSums();
    }

    private void Group()
    {
        for (int i = 0; i < 2 * Rows; i++)
            Code.vpbroadcastd(Vector(i), __dword_ptr[X + i / 2 * 4]);
        for (int pair = 0; pair < 4; pair++)
        {
            Code.vmovdqu64(Vector(High0), __[Weight + pair * StepBytes]);
            Code.vmovdqu64(Vector(High1), __[Weight + pair * StepBytes + VectorBytes]);
            Prefetch();
            Code.vpandd(Vector(Low0), Vector(High0), Vector(Mask));
            Code.vpandd(Vector(Low1), Vector(High1), Vector(Mask));
            Code.vpsrld(Vector(High0), Vector(High0), 4);
            Code.vpsrld(Vector(High1), Vector(High1), 4);
            Code.vpandd(Vector(High0), Vector(High0), Vector(Mask));
            Code.vpandd(Vector(High1), Vector(High1), Vector(Mask));
            Dot(Low0, Low1, 2 * pair);
            Dot(High0, High1, 2 * pair + 1);
        }

        Code.vcvtph2ps(Vector(Scale0), __ymmword_ptr[Weight + 4 * StepBytes]);
        Code.vcvtph2ps(Vector(Scale1), __ymmword_ptr[Weight + 4 * StepBytes + VectorBytes / 2]);
        for (int i = 0; i < 2 * Rows; i++)
        {
            Code.vcvtdq2ps(Vector(i), Vector(i));
            Code.vfmadd231ps(Vector(Inner + i), Vector(i), Vector(i % 2 == 0 ? Scale0 : Scale1));
        }
    }

    private void Dot(int first, int second, int step)
    {
        for (int r = 0; r < Rows; r++)
        {
            AssemblerRegisterZMM word = Vector(r % 2 == 0 ? 28 : 29);
            Code.vpbroadcastd(word, __dword_ptr[X + ((1 + step) * Rows + r) * 4]);
            Code.vpdpbusd(Vector(2 * r), Vector(first), word);
            Code.vpdpbusd(Vector(2 * r + 1), Vector(second), word);
        }
    }
}
