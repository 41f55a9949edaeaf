using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Patterns;

/// <summary>Turns the syntax tree into the instructions that <see cref="PatternScan"/> runs.</summary>
internal sealed class PatternCompiler
{
    private const int MaxInstructions = 20_000;
    private const int MaxGuards = 64;
    private const int MaxSets = 2000;

    private readonly List<PatternInstruction> _code = [];
    private readonly Dictionary<CodePointSet, CodePointMatcher> _sets = [];
    private readonly string _source;
    private int _slots;
    private int _guards;

    private PatternCompiler(string source) => _source = source;

    /// <returns>The instructions, and how many slots they mark.</returns>
    /// <exception cref="TokenizerException">The pattern unrolls to too much, or looks behind by a varying length.</exception>
    public static (PatternInstruction[] Code, int Slots) Compile(PatternNode node, string source)
    {
        var compiler = new PatternCompiler(source);
        compiler.Emit(node);
        compiler.Emit(new PatternInstruction(PatternOp.Match));
        return ([.. compiler._code], compiler._slots);
    }

    private int Emit(PatternInstruction instruction)
    {
        if (_code.Count >= MaxInstructions)
            throw new TokenizerException($"regular expression {JsonPart.Quote(_source)} is too large");
        _code.Add(instruction);
        return _code.Count - 1;
    }

    /// <summary>Unrolled copies of a body share their sets.</summary>
    private CodePointMatcher Freeze(CodePointSet set)
    {
        if (_sets.TryGetValue(set, out CodePointMatcher? matcher))
            return matcher;
        if (_sets.Count >= MaxSets)
            throw new TokenizerException($"regular expression {JsonPart.Quote(_source)} has more than {MaxSets} character sets");
        return _sets[set] = set.Freeze();
    }

    private void Emit(PatternNode node)
    {
        switch (node)
        {
            case PatternNode.Empty:
                break;
            case PatternNode.One one:
                EmitOne(one.Set);
                break;
            case PatternNode.Sequence sequence:
                foreach (PatternNode item in sequence.Items)
                    Emit(item);
                break;
            case PatternNode.Choice choice:
                EmitChoice(choice);
                break;
            case PatternNode.Repeat repeat:
                EmitRepeat(repeat);
                break;
            case PatternNode.Anchor anchor:
                Emit(new PatternInstruction(PatternOp.Anchor, (int)anchor.Kind));
                break;
            case PatternNode.Atomic atomic:
                EmitBody(atomic.Body, PatternOp.Atomic, 0, 0);
                break;
            case PatternNode.Look look:
                EmitLook(look);
                break;
            default:
                throw new InvalidOperationException(node.GetType().Name);
        }
    }

    private void EmitOne(CodePointSet set)
    {
        if (set.Ranges is [var only] && only.First == only.Last && only.First is < 0xD800 or (> 0xDFFF and <= 0xFFFF))
            Emit(new PatternInstruction(PatternOp.Unit, set.Ranges[0].First));
        else
            Emit(new PatternInstruction(PatternOp.Set, Set: Freeze(set)));
    }

    private void EmitChoice(PatternNode.Choice choice)
    {
        var jumps = new List<int>();
        for (int i = 0; i < choice.Branches.Count; i++)
        {
            bool last = i == choice.Branches.Count - 1;
            int split = last ? -1 : Emit(new PatternInstruction(PatternOp.Split, Set: Guard(choice.Branches[i])));
            Emit(choice.Branches[i]);
            if (last)
                break;
            jumps.Add(Emit(new PatternInstruction(PatternOp.Jump)));
            _code[split] = _code[split] with { A = split + 1, B = _code.Count };
        }

        foreach (int jump in jumps)
            _code[jump] = _code[jump] with { A = _code.Count };
    }

    /// <summary>What a branch must begin with, so that most branches are skipped by one look at the next code point.</summary>
    private CodePointMatcher? Guard(PatternNode branch)
    {
        var first = new CodePointSet();
        return _guards < MaxGuards && AddFirst(branch, first) && ++_guards > 0 ? first.Freeze() : null;
    }

    /// <summary>Adds what <paramref name="node"/> can begin with; false when it can be empty or the answer is unknown.</summary>
    private static bool AddFirst(PatternNode node, CodePointSet first)
    {
        switch (node)
        {
            case PatternNode.One one:
                first.Add(one.Set);
                return true;
            case PatternNode.Sequence sequence:
                foreach (PatternNode item in sequence.Items)
                {
                    if (AddFirst(item, first))
                        return true;
                    if (!IsOptional(item))
                        return false;
                }

                return false;
            case PatternNode.Choice choice:
                foreach (PatternNode branch in choice.Branches)
                {
                    if (!AddFirst(branch, first))
                        return false;
                }

                return true;
            case PatternNode.Repeat repeat:
                return AddFirst(repeat.Body, first) && repeat.Min > 0;
            case PatternNode.Atomic atomic:
                return AddFirst(atomic.Body, first);
            default:
                return false;
        }
    }

