using System.Buffers.Binary;
using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Fuzz.Loop;
using InferenceService.Models.Packed;

namespace InferenceService.Fuzz.Targets.Models;

/// <summary>A file of packed weights: before a page that must not be read, and now and then read into weights as a start does.</summary>
internal sealed class PackedTarget : FuzzTarget
{
    private const int RealFileEvery = 64;
    private const string First = "a.weight", Second = "b.weight";
    private static readonly byte[] Key = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    private readonly CpuBackend _backend = new(threads: 1);
    private readonly ScratchFolder _folder = new();
    private readonly GuardedMemory _guarded;
    private readonly Weight _weight;
    private readonly byte[] _seed;
    private int _runs;

    public PackedTarget()
    {
        _guarded = new GuardedMemory(MaxBytes * 4);
        _weight = _backend.AllocateWeight(WeightFormat.Int8, 4, 32);
        string path = Path.Combine(_folder.Path, "seed.packed");
        using (var packed = new PackedWeights(_backend, path, Key, _ => { }))
        {
            packed.Add(First, _weight, [new WeightError(0.5, 2)]);
            packed.Add(Second, _weight, [new WeightError(0.25, 2), default]);
            packed.Save();
        }

        _seed = File.ReadAllBytes(path);
    }

    public override string Name => "packed-weights";

    public override InputShape Shape => InputShape.Bytes;

    public override IEnumerable<byte[]> Seeds()
    {
        yield return _seed;
        byte[] empty = PackedFile.Table([]);
        yield return [.. PackedFile.Header(Key, PackedFile.HeaderBytes, empty), .. empty];
        byte[] table = PackedFile.Table([new PackedEntry(First, WeightFormat.Int4, 0, 0, PackedFile.HeaderBytes, 0, 0, [])]);
        yield return [.. PackedFile.Header(Key, PackedFile.HeaderBytes, table), .. table];
    }

    public override byte[] Repair(byte[] input, Chance chance)
    {
        if (chance.OneIn(8) || input.Length < PackedFile.HeaderBytes + 4)
            return input;
        // The table begins where the header says, or where the seed's began; its length and checksum follow.
        byte[] repaired = [.. input];
        long offset = BinaryPrimitives.ReadInt64LittleEndian(repaired.AsSpan(16));
        if (offset < PackedFile.HeaderBytes || offset > repaired.Length - 4)
            offset = PackedFile.HeaderBytes + chance.Below(repaired.Length - PackedFile.HeaderBytes - 3);
        PackedFile.Header(Key, offset, repaired.AsSpan((int)offset)).CopyTo(repaired, 0);
        return repaired;
    }

    public override long MaxAllocated(int length) => (2 << 20) + (64L * length);

    public override bool Run(byte[] input)
    {
        if (_runs++ % RealFileEvery == 0)
            ReadAsWeights(input);
        if (input.Length == 0)
            return false;
        nint address = _guarded.Place(input);
        try
        {
            using PackedFile file = PackedFile.Open(MappedFile.Over(address, input.Length), Key);
            foreach (string name in (ReadOnlySpan<string>)[First, Second])
            {
                if (file.Find(name) is not { } entry)
                    continue;
                file.Expect(entry);
                _ = Crc32C.Append(Crc32C.Start, file.Bytes(entry, 0, (int)entry.Length));
                file.Release(entry);
            }

            return true;
        }
        catch (InvalidDataException e)
        {
            CheckMessage(e.Message, 200);
            return false;
        }
    }

    protected override void Dispose(bool disposing)
    {
        _folder.Dispose();
        _guarded.Dispose();
        _weight.Memory.Buffer.Dispose();
        _backend.Dispose();
        base.Dispose(disposing);
    }

    private void ReadAsWeights(byte[] input)
    {
        string path = _folder.Write("x.packed", input), warning = "";
        using var packed = new PackedWeights(_backend, path, Key, text => warning = text);
        WeightError[]? errors = packed.TryRead(First, _weight, parts: 1);
        Require(errors is { Length: 1 } || warning.Length > 0, "packed weights were left without a word");
        if (warning.Length > 0)
            CheckMessage(warning, 600);
    }
}
