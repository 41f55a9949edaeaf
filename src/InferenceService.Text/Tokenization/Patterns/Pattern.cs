namespace InferenceService.Text.Tokenization.Patterns;

/// <summary>What Split and Replace search for: a plain string or a regular expression. Immutable, safe for concurrent use.</summary>
/// <remarks>The engine is our own because .NET's works on UTF-16 units (its \p{L} misses every supplementary letter), lacks possessive
/// quantifiers and class intersections, and reads ^, $ and (?m) differently from Oniguruma, which these files are written for.</remarks>
internal sealed class Pattern
{
    private const int MaxLength = 20_000;

    private Pattern(string source, string? literal, PatternInstruction[] code, int slots) =>
        (Source, LiteralText, Code, Slots) = (source, literal, code, slots);

    /// <summary>As the file has it, for messages.</summary>
    public string Source { get; }

    /// <summary>Not null: search for exactly this.</summary>
    public string? LiteralText { get; }

    public PatternInstruction[] Code { get; }

    public int Slots { get; }

    public static Pattern Literal(string text) =>
        text.Length == 0 ? Regex("") : new Pattern(text, text, [], 0);

    /// <exception cref="TokenizerException">The expression is damaged or asks for something unsupported.</exception>
    public static Pattern Regex(string expression)
    {
        if (expression.Length > MaxLength)
            throw new TokenizerException($"regular expression {JsonPart.Quote(expression)} is {expression.Length} characters long; at most {MaxLength} are allowed");
        (PatternInstruction[] code, int slots) = PatternCompiler.Compile(PatternParser.Parse(expression), expression);
        return new Pattern(expression, null, code, slots);
    }

    /// <summary>Reads <c>{"String": "..."}</c> or <c>{"Regex": "..."}</c>.</summary>
    public static Pattern Read(JsonPart part)
    {
        if (part.Optional("String") is { } text)
            return Literal(text.String());
        if (part.Optional("Regex") is { } expression)
            return Regex(expression.String());
        throw part.Error("must have String or Regex");
    }

    /// <summary>All matches, left to right, without overlap.</summary>
    public PatternScan Scan(ReadOnlySpan<char> text) => new(this, text);
}
