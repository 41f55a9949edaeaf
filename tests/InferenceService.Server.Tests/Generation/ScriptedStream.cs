using System.Threading.Channels;
using InferenceService.Engine;

namespace InferenceService.Server.Tests.Generation;

/// <summary>An engine's answer written by the test.</summary>
internal sealed class ScriptedStream : GenerationStream
{
    private readonly Channel<GeneratedToken> _events = Channel.CreateUnbounded<GeneratedToken>();
    private RequestTimes _times;

    public bool IsCancelled { get; private set; }

    /// <summary>The engine is in a step that does not end: it hears of no cancellation.</summary>
    public bool IsStuck { get; init; }

    public List<int> CancelledChoices { get; } = [];

    public override int CachedTokens => 0;

    public override IReadOnlyList<TokenLogprobs?>? PromptLogprobs => Prompt;

    public IReadOnlyList<TokenLogprobs?>? Prompt { get; init; }

    public override KvUsage KvUsage => default;

    public override RequestTimes Times => _times;

    public override string? Error => "scripted fault";

    /// <summary>The request leaves the queue.</summary>
    public void Schedule() => _times = _times with { Arrived = 1, Scheduled = 1 };

    /// <summary>Sends events; the request has then left the queue.</summary>
    public void Send(params GeneratedToken[] tokens)
    {
        Schedule();
        _times = _times with { FirstToken = 1, LastToken = 1 };
        foreach (GeneratedToken token in tokens)
            Assert.True(_events.Writer.TryWrite(token));
    }

    /// <summary>Sends the bytes of a text as tokens of <see cref="TinyModel"/>, and ends the choice.</summary>
    public void SendText(string text, FinishReason finish = FinishReason.Length, int choice = 0)
    {
        Send([.. Tokens(text, choice), new GeneratedToken(choice, -1, finish, null)]);
    }

    /// <summary>One token a byte.</summary>
    public static IEnumerable<GeneratedToken> Tokens(string text, int choice = 0) =>
        System.Text.Encoding.UTF8.GetBytes(text).Select(b => new GeneratedToken(choice, TinyModel.FirstByteId + b, FinishReason.None, null));

    public void Complete() => _events.Writer.TryComplete();

    public override bool TryRead(out GeneratedToken token) => _events.Reader.TryRead(out token);

    public override ValueTask<bool> WaitToReadAsync(CancellationToken cancellationToken) => _events.Reader.WaitToReadAsync(cancellationToken);

    public override void Cancel()
    {
        IsCancelled = true;
        if (IsStuck)
            return;
        _events.Writer.TryWrite(new GeneratedToken(0, -1, FinishReason.Cancelled, null));
        _events.Writer.TryComplete();
    }

    public override void CancelChoice(int choice) => CancelledChoices.Add(choice);
}
