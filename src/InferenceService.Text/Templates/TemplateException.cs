namespace InferenceService.Text.Templates;

/// <summary>A chat template that cannot be read, that failed while rendering, or that refused the conversation itself.</summary>
/// <remarks>The message of an error found by this engine is one line of bounded length. <see cref="RaisedByTemplate"/> tells it from the template's own
/// text.</remarks>
public sealed class TemplateException : Exception
{
    private const int MostChars = 1000;

    internal TemplateException(string message, int line = 0, bool raisedByTemplate = false)
        : base(raisedByTemplate || message.Length <= MostChars ? message : Brief(message))
    {
        Line = line;
        RaisedByTemplate = raisedByTemplate;
    }

    /// <summary>True when the template called <c>raise_exception</c>; the message is then the template's own text, unchanged.</summary>
    public bool RaisedByTemplate { get; }

    /// <summary>Line of the template source, from 1; 0 when the error belongs to no line.</summary>
    public int Line { get; internal set; }

    // Templates and their variables give names of any length; no half of a surrogate pair may be left of them.
    private static string Brief(string message) => message[..(char.IsHighSurrogate(message[MostChars - 1]) ? MostChars - 1 : MostChars)] + "…";
}
