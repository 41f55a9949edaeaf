using System.Text;
using InferenceService.Fuzz.Loop;

namespace InferenceService.Fuzz.Mutation;

/// <summary>Makes an input out of one or two others: some changes on top of each other, in the way that suits the target.</summary>
internal sealed class Mutator
{
    private readonly FuzzTarget _target;
    private readonly Chance _chance;
    private readonly JsonEdits _json = new();
    private readonly List<byte[]> _words;
    private readonly List<byte> _bytes = [];

    public Mutator(FuzzTarget target, Chance chance)
    {
        (_target, _chance) = (target, chance);
        _words = [.. target.Words.Select(Encoding.UTF8.GetBytes)];
    }

    /// <summary>Learns names from an input.</summary>
    public void Learn(ReadOnlySpan<byte> input)
    {
        if (_target.Shape != InputShape.Json)
            return;
        foreach (Range section in input.Split((byte)0))
            _json.Learn(input[section]);
    }

    /// <summary>A changed copy.</summary>
    public byte[] Change(byte[] parent, byte[] other)
    {
        _bytes.Clear();
        _bytes.AddRange(parent);
        int changes = _chance.OneIn(2) ? 1 : _chance.Small(8);
        // Inputs that keep their form reach what lies behind the parser; some do not.
        bool plain = _target.Shape == InputShape.Bytes || _chance.OneIn(8);
        for (int i = 0; i < changes; i++)
            ChangeOnce(other, plain);
        if (_bytes.Count > _target.MaxBytes)
            _bytes.RemoveRange(_target.MaxBytes, _bytes.Count - _target.MaxBytes);
        return _target.Repair([.. _bytes], _chance);
    }

    private void ChangeOnce(byte[] other, bool plain)
    {
        (int from, int to) = _target.Shape == InputShape.Json ? Section() : (0, _bytes.Count);
        if (!plain && _target.Shape == InputShape.Json && _json.TryApply(_bytes, from, to, SectionOf(other), _words, _chance))
            return;
        if (plain)
            ByteEdits.Apply(_bytes, from, to, other, _words, _chance);
        else
            TextEdits.Apply(_bytes, from, to, other, _words, _chance);
    }

    private (int From, int To) Section()
    {
        if (!_bytes.Contains(0))
            return (0, _bytes.Count);
        int at = _chance.Below(_bytes.Count);
        int from = at == 0 ? 0 : _bytes.LastIndexOf(0, at - 1) + 1;
        int to = _bytes.IndexOf(0, at);
        return (from, to < 0 ? _bytes.Count : Math.Max(from, to));
    }

    private ReadOnlySpan<byte> SectionOf(ReadOnlySpan<byte> other)
    {
        int at = other.IndexOf((byte)0);
        return at < 0 ? other : _chance.OneIn(2) ? other[..at] : other[(at + 1)..];
    }
}
