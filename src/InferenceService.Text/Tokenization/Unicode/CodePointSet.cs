namespace InferenceService.Text.Tokenization.Unicode;

/// <summary>A set of code points as sorted, disjoint, inclusive ranges. Built once, then frozen into a fast lookup with <see cref="Freeze"/>.</summary>
internal sealed class CodePointSet
{
    public const int Last = 0x10FFFF;

    private readonly List<(int First, int Last)> _ranges = [];
    private bool _sorted = true;

    public bool IsEmpty => _ranges.Count == 0;

    public IReadOnlyList<(int First, int Last)> Ranges
    {
        get
        {
            Sort();
            return _ranges;
        }
    }

    public static CodePointSet Of(int codePoint) => Of(codePoint, codePoint);

    public static CodePointSet Of(int first, int last)
    {
        var set = new CodePointSet();
        set.Add(first, last);
        return set;
    }

    public void Add(int codePoint) => Add(codePoint, codePoint);

    public void Add(int first, int last)
    {
        if (_ranges.Count > 0 && first <= _ranges[^1].Last + 1)
            _sorted = false;
        _ranges.Add((first, last));
    }

    public void Add(CodePointSet other)
    {
        foreach ((int first, int last) in other.Ranges)
            Add(first, last);
    }

    public bool Contains(int codePoint)
    {
        Sort();
        int low = 0, high = _ranges.Count - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            if (codePoint < _ranges[middle].First)
                high = middle - 1;
            else if (codePoint > _ranges[middle].Last)
                low = middle + 1;
            else
                return true;
        }

        return false;
    }

    public CodePointSet Complement()
    {
        var result = new CodePointSet();
        int next = 0;
        foreach ((int first, int last) in Ranges)
        {
            if (first > next)
                result.Add(next, first - 1);
            next = last + 1;
        }

        if (next <= Last)
            result.Add(next, Last);
        return result;
    }

    public CodePointSet Intersect(CodePointSet other)
    {
        CodePointSet union = Complement();
        union.Add(other.Complement());
        return union.Complement();
    }

    /// <summary>Brings the ranges into order now, so that later reads from several threads change nothing.</summary>
    public CodePointSet Settle()
    {
        Sort();
        return this;
    }

    public CodePointMatcher Freeze() => new(this);

    private void Sort()
    {
        if (_sorted)
            return;
        _ranges.Sort();
        int kept = 0;
        for (int i = 1; i < _ranges.Count; i++)
        {
            if (_ranges[i].First <= _ranges[kept].Last + 1)
                _ranges[kept] = (_ranges[kept].First, Math.Max(_ranges[kept].Last, _ranges[i].Last));
            else
                _ranges[++kept] = _ranges[i];
        }

        _ranges.RemoveRange(kept + 1, _ranges.Count - kept - 1);
        _sorted = true;
    }
}
