using Iced.Intel;

namespace InferenceService.Compute.Cpu.Generated;

/// <summary>A loop of independent dot products on registers, and nothing else: what the tile kernels are measured against.</summary>
internal sealed class PeakAssembler(bool bytes) : TileAssembler(12)
{
    /// <summary>Operations of one turn: 24 instructions of 16 lanes, each lane 4 or 2 products and sums.</summary>
    public int OperationsPerTurn => 24 * 16 * (bytes ? 4 : 2) * 2;

    /// <remarks>Takes the turns from where a tile has its columns; sums start at zero, operands at zero: their values cost nothing.</remarks>
    protected override void Body()
    {
        for (int i = 0; i < 26; i++)
            Code.vpxord(Vector(i), Vector(i), Vector(i));
        Label turn = Code.CreateLabel();
        Code.Label(ref turn);
        for (int i = 0; i < 24; i++)
        {
            if (bytes)
                Code.vpdpbusd(Vector(i), Vector(24), Vector(25));
            else
                Code.vdpbf16ps(Vector(i), Vector(24), Vector(25));
        }

        Code.dec(Left);
        Code.jnz(turn);
    }
}
