using InferenceService.Fuzz.Loop;

namespace InferenceService.Fuzz.Mutation;

/// <summary>Changes at the borders of words: runs of letters and digits, runs of white space, single other characters.</summary>
internal static class TextEdits
{
    /// <summary>One change between two places.</summary>
    public static void Apply(List<byte> bytes, int from, int to, ReadOnlySpan<byte> other, IReadOnlyList<byte[]> words, Chance chance)
    {
        (int start, int end) = Word(bytes, from, to, chance);
        switch (chance.Below(6))
        {
            case 0 when words.Count > 0:
                bytes.InsertRange(start, words[chance.Below(words.Count)]);
                break;
            case 1 when words.Count > 0:
                bytes.RemoveRange(start, end - start);
                bytes.InsertRange(start, words[chance.Below(words.Count)]);
                break;
            case 2:
                bytes.RemoveRange(start, end - start);
                break;
            case 3:
                (int place, _) = Word(bytes, from, to, chance);
                bytes.InsertRange(place, bytes.GetRange(start, end - start));
                break;
            case 4:
                // A stretch of words goes to another place.
                (int last, int lastEnd) = Word(bytes, end, Math.Min(to, end + 48), chance);
                byte[] stretch = [.. bytes.GetRange(start, Math.Max(lastEnd, last) - start)];
                (int target, _) = Word(bytes, from, to, chance);
                bytes.InsertRange(target, stretch);
                break;
            default:
                if (other.IsEmpty)
                    return;
                var foreign = new List<byte>(other.ToArray());
                (int first, _) = Word(foreign, 0, foreign.Count, chance);
                (_, int until) = Word(foreign, first, Math.Min(foreign.Count, first + 48), chance);
                bytes.InsertRange(start, foreign.GetRange(first, Math.Max(0, until - first)));
                break;
        }
    }

    private static (int Start, int End) Word(List<byte> bytes, int from, int to, Chance chance)
    {
        if (from >= to)
            return (from, from);
        int at = from + chance.Below(to - from), start = at, end = at + 1;
        int kind = Kind(bytes[at]);
        if (kind == 0)
            return (start, end);
        while (start > from && Kind(bytes[start - 1]) == kind)
            start--;
        while (end < to && Kind(bytes[end]) == kind)
            end++;
        return (start, end);
    }

    private static int Kind(byte b) => b switch
    {
        (byte)'_' or >= (byte)'0' and <= (byte)'9' or >= (byte)'a' and <= (byte)'z' or >= (byte)'A' and <= (byte)'Z' or >= 0x80 => 1,
        (byte)' ' or (byte)'\n' or (byte)'\t' or (byte)'\r' => 2,
        _ => 0,
    };
}
