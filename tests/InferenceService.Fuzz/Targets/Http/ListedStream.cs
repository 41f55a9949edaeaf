using InferenceService.Engine;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary>An engine's answer that is known beforehand, in pieces: between two pieces its reader has to wait.</summary>
internal sealed class ListedStream(IReadOnlyList<GeneratedToken> tokens, int pieceLength) : GenerationStream
{
    private int _next, _until;

    public override int CachedTokens => 0;

    public override IReadOnlyList<TokenLogprobs?>? PromptLogprobs => null;

    public override KvUsage KvUsage => default;

    public override RequestTimes Times => new(1, 1, 1, 1);

    public override string? Error => null;

    public override bool TryRead(out GeneratedToken token)
    {
        bool there = _next < tokens.Count && _next < _until;
        token = there ? tokens[_next++] : default;
        return there;
    }

    public override ValueTask<bool> WaitToReadAsync(CancellationToken cancellationToken)
    {
        _until = _next + pieceLength;
        return new(_next < tokens.Count);
    }

    public override void Cancel() => _next = tokens.Count;

    public override void CancelChoice(int choice)
    {
    }
}
