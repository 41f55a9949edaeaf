using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Api.Requests;

/// <summary>The sampling and stop fields that completions and chat have in common, each within its own range; null = the request does not say.</summary>
/// <remarks>What depends on more than one field, on the prompt or on the checkpoint's defaults is checked in <c>Generation/</c>.</remarks>
internal sealed record GenerationFields
{
    /// <summary>Longest <c>cache_salt</c> and <c>request_id</c> in characters.</summary>
    internal const int MaxNameLength = 128;

    /// <summary>Most <c>stop_token_ids</c>.</summary>
    internal const int MaxStopTokenIds = 1024;

    /// <summary>Largest <c>stream_interval</c>.</summary>
    internal const int MaxStreamInterval = 1024;

    public double? Temperature { get; private init; }
    public double? TopP { get; private init; }
    public int? TopK { get; private init; }
    public double? MinP { get; private init; }
    public double FrequencyPenalty { get; private init; }
    public double PresencePenalty { get; private init; }
    public double? RepetitionPenalty { get; private init; }
    public ImmutableArray<LogitBias> LogitBias { get; private init; } = [];

    /// <summary>Default (not initialised) = all ids.</summary>
    public ImmutableArray<int> AllowedTokenIds { get; private init; }

    public string[] BadWords { get; private init; } = [];
    public long? Seed { get; private init; }
    public int N { get; private init; } = 1;
    public string[] Stop { get; private init; } = [];
    public ImmutableArray<int> StopTokenIds { get; private init; } = [];
    public bool IncludeStopString { get; private init; }
    public bool IgnoreEos { get; private init; }
    public int MinTokens { get; private init; }
    public int? MaxTokens { get; private init; }
    public bool SkipSpecialTokens { get; private init; } = true;

    /// <summary>−1 = as much as the context holds.</summary>
    public int? TruncatePromptTokens { get; private init; }

    /// <summary>Truncation keeps the end of the prompt (side "left") or its beginning.</summary>
    public bool TruncateLeft { get; private init; } = true;

    public int? PromptLogprobs { get; private init; }
    public bool TokensAsIds { get; private init; }
    public bool ReturnTokenIds { get; private init; }

    /// <summary>Null = the request does not say: <see cref="UnstatedPriority"/>.</summary>
    public int? Priority { get; private init; }

    /// <summary>What holds where <see cref="Priority"/> is not stated.</summary>
    public int UnstatedPriority { get; init; }

    /// <summary>Who sent the request, among those who share the engine; 0 = nobody tells.</summary>
    public int Client { get; init; }

    /// <summary>What is due to that client.</summary>
    public double Weight { get; init; } = 1;

    public string? CacheSalt { get; init; }
    public string? RequestId { get; private init; }

    /// <summary>The KV policy that the body asks for; null = it does not say.</summary>
    public KvPolicyField? KvPolicy { get; private init; }

    /// <summary>The KV policy to be used, from body or header; null = the model's default.</summary>
    public IKvPolicy? ChosenPolicy { get; init; }

    public bool KvReport { get; private init; }

    /// <summary>How long the request may take, from body or header; null = it does not say.</summary>
    public TimeSpan? Timeout { get; init; }

    public StreamFields Stream { get; private init; } = new(false, false, false, null);

