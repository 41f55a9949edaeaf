namespace InferenceService.Server.Hub;

/// <summary>An attempt failed in a way that another one may not: a broken connection, an overloaded server, contents that are not what was stated.</summary>
/// <param name="message">Half a sentence about the hub; names no address beyond its host and no header.</param>
/// <param name="retryAfter">How long the server asks to wait.</param>
internal sealed class HubTransientException(string message, TimeSpan? retryAfter = null) : Exception(message)
{
    /// <summary>How long the server asks to wait; null = it does not say.</summary>
    public TimeSpan? RetryAfter { get; } = retryAfter;
}
