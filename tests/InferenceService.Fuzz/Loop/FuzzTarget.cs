namespace InferenceService.Fuzz.Loop;

/// <summary>How the mutator should see a target's inputs.</summary>
internal enum InputShape
{
    /// <summary>Any bytes.</summary>
    Bytes,

    /// <summary>Words, numbers, punctuation.</summary>
    Text,

    /// <summary>Sections divided by a zero byte, each JSON or text.</summary>
    Json,
}

/// <summary>One reader of outside bytes, and what must hold for it whatever the bytes are.</summary>
/// <remarks>
/// <see cref="Run"/> lets nothing but the reader's own documented refusal pass quietly: every other exception, and every
/// <see cref="OracleException"/>, is a finding. One instance serves one thread.
/// </remarks>
internal abstract class FuzzTarget : IDisposable
{
    /// <summary>Name on the command line and of its folder in <c>tests/golden/fuzz</c>.</summary>
    public abstract string Name { get; }

    /// <summary>How its inputs are changed.</summary>
    public virtual InputShape Shape => InputShape.Json;

    /// <summary>Longest input that is tried.</summary>
    public virtual int MaxBytes => 4096;

    /// <summary>Words that its readers know.</summary>
    public virtual IReadOnlyList<string> Words => [];

    /// <summary>Inputs to begin with.</summary>
    public abstract IEnumerable<byte[]> Seeds();

    /// <summary>Managed bytes that an input of that length may make the reader allocate.</summary>
    public virtual long MaxAllocated(int length) => (256 << 10) + (256L * length);

    /// <summary>Blocks of instrumented code that an input of that length may run.</summary>
    public virtual long MaxWork(int length) => 50_000 + (1_000L * length);

    /// <summary>Repairs what a change has broken in lengths and checksums, most of the time: else no input would get past them.</summary>
    public virtual byte[] Repair(byte[] input, Chance chance) => input;

    /// <summary>Reads the input as the product does.</summary>
    /// <returns>False when it was refused properly.</returns>
    public abstract bool Run(byte[] input);

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives back what it holds.</summary>
    protected virtual void Dispose(bool disposing)
    {
    }

    /// <summary>A refusal must be one line of bounded length.</summary>
    protected static void CheckMessage(string message, int most = 1000)
    {
        if (message.Length == 0 || message.Length > most)
            throw new OracleException($"a refusal of {message.Length} characters: {message[..Math.Min(message.Length, 200)]}");
        if (message.AsSpan().ContainsAny('\n', '\r', '\0'))
            throw new OracleException($"a refusal of more than one line: {message}");
    }

    /// <summary>A property that must hold.</summary>
    protected static void Require(bool holds, string otherwise)
    {
        if (!holds)
            throw new OracleException(otherwise);
    }
}

/// <summary>Something that must hold did not.</summary>
internal sealed class OracleException(string message) : Exception(message);
