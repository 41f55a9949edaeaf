using System.Diagnostics.CodeAnalysis;

namespace InferenceService.Server.Hub;

/// <summary>A model on a hub: <c>org/name</c>, or <c>org/name@revision</c> with a branch, a tag or a commit.</summary>
/// <param name="Organization">First segment.</param>
/// <param name="Name">Second segment.</param>
/// <param name="Revision">Branch, tag or commit.</param>
internal sealed record HubModelId(string Organization, string Name, string Revision)
{
    private const string DefaultRevision = "main";
    private const int MaxSegment = 96;
    private const int MaxRevision = 128;

    /// <summary>Without the revision.</summary>
    public string Repository => $"{Organization}/{Name}";

    /// <summary>With the revision, where it is not the default one.</summary>
    public override string ToString() => Revision == DefaultRevision ? Repository : $"{Repository}@{Revision}";

    /// <summary>Reads an id; false = it is none, whatever else it may be. No part of an id can leave a folder that it names.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out HubModelId? id)
    {
        id = null;
        int at = text.IndexOf('@', StringComparison.Ordinal);
        string[] segments = (at < 0 ? text : text[..at]).Split('/');
        string revision = at < 0 ? DefaultRevision : text[(at + 1)..];
        if (segments.Length != 2 || !Array.TrueForAll(segments, segment => segment.Length <= MaxSegment && IsPlain(segment)))
            return false;
        if (revision.Length > MaxRevision || !Array.TrueForAll(revision.Split('/'), IsPlain))
            return false;
        id = new HubModelId(segments[0], segments[1], revision);
        return true;
    }

    /// <summary>A name that is safe as the name of a file: no separator, no "..", nothing hidden.</summary>
    internal static bool IsPlain(string segment) =>
        segment.Length > 0 && segment[0] != '.' && !segment.Contains("..", StringComparison.Ordinal)
        && segment.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    /// <summary>A git commit, or another hexadecimal name of contents.</summary>
    internal static bool IsHex(string text, int length) => text.Length == length && text.All(char.IsAsciiHexDigitLower);
}
