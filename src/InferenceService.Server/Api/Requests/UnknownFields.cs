using System.Collections.Concurrent;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Api.Requests;

/// <summary>Fields that no reader asked for: ignored and logged once a name, or refused where requests are strict.</summary>
internal sealed partial class UnknownFields(LimitOptions limits, ILogger<UnknownFields> logger)
{
    private const int MaxLogged = 256;
    private readonly ConcurrentDictionary<string, bool> _logged = new(StringComparer.Ordinal);

    /// <summary>Checks an object after all of its fields have been read.</summary>
    public void Check(FieldReader json)
    {
        if (!limits.StrictRequests && !logger.IsEnabled(LogLevel.Debug))
            return;
        foreach (string field in json.Unknown())
        {
            string name = JsonNumber.Clean(field);
            if (limits.StrictRequests)
                json.Problems.Add(ApiError.Unsupported(json.Path(name), $"{json.Path(name)} is not a known field, and this server takes only known ones."));
            else if (_logged.Count < MaxLogged && _logged.TryAdd(name, true))
                LogIgnored(logger, name);
        }
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "Requests carry the unknown field {Field}; it is ignored")]
    private static partial void LogIgnored(ILogger logger, string field);
}
