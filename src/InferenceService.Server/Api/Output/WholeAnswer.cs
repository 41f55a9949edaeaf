using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;

namespace InferenceService.Server.Api.Output;

/// <summary>Sends an answer as one JSON body once it is complete.</summary>
internal sealed class WholeAnswer(HttpContext http, TextGeneration generation, IAnswerWriter writer, AnswerOptions answer, AdmissionOptions admission, TimeProvider time)
{
    private readonly long _arrived = time.GetTimestamp();

    /// <summary>Runs until the body or an error is sent, or the client has left.</summary>
    public async Task RunAsync()
    {
        while (true)
        {
            while (generation.TryAdvance(out _))
            {
            }

            if (generation.IsComplete || generation.IsBroken)
                break;
            TimeSpan left = admission.MaxQueueWait - time.GetElapsedTime(_arrived);
            if (!generation.IsScheduled && left <= TimeSpan.Zero)
                generation.Cancel(generation.QueueTimeout(admission));
            await generation.WaitAsync(generation.IsScheduled ? Timeout.InfiniteTimeSpan : left);
        }

        if (generation.IsComplete && answer.KvReport)
            await generation.SettleAsync();
        if (!generation.IsBroken)
            await JsonBody.WriteAsync(http, json => writer.WriteWhole(json, generation));
        else if (generation.Failure is { } error)
            await OpenAiError.WriteAsync(http, error);
    }
}
