using System.Buffers;
using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Patterns;

/// <summary>Walks over the matches of a pattern in one text: a backtracking machine with an explicit stack and a step budget, so that no
/// pattern and no text can make it hang or overflow.</summary>
internal ref struct PatternScan
{
    private const int FrameSize = 3;
    private const int MaxStack = 1 << 24;
    private const long BaseSteps = 20_000_000;
    private const long StepsPerUnit = 200;

    private readonly Pattern _pattern;
    private readonly ReadOnlySpan<PatternInstruction> _code;
    private readonly ReadOnlySpan<char> _text;
    private int[]? _stack;
    private int[]? _slots;
    private int _top;
    private long _steps;
    private int _from;
    private int _lastEnd;

    public PatternScan(Pattern pattern, ReadOnlySpan<char> text)
    {
        _pattern = pattern;
        _code = pattern.Code;
        _text = text;
        _lastEnd = -1;
        _steps = BaseSteps + (StepsPerUnit * text.Length);
    }

    /// <summary>Where the current match begins, in UTF-16 units.</summary>
    public int Start { get; private set; }

    /// <summary>Where the current match ends, exclusive.</summary>
    public int End { get; private set; }

    /// <summary>What a frame on the backtracking stack means.</summary>
    private enum Frame
    {
        Choice,
        Greedy,
        Lazy,
        Slot,
    }

    /// <exception cref="TokenizerException">The pattern needs too many steps on this text.</exception>
    public bool Next()
    {
        if (_pattern.LiteralText is { } literal)
        {
            int at = _from > _text.Length ? -1 : _text[_from..].IndexOf(literal);
            if (at < 0)
                return false;
            (Start, End) = (_from + at, _from + at + literal.Length);
            _from = End;
            return true;
        }

        for (int start = _from; start <= _text.Length; start = After(start))
        {
            int end = Run(0, start);
            if (end < 0)
                continue;

            // An empty match right after the previous match is passed over, as in Oniguruma's iterator.
            if (end == start && end == _lastEnd)
                continue;
            (Start, End) = (start, end);
            _from = _lastEnd = end;
            return true;
        }

        _from = _text.Length + 1;
        return false;
    }

    /// <summary>Gives the stack back.</summary>
    public void Dispose()
    {
        if (_stack is not null)
            ArrayPool<int>.Shared.Return(_stack);
        _stack = null;
    }

    private readonly int After(int position) =>
        position + 1 < _text.Length && char.IsHighSurrogate(_text[position]) && char.IsLowSurrogate(_text[position + 1]) ? position + 2 : position + 1;

    private readonly int Before(int position) =>
        position >= 2 && char.IsLowSurrogate(_text[position - 1]) && char.IsHighSurrogate(_text[position - 2]) ? position - 2 : position - 1;

    /// <summary>Runs the code from <paramref name="pc"/> at <paramref name="position"/>; the end of the match, or -1. The stack is
    /// left as it was.</summary>
    private int Run(int pc, int position)
    {
        int floor = _top;
        Spend(1);
        while (true)
        {
            bool ok = true;
            ref readonly PatternInstruction step = ref _code[pc];
            switch (step.Op)
            {
                case PatternOp.Unit:
                    ok = position < _text.Length && _text[position] == step.A;
                    position++;
                    pc++;
                    break;
                case PatternOp.Set:
                    int units = position < _text.Length ? step.Set!.MatchLength(_text, position) : 0;
                    ok = units > 0;
                    position += units;
                    pc++;
                    break;
                case PatternOp.Loop:
                    ok = Loop(pc, in step, ref position);
                    pc++;
                    break;
                case PatternOp.Split:
                    Spend(1);
                    if (step.Set is { } guard && (position >= _text.Length || guard.MatchLength(_text, position) == 0))
                    {
                        pc = step.B;
                        break;
                    }

                    Push(Frame.Choice, step.B, position, 0);
                    pc = step.A;
                    break;
                case PatternOp.Jump:
                    pc = step.A;
                    break;
                case PatternOp.Mark:
                    _slots ??= new int[_pattern.Slots];
                    Push(Frame.Slot, 0, step.A, _slots[step.A]);
                    _slots[step.A] = position;
                    pc++;
                    break;
                case PatternOp.SkipIfEmpty:
                    pc = _slots![step.A] == position ? step.B : pc + 1;
                    break;
                case PatternOp.Anchor:
                    ok = Holds((AnchorKind)step.A, position);
                    pc++;
                    break;
                case PatternOp.Ahead:
                    ok = Run(pc + 1, position) >= 0 == (step.B == 0);
                    pc = step.A;
                    break;
                case PatternOp.Behind:
                    ok = Behind(pc, in step, position) == (step.B == 0);
                    pc = step.A;
                    break;
                case PatternOp.Atomic:
                    position = Run(pc + 1, position);
                    ok = position >= 0;
                    pc = step.A;
                    break;
                default:
                    Unwind(floor);
                    return position;
            }

            if (!ok && !Backtrack(floor, ref pc, ref position))
                return -1;
        }
    }

    private bool Loop(int pc, in PatternInstruction step, ref int position)
    {
        CodePointMatcher set = step.Set!;
        int start = position;
        int atMin = step.A == 0 ? position : -1;
        int limit = step.Kind == RepeatKind.Lazy ? step.A : step.B < 0 ? int.MaxValue : step.B;
        int count = 0;
        while (count < limit && position < _text.Length)
        {
            char unit = _text[position];
            if (!char.IsSurrogate(unit))
            {
                if (!set.Contains(unit))
                    break;
                position++;
            }
            else
            {
                int units = set.MatchLength(_text, position);
                if (units == 0)
                    break;
                position += units;
            }

            if (++count == step.A)
                atMin = position;
        }

        Spend(position - start);
        if (count < step.A)
            return false;
        if (step.Kind == RepeatKind.Lazy)
        {
            if (step.B != count)
                Push(Frame.Lazy, pc, position, count);
        }
        else if (step.Kind == RepeatKind.Greedy && position > atMin)
        {
            Push(Frame.Greedy, pc + 1, atMin, position);
        }

        return true;
    }

    /// <summary>Takes the newest alternative above <paramref name="floor"/>; false when none is left.</summary>
    private bool Backtrack(int floor, ref int pc, ref int position)
    {
        while (_top > floor)
        {
            Spend(1);
            _top -= FrameSize;
            int first = _stack![_top], second = _stack[_top + 1], third = _stack[_top + 2];
            int target = first >> 2;
            switch ((Frame)(first & 3))
            {
                case Frame.Choice:
                    (pc, position) = (target, second);
                    return true;
                case Frame.Greedy:
                    third = Before(third);
                    if (third > second)
                        Push(Frame.Greedy, target, second, third);
                    (pc, position) = (target, third);
                    return true;
                case Frame.Lazy:
                    int units = second < _text.Length ? _code[target].Set!.MatchLength(_text, second) : 0;
                    if (units == 0)
                        break;
                    if (_code[target].B != third + 1)
                        Push(Frame.Lazy, target, second + units, third + 1);
                    (pc, position) = (target + 1, second + units);
                    return true;
                default:
                    _slots![second] = third;
                    break;
            }
        }

        return false;
    }

    /// <summary>Drops the frames of a finished body but restores the slots they saved.</summary>
    private void Unwind(int floor)
    {
        while (_top > floor)
        {
            _top -= FrameSize;
            if ((Frame)(_stack![_top] & 3) == Frame.Slot)
                _slots![_stack[_top + 1]] = _stack[_top + 2];
        }
    }

    private bool Behind(int pc, in PatternInstruction step, int position)
    {
        int start = position;
        for (int i = 0; i < step.Length; i++)
        {
            if (start == 0)
                return false;
            start = Before(start);
        }

        return Run(pc + 1, start) == position;
    }

    private readonly bool Holds(AnchorKind kind, int position) => kind switch
    {
        AnchorKind.TextStart => position == 0,
        AnchorKind.TextEnd => position == _text.Length,
        AnchorKind.TextEndOrFinalNewline => position == _text.Length || (position == _text.Length - 1 && _text[position] == '\n'),
        AnchorKind.LineStart => position == 0 || (_text[position - 1] == '\n' && position < _text.Length),
        AnchorKind.LineEnd => position == _text.Length || _text[position] == '\n',
        AnchorKind.WordBoundary => IsBoundary(position),
        _ => !IsBoundary(position),
    };

    private readonly bool IsBoundary(int position)
    {
        bool before = position > 0 && Categories.PatternWordMatcher.MatchLength(_text, Before(position)) > 0;
        bool after = position < _text.Length && Categories.PatternWordMatcher.MatchLength(_text, position) > 0;
        return before != after;
    }

    private void Push(Frame frame, int pc, int second, int third)
    {
        if (_stack is null || _top + FrameSize > _stack.Length)
            Grow();
        _stack![_top] = (pc << 2) | (int)frame;
        _stack[_top + 1] = second;
        _stack[_top + 2] = third;
        _top += FrameSize;
    }

    private void Grow()
    {
        int size = _stack is null ? 128 : _stack.Length * 2;
        if (size > MaxStack)
            throw TooMuch();
        int[] larger = ArrayPool<int>.Shared.Rent(size);
        if (_stack is not null)
        {
            _stack.AsSpan(0, _top).CopyTo(larger);
            ArrayPool<int>.Shared.Return(_stack);
        }

        _stack = larger;
    }

    private void Spend(int steps)
    {
        _steps -= steps;
        if (_steps < 0)
            throw TooMuch();
    }

    private readonly TokenizerException TooMuch() =>
        new($"pattern {JsonPart.Quote(_pattern.Source)} needs too many steps on a text of {_text.Length} units");
}
