using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Cuda.Native;
using InferenceService.Cuda.Verbs;

namespace InferenceService.Cuda.Tests.Native;

/// <summary>Sizes and places that native code counts on; C# cannot see them go wrong.</summary>
public sealed class AbiTests
{
    [Fact]
    public void Structs_of_cuBLASLt_have_the_sizes_of_its_header()
    {
        Assert.Equal(64, Unsafe.SizeOf<MatmulAlgorithm>());
        Assert.Equal(96, Unsafe.SizeOf<MatmulHeuristic>());
        Assert.Equal(64, Marshal.OffsetOf<MatmulHeuristic>(nameof(MatmulHeuristic.WorkspaceBytes)));
        Assert.Equal(72, Marshal.OffsetOf<MatmulHeuristic>(nameof(MatmulHeuristic.State)));
        Assert.Equal(76, Marshal.OffsetOf<MatmulHeuristic>(nameof(MatmulHeuristic.WavesCount)));
    }

    [Fact]
    public void Parameter_structs_have_the_sizes_of_their_kernels()
    {
        Assert.Equal(64, Unsafe.SizeOf<EmbedArguments>());
        Assert.Equal(72, Unsafe.SizeOf<NormArguments>());
        Assert.Equal(40, Unsafe.SizeOf<AddArguments>());
        Assert.Equal(56, Unsafe.SizeOf<SiluArguments>());
        Assert.Equal(48, Unsafe.SizeOf<RopeArguments>());
        Assert.Equal(40, Unsafe.SizeOf<OperandArguments>());
        Assert.Equal(64, Unsafe.SizeOf<ProductArguments>());
        Assert.Equal(128, Unsafe.SizeOf<CacheArguments>());
        Assert.Equal(160, Unsafe.SizeOf<WriteArguments>());
        Assert.Equal(208, Unsafe.SizeOf<RotateArguments>());
        Assert.Equal(72, Unsafe.SizeOf<SampleArguments>());
        Assert.Equal(TokenOrder.ByteLength, Unsafe.SizeOf<TokenOrder>());
        Assert.Equal(LogitChange.Words * sizeof(int), Unsafe.SizeOf<LogitChange>());
        Assert.Equal(40, Unsafe.SizeOf<MoveArguments>());
        Assert.Equal(56, Unsafe.SizeOf<PackArguments>());
        Assert.Equal(224, Unsafe.SizeOf<AttentionArguments>());
        Assert.Equal(64, Unsafe.SizeOf<IntegerArguments>());
        Assert.Equal(64, Unsafe.SizeOf<SkinnyArguments>());
        Assert.Equal(264, Unsafe.SizeOf<SplitArguments>());
        Assert.Equal(168, Unsafe.SizeOf<PlanArguments>());
        Assert.Equal(304, Unsafe.SizeOf<SumArguments>());
    }
}