    /// <summary>True when a false from <see cref="AddFirst"/> only meant "may be empty", so that the next item's beginnings
    /// complete the set.</summary>
    private static bool IsOptional(PatternNode item) =>
        item is PatternNode.Empty || (item is PatternNode.Repeat { Min: 0 } repeat && AddFirst(repeat.Body, new CodePointSet()));

    private void EmitRepeat(PatternNode.Repeat repeat)
    {
        if (repeat.Body is PatternNode.One one)
        {
            Emit(new PatternInstruction(PatternOp.Loop, repeat.Min, repeat.Max, Freeze(one.Set), repeat.Kind));
            return;
        }

        if (repeat.Kind == RepeatKind.Possessive)
        {
            EmitBody(repeat with { Kind = RepeatKind.Greedy }, PatternOp.Atomic, 0, 0);
            return;
        }

        for (int i = 0; i < repeat.Min; i++)
            Emit(repeat.Body);
        if (repeat.Max < 0)
            EmitStar(repeat);
        else
            EmitOptional(repeat, repeat.Max - repeat.Min);
    }

    private void EmitStar(PatternNode.Repeat repeat)
    {
        int split = Emit(new PatternInstruction(PatternOp.Split));
        int slot = _slots++;
        Emit(new PatternInstruction(PatternOp.Mark, slot));
        Emit(repeat.Body);
        int check = Emit(new PatternInstruction(PatternOp.SkipIfEmpty, slot));
        Emit(new PatternInstruction(PatternOp.Jump, split));
        _code[check] = _code[check] with { B = _code.Count };
        Aim(split, repeat.Kind);
    }

    private void EmitOptional(PatternNode.Repeat repeat, int times)
    {
        var splits = new List<int>();
        for (int i = 0; i < times; i++)
        {
            splits.Add(Emit(new PatternInstruction(PatternOp.Split)));
            Emit(repeat.Body);
        }

        foreach (int split in splits)
            Aim(split, repeat.Kind);
    }

    /// <summary>Points a split at the instruction after it and at the end of the code so far, in the order the kind wants.</summary>
    private void Aim(int split, RepeatKind kind) => _code[split] = kind == RepeatKind.Lazy
        ? _code[split] with { A = _code.Count, B = split + 1 }
        : _code[split] with { A = split + 1, B = _code.Count };

    private void EmitBody(PatternNode body, PatternOp op, int negated, int length)
    {
        int start = Emit(new PatternInstruction(op, 0, negated, Length: length));
        Emit(body);
        Emit(new PatternInstruction(PatternOp.Match));
        _code[start] = _code[start] with { A = _code.Count };
    }

    private void EmitLook(PatternNode.Look look)
    {
        if (!look.Behind)
        {
            EmitBody(look.Body, PatternOp.Ahead, look.Negated ? 1 : 0, 0);
            return;
        }

        // Every branch has its own fixed length. A negated choice is "not this and not that"; a plain one is a choice of looks.
        IReadOnlyList<PatternNode> branches = look.Body is PatternNode.Choice choice ? choice.Branches : [look.Body];
        if (!look.Negated && branches.Count > 1)
        {
            var looks = new List<PatternNode>();
            foreach (PatternNode branch in branches)
                looks.Add(new PatternNode.Look(branch, Behind: true, Negated: false));
            EmitChoice(new PatternNode.Choice(looks));
            return;
        }

        foreach (PatternNode branch in branches)
        {
            int length = FixedLength(branch);
            if (length < 0)
                throw new TokenizerException($"regular expression {JsonPart.Quote(_source)} looks behind by a varying length, which is not supported");
            EmitBody(branch, PatternOp.Behind, look.Negated ? 1 : 0, length);
        }
    }

    /// <summary>The length in code points that every match has, or -1.</summary>
    private static int FixedLength(PatternNode node)
    {
        switch (node)
        {
            case PatternNode.Empty or PatternNode.Anchor or PatternNode.Look:
                return 0;
            case PatternNode.One:
                return 1;
            case PatternNode.Atomic atomic:
                return FixedLength(atomic.Body);
            case PatternNode.Repeat repeat when repeat.Min == repeat.Max:
                int once = FixedLength(repeat.Body);
                return once < 0 ? -1 : once * repeat.Min;
            case PatternNode.Sequence sequence:
                int sum = 0;
                foreach (PatternNode item in sequence.Items)
                {
                    int length = FixedLength(item);
                    if (length < 0)
                        return -1;
                    sum += length;
                }

                return sum;
            case PatternNode.Choice choice:
                int common = FixedLength(choice.Branches[0]);
                foreach (PatternNode branch in choice.Branches)
                {
                    if (FixedLength(branch) != common)
                        return -1;
                }

                return common;
            default:
                return -1;
        }
    }
}
