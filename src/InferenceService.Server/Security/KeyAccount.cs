using InferenceService.Server.Api;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Security;

/// <summary>What one key may use and has used. One for each configured key, so that its size does not depend on requests. Any thread.</summary>
internal sealed class KeyAccount
{
    // When one of its own requests will end is not known.
    private static readonly TimeSpan WhenOneEnds = TimeSpan.FromSeconds(1);

    private readonly MinuteBudget? _requests;
    private readonly MinuteBudget? _tokens;
    private readonly int _mostAtOnce;
    private long _ended;
    private long _refused;
    private long _tokensUsed;
    private int _underWay;

    /// <summary>Full budgets for the limits that the key has.</summary>
    public KeyAccount(KeyOptions options, TimeProvider time)
    {
        _requests = options.RequestsPerMinute is { } requests ? new MinuteBudget(requests, time) : null;
        _tokens = options.TokensPerMinute is { } tokens ? new MinuteBudget(tokens, time) : null;
        _mostAtOnce = options.ConcurrentRequests ?? int.MaxValue;
    }

    /// <summary>Requests that were taken and have ended.</summary>
    public long Ended => Interlocked.Read(ref _ended);

    /// <summary>Requests turned away by a limit of the key.</summary>
    public long Refused => Interlocked.Read(ref _refused);

    /// <summary>Tokens of prompts and answers, once their requests have ended.</summary>
    public long TokensUsed => Interlocked.Read(ref _tokensUsed);

    /// <summary>Requests let through that have not ended.</summary>
    public int UnderWay => Volatile.Read(ref _underWay);

    /// <summary>Takes what a request needs from every limit, or from none.</summary>
    /// <param name="promptTokens">Of all its prompts.</param>
    /// <param name="outputTokens">The most it may generate, over all choices.</param>
    /// <param name="refusal">Why not, and when it may; null when it may.</param>
    /// <returns>To be disposed when the request has ended.</returns>
    public KeyLease? Admit(long promptTokens, long outputTokens, out ApiError? refusal)
    {
        refusal = null;
        if (!TryEnter())
        {
            refusal = Limit($"{_mostAtOnce} requests at once, and as many are under way", WhenOneEnds);
            return null;
        }

        TimeSpan wait = default;
        if (_requests?.TryTake(1, out _, out wait) == false)
        {
            refusal = Limit($"{_requests.PerMinute} requests a minute, which are used up", wait);
        }
        else
        {
            int charged = 0;
            if (_tokens?.TryTake(promptTokens + outputTokens, out charged, out wait) != false)
            {
                return new KeyLease(this, charged);
            }

            _requests?.Correct(1);
            refusal = Limit(
                $"{_tokens.PerMinute} tokens a minute, of which {_tokens.State.Left} are left; this request may use {promptTokens + outputTokens} ({promptTokens} in the prompt, {outputTokens} in the output)", wait);
        }

        Interlocked.Decrement(ref _underWay);
        return null;
    }

    /// <summary>Writes the <c>x-ratelimit-*</c> headers of the limits there are.</summary>
    public void Describe(IHeaderDictionary headers)
    {
        RateLimitHeaders.Write(headers, "requests", _requests);
        RateLimitHeaders.Write(headers, "tokens", _tokens);
    }

    /// <summary>Whether <see cref="Describe"/> has anything to write.</summary>
    public bool HasHeaders => _requests is not null || _tokens is not null;

    /// <summary>A request has ended, or was not taken after all.</summary>
    /// <param name="charged">Tokens taken for it.</param>
    /// <param name="used">Tokens that it used; null = it was not taken.</param>
    internal void Settle(int charged, long? used)
    {
        _tokens?.Correct(charged - (used ?? 0));
        if (used is { } tokens)
        {
            Interlocked.Increment(ref _ended);
            Interlocked.Add(ref _tokensUsed, tokens);
        }
        else
        {
            _requests?.Correct(1);
        }

        Interlocked.Decrement(ref _underWay); // last: who sees it gone finds it counted
    }

    private bool TryEnter()
    {
        int before;
        do
        {
            before = Volatile.Read(ref _underWay);
            if (before >= _mostAtOnce)
                return false;
        }
        while (Interlocked.CompareExchange(ref _underWay, before + 1, before) != before);
        return true;
    }

    private ApiError Limit(string limit, TimeSpan wait)
    {
        Interlocked.Increment(ref _refused);
        return new ApiError(429, "rate_limit_error", "rate_limit_exceeded", $"The API key is limited to {limit}.").RetryIn(wait);
    }
}
