using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;

namespace InferenceService.Server.Api.Output;

/// <summary>
/// Sends an answer while it is being generated. Before the first token, and before <see cref="StreamingOptions.EarlyHeaders"/>
/// have passed, a failure still has a proper status; afterwards it is an event, and the connection is cut.
/// </summary>
internal sealed class StreamedAnswer(
    HttpContext http, EventStream events, TextGeneration generation, IAnswerWriter writer, AnswerOptions answer, StreamingOptions streaming,
    AdmissionOptions admission, TimeProvider time)
{
    private readonly bool[] _opened = new bool[generation.Choices.Count];
    private readonly bool[] _begun = new bool[generation.Choices.Count];
    private readonly long _arrived = time.GetTimestamp();

    /// <summary>Runs until the last event, a failure or the client's leaving.</summary>
    /// <exception cref="StreamCutException">After an error event.</exception>
    public async Task RunAsync()
    {
        while (true)
        {
            bool wrote = SendWhatIsDue();
            if (generation.IsBroken)
            {
                await FailAsync(generation.Failure);
                return;
            }

            // What the cache held is known a step later, which the last text does not wait for.
            bool settles = generation.IsComplete && answer.UsageChunk && answer.KvReport;
            if (wrote && (settles || !generation.IsComplete) && !await events.FlushAsync())
                return;
            if (settles)
                await generation.SettleAsync();
            if (generation.IsBroken)
                continue;
            if (generation.IsComplete)
                break;
            if (!await generation.WaitAsync(UntilNextDeadline()) && !await MeetDeadlinesAsync())
                return;
        }

        if (answer.UsageChunk)
        {
            writer.WriteUsage(events.Begin(), generation);
            events.End();
        }

        events.Done();
        await events.FlushAsync();
    }

    /// <summary>Applies every event that is there. A client that keeps up gets them at its interval, a slow one gets all in one.</summary>
    private bool SendWhatIsDue()
    {
        bool wrote = false;
        bool coalesce = events.ClientIsSlow;
        while (generation.TryAdvance(out ChoiceText? choice))
        {
            if (!_opened[choice.Index])
                wrote |= Open(choice);
            bool ended = choice.FinishReason is not null;
            // The first text goes out as soon as there is some, however many tokens that takes.
            if (ended || !_begun[choice.Index] || (!coalesce && choice.Unsent >= answer.Interval))
                wrote |= Send(choice);
            if (ended)
                wrote |= Finish(choice);
        }

        if (coalesce && !generation.IsBroken)
        {
            foreach (ChoiceText choice in generation.Choices)
                wrote |= choice.FinishReason is null && Send(choice);
        }

        return wrote;
    }

    private bool Open(ChoiceText choice)
    {
        _opened[choice.Index] = true;
        if (!writer.HasOpening)
            return false;
        writer.WriteOpening(events.Begin(), generation, choice);
        events.End();
        return true;
    }

    // Tokens whose text is still held back wait for it, so that text and tokens of a chunk belong together.
    private bool Send(ChoiceText choice)
    {
        if (choice.Text.Length == 0)
            return false;
        writer.WriteDelta(events.Begin(), generation, choice);
        events.End();
        choice.MarkSent();
        _begun[choice.Index] = true;
        return true;
    }

    private bool Finish(ChoiceText choice)
    {
        writer.WriteFinish(events.Begin(), generation, choice);
        events.End();
        choice.MarkSent();
        return true;
    }

    private TimeSpan UntilNextDeadline()
    {
        TimeSpan wait = Timeout.InfiniteTimeSpan;
        if (!generation.IsScheduled)
            Sooner(ref wait, admission.MaxQueueWait - time.GetElapsedTime(_arrived));
        if (!events.Started)
            Sooner(ref wait, streaming.EarlyHeaders - time.GetElapsedTime(_arrived));
        else if (streaming.SseHeartbeat > TimeSpan.Zero)
            Sooner(ref wait, streaming.SseHeartbeat - time.GetElapsedTime(events.LastFlush));
        return wait;
    }

    private static void Sooner(ref TimeSpan wait, TimeSpan other)
    {
        other = other < TimeSpan.Zero ? TimeSpan.Zero : other;
        if (wait == Timeout.InfiniteTimeSpan || other < wait)
            wait = other;
    }

    /// <summary>Does what a passed deadline asks for. False when that ended the answer.</summary>
    private async ValueTask<bool> MeetDeadlinesAsync()
    {
        if (!generation.IsScheduled && time.GetElapsedTime(_arrived) >= admission.MaxQueueWait)
        {
            generation.Cancel(generation.QueueTimeout(admission));
            return true;
        }

        if (!events.Started && time.GetElapsedTime(_arrived) >= streaming.EarlyHeaders)
        {
            events.Start();
            return await events.FlushAsync();
        }

        if (!events.Started || streaming.SseHeartbeat <= TimeSpan.Zero || time.GetElapsedTime(events.LastFlush) < streaming.SseHeartbeat)
            return true;
        events.Ping();
        return await events.FlushAsync();
    }

    private async Task FailAsync(ApiError? error)
    {
        if (error is null)
            return;
        if (!events.Started)
        {
            await OpenAiError.WriteAsync(http, error);
            return;
        }

        events.Write(OpenAiError.ToJson(error));
        if (streaming.DoneAfterError)
            events.Done();
        if (await events.FlushAsync() && !streaming.DoneAfterError)
            throw new StreamCutException(error);
    }
}
