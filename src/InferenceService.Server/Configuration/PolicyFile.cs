using System.Text.Json;
using InferenceService.Server.Api.Requests;

namespace InferenceService.Server.Configuration;

/// <summary>A file with a KV policy and its options, written as a request writes them: <c>{"name": "streaming-llm", "recent_tokens": 508}</c>.</summary>
internal sealed record PolicyFile(KvPolicyField Policy)
{
    private const int MaxBytes = 65_536;

    /// <summary>Null and the content, or what is wrong with the file.</summary>
    public static string? Read(string path, out PolicyFile? file)
    {
        file = null;
        try
        {
            if (new FileInfo(path).Length > MaxBytes)
                return $"{path} is larger than {MaxBytes} bytes";
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                return $"{path} is not a JSON object";
            if (KvPolicyField.Parse(document.RootElement, out string problem) is not { } policy)
                return $"{path}: {problem}";
            file = new PolicyFile(policy);
            return null;
        }
        catch (JsonException exception)
        {
            // The exception's own words quote the file.
            return $"{path} is not valid JSON at line {exception.LineNumber + 1}, byte {exception.BytePositionInLine + 1}";
        }
        catch (InvalidOperationException)
        {
            // A string that is no UTF-8, or half of a surrogate pair: the JSON reader finds it late.
            return $"{path} holds text that is not valid Unicode";
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException)
        {
            return $"{path} cannot be read";
        }
    }

    /// <summary>Adds what it says to the settings of a section, whose path ends with a colon.</summary>
    public void AddTo(Dictionary<string, string> settings, string section)
    {
        settings[section + "Policy"] = Policy.Name;
        foreach ((string option, string value) in Policy.Options)
            settings[$"{section}PolicyOptions:{option}"] = value;
    }
}
