using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Patterns;

/// <summary>The syntax tree of a regular expression.</summary>
internal abstract record PatternNode
{
    public sealed record Empty : PatternNode;

    /// <summary>One code point of a set.</summary>
    public sealed record One(CodePointSet Set) : PatternNode;

    public sealed record Sequence(IReadOnlyList<PatternNode> Items) : PatternNode;

    public sealed record Choice(IReadOnlyList<PatternNode> Branches) : PatternNode;

    /// <param name="Max">-1: unbounded.</param>
    public sealed record Repeat(PatternNode Body, int Min, int Max, RepeatKind Kind) : PatternNode;

    public sealed record Look(PatternNode Body, bool Behind, bool Negated) : PatternNode;

    public sealed record Atomic(PatternNode Body) : PatternNode;

    public sealed record Anchor(AnchorKind Kind) : PatternNode;
}

internal enum RepeatKind
{
    Greedy,
    Lazy,
    Possessive,
}

internal enum AnchorKind
{
    TextStart,
    TextEnd,
    TextEndOrFinalNewline,
    LineStart,
    LineEnd,
    WordBoundary,
    NotWordBoundary,
}
