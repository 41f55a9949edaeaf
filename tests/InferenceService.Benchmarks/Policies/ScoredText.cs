using InferenceService.Engine;
using InferenceService.Engine.Sampling;

namespace InferenceService.Benchmarks.Policies;

/// <summary>Perplexity of a given continuation while the cache is in the state that a policy leaves it in.</summary>
/// <remarks>
/// A window is a prompt and the text that follows it. The continuation is forced token by token, so that every one of its
/// log-probabilities is that of a decode step after the policy has dropped what it drops; a prefill of the whole text would not see that.
/// </remarks>
internal static class ScoredText
{
    /// <summary>What was measured over all windows.</summary>
    /// <param name="Perplexity">exp of the mean negative log-likelihood a token of the continuations.</param>
    /// <param name="BytesPerSequence">Mean over windows of the pool bytes a sequence owned near its end.</param>
    /// <param name="KeptShare">Kept slots over slots that full would hold, mean over windows.</param>
    internal readonly record struct Score(double Perplexity, double BytesPerSequence, double KeptShare);

    /// <summary>Cuts a text into windows that do not overlap.</summary>
    public static List<int[]> Windows(int[] text, int length, int most)
    {
        var windows = new List<int[]>();
        for (int start = 0; start + length <= text.Length && windows.Count < most; start += length)
            windows.Add(text[start..(start + length)]);
        return windows;
    }

    /// <summary>Scores the last <paramref name="continued"/> tokens of every window, one window at a time.</summary>
    public static async Task<Score> MeasureAsync(PolicyEngine engine, List<int[]> windows, int continued, CancellationToken cancellation)
    {
        double loss = 0, bytes = 0, kept = 0;
        foreach (int[] window in windows)
        {
            int prompt = window.Length - continued;
            GenerationStream stream = engine.Submit(window.AsMemory(0, prompt), continued, new SamplingParams
            {
                Temperature = 0,
                TopLogprobs = 0,
                ForcedTokens = window.AsMemory(prompt),
            });
            List<GeneratedToken> tokens = await PolicyEngine.ReadAsync(stream, cancellation);
            loss -= tokens.Sum(token => (double)token.Logprobs!.Logprob);
            bytes += stream.KvUsage.Bytes;
            kept += stream.KvUsage.KeptTokens / (double)stream.KvUsage.LogicalTokens;
        }

        return new Score(Math.Exp(loss / ((double)windows.Count * continued)), bytes / windows.Count, kept / windows.Count);
    }
}
