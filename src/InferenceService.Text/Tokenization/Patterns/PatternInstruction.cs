using InferenceService.Text.Tokenization.Unicode;

namespace InferenceService.Text.Tokenization.Patterns;

internal enum PatternOp : byte
{
    /// <summary>One UTF-16 unit that is a whole code point: <c>A</c>.</summary>
    Unit,

    /// <summary>One code point of <c>Set</c>.</summary>
    Set,

    /// <summary>A code point of <c>Set</c>, <c>A</c> to <c>B</c> times (-1: unbounded), as <c>Kind</c> says.</summary>
    Loop,

    /// <summary>Try <c>A</c>, later <c>B</c>. With a <c>Set</c>, skip <c>A</c> when the next code point is not in it.</summary>
    Split,

    /// <summary>Go on at <c>A</c>.</summary>
    Jump,

    /// <summary>Remember the position in slot <c>A</c>.</summary>
    Mark,

    /// <summary>Go on at <c>B</c> when nothing was consumed since slot <c>A</c> was marked.</summary>
    SkipIfEmpty,

    /// <summary>Anchor <c>A</c>.</summary>
    Anchor,

    /// <summary>The body follows, up to its own Match; go on at <c>A</c> when it matches (<c>B</c> 0) or does not (<c>B</c> 1).</summary>
    Ahead,

    /// <summary>As Ahead, with the body begun <c>Length</c> code points earlier.</summary>
    Behind,

    /// <summary>The body follows, up to its own Match; its first match is final; go on at <c>A</c>.</summary>
    Atomic,

    Match,
}

/// <summary>One step of a compiled pattern; what the operands mean depends on the operation.</summary>
internal readonly record struct PatternInstruction(PatternOp Op, int A = 0, int B = 0, CodePointMatcher? Set = null, RepeatKind Kind = RepeatKind.Greedy,
    int Length = 0);
