using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Execution;

namespace InferenceService.Engine.Tests.Execution;

public sealed class StepInputTests : IDisposable
{
    private readonly TinyModel _model = new();

    public void Dispose() => _model.Dispose();

    [Fact]
    public void A_padded_step_finds_its_tensors_in_the_same_place_every_time_and_another_size_none_outside_the_block()
    {
        var input = new StepInput(_model.Backend, groups: 3, maxSequences: 8, maxRows: 8, maxLogitRows: 8, blockSize: 4, endsEarly: true);
        KvBlockFormat format = new(DType.F32, 4, 4, 1);
        KvBatch Padded(int rows)
        {
            input.Clear();
            input.Pad(rows);
            input.Upload();
            return input.Kv(default, format);
        }

        KvBatch first = Padded(8), other = Padded(4), again = Padded(8);
        Assert.Equal((first.Groups, first.RowStarts, first.Tables), (again.Groups, again.RowStarts, again.Tables));
        Assert.NotEqual(first.RowStarts, other.RowStarts);
        Assert.Equal((24, 12), (first.Groups.Rows, other.Groups.Rows));
        Assert.Same(first.Groups.Buffer, other.Tables.Buffer);
        foreach (Tensor part in (Tensor[])[first.Groups, first.RowStarts, first.Tables, input.SequenceRows, input.ObservedRows])
            Assert.InRange(part.Offset + part.ByteLength, 0, part.Buffer.ByteLength);
        int[] rows = MemoryMarshal.Cast<byte, int>(_model.Backend.Read(input.SequenceRows, [])).ToArray();
        Assert.Equal(Enumerable.Repeat(-1, 8), rows); // nothing of padding is observed
        Assert.Equal(new int[9], MemoryMarshal.Cast<byte, int>(_model.Backend.Read(again.RowStarts, [])).ToArray());
    }
}