    /// <summary>Reads the fields; problems go to the reader's list.</summary>
    /// <param name="maxTokensNames">Names of the output limit, the preferred one first.</param>
    /// <param name="minimumMaxTokens">0 where a prompt may be scored only, else 1.</param>
    /// <param name="vocabulary">Ids at or above it do not exist.</param>
    public static GenerationFields Read(FieldReader json, LimitOptions limits, ReadOnlySpan<string> maxTokensNames, int minimumMaxTokens, int vocabulary)
    {
        NotOffered.Check(json);
        int? maxTokens = null;
        foreach (string name in maxTokensNames)
        {
            int? stated = (int?)json.Integer(name, minimumMaxTokens, int.MaxValue);
            maxTokens ??= stated;
        }

        return new GenerationFields
        {
            Temperature = json.Number("temperature", 0, 2),
            TopP = json.Number("top_p", 0, 1, open: true),
            TopK = (int?)json.Integer("top_k", -1, int.MaxValue),
            MinP = json.Number("min_p", 0, 1),
            FrequencyPenalty = json.Number("frequency_penalty", -2, 2) ?? 0,
            PresencePenalty = json.Number("presence_penalty", -2, 2) ?? 0,
            RepetitionPenalty = json.Number("repetition_penalty", 0, 10, open: true),
            LogitBias = ReadLogitBias(json, limits, vocabulary),
            AllowedTokenIds = json.TokenIds("allowed_token_ids", 1, vocabulary, vocabulary) is { } allowed ? [.. allowed] : default,
            BadWords = json.Texts("bad_words", limits.MaxBadWords, limits.MaxStopStringLength) ?? [],
            Seed = json.Integer("seed", long.MinValue, long.MaxValue) is { } seed and not -1 ? seed : null,
            N = (int)(json.Integer("n", 1, limits.MaxN) ?? 1),
            Stop = json.Texts("stop", limits.MaxStopStrings, limits.MaxStopStringLength, single: true) ?? [],
            StopTokenIds = json.TokenIds("stop_token_ids", 0, MaxStopTokenIds, vocabulary) is { } stops ? [.. stops] : [],
            IncludeStopString = json.Bool("include_stop_str_in_output") ?? false,
            IgnoreEos = json.Bool("ignore_eos") ?? false,
            MinTokens = (int)(json.Integer("min_tokens", 0, int.MaxValue) ?? 0),
            MaxTokens = maxTokens,
            SkipSpecialTokens = json.Bool("skip_special_tokens") ?? true,
            TruncatePromptTokens = ReadTruncation(json),
            TruncateLeft = ReadSide(json),
            PromptLogprobs = ReadPromptLogprobs(json, limits),
            TokensAsIds = json.Bool("return_tokens_as_token_ids") ?? false,
            ReturnTokenIds = json.Bool("return_token_ids") ?? false,
            Priority = (int?)json.Integer("priority", int.MinValue, int.MaxValue),
            CacheSalt = ReadName(json, "cache_salt"),
            RequestId = ReadName(json, "request_id"),
            KvPolicy = ReadKvPolicy(json),
            KvReport = json.Bool("kv_report") ?? false,
            Timeout = RequestTimeout.Read(json),
            Stream = StreamFields.Read(json),
        };
    }

    private static ImmutableArray<LogitBias> ReadLogitBias(FieldReader json, LimitOptions limits, int vocabulary)
    {
        if (!json.TryGet("logit_bias", out JsonElement map))
            return [];
        if (map.ValueKind != JsonValueKind.Object || map.GetPropertyCount() > limits.MaxLogitBias)
        {
            string got = map.ValueKind == JsonValueKind.Object ? $"{map.GetPropertyCount()} entries" : JsonNumber.Show(map);
            json.Problems.Invalid("logit_bias", $"logit_bias must be an object of at most {limits.MaxLogitBias} entries, got {got}.");
            return [];
        }

        var biases = new Dictionary<int, float>();
        foreach (JsonProperty entry in map.EnumerateObject())
        {
            string path = $"logit_bias.{JsonNumber.Clean(entry.Name)}";
            if (!int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int id) || id >= vocabulary)
                json.Problems.Invalid(path, $"{path}: the key must be a decimal token id from 0 to {vocabulary - 1}.");
            else if (!JsonNumber.TryNumber(entry.Value, out double bias) || bias is < -100 or > 100)
                json.Problems.Invalid(path, $"{path} must be a number from -100 to 100, got {JsonNumber.Show(entry.Value)}.");
            else
                biases[id] = (float)bias;
        }

        return [.. biases.Select(entry => new LogitBias(entry.Key, entry.Value))];
    }

    private static int? ReadTruncation(FieldReader json)
    {
        if (json.Integer("truncate_prompt_tokens", -1, int.MaxValue) is not { } tokens)
            return null;
        if (tokens == 0)
            json.Problems.Invalid(json.Path("truncate_prompt_tokens"), "truncate_prompt_tokens must be -1 or at least 1, got 0.");
        return (int)tokens;
    }

    private static bool ReadSide(FieldReader json)
    {
        string? side = json.Text("truncation_side");
        if (side is not (null or "left" or "right"))
            json.Problems.Invalid("truncation_side", $"truncation_side must be left or right, got \"{JsonNumber.Clean(side)}\".");
        return side != "right";
    }

    private static int? ReadPromptLogprobs(FieldReader json, LimitOptions limits)
    {
        int? count = (int?)json.Integer("prompt_logprobs", -1, limits.MaxLogprobs);
        if (count != -1)
            return count;
        json.Problems.Invalid("prompt_logprobs", $"prompt_logprobs of -1 (the whole vocabulary) is not enabled; it must be from 0 to {limits.MaxLogprobs}.");
        return null;
    }

    private static string? ReadName(FieldReader json, string field)
    {
        string? name = json.Text(field, MaxNameLength);
        if (name is null || (name.Length > 0 && !name.Any(char.IsControl)))
            return name;
        json.Problems.Invalid(field, $"{field} must have 1 to {MaxNameLength} characters, none of them a control character.");
        return null;
    }

    private static KvPolicyField? ReadKvPolicy(FieldReader json) => json.TryGet("kv_policy", out JsonElement value)
        ? KvPolicyField.Parse(value, out string problem) ?? KvPolicyField.Wrong(problem)
        : null;
}
