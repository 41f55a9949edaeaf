using System.Text;
using System.Text.Json;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>Puts an answer together, streamed or whole, and holds it to the API's rules: every choice ends exactly once, and so does the answer.</summary>
/// <param name="choices">How many choices it must have.</param>
internal sealed class AnswerReading(int choices)
{
    private readonly Choice[] _choices = [.. Enumerable.Range(0, choices).Select(_ => new Choice())];
    private string? _id, _usage;
    private bool _done, _isStream;

    /// <summary>The first rule that was broken.</summary>
    public string? Fault { get; private set; }

    /// <summary>Events so far.</summary>
    public int Events { get; private set; }

    /// <summary>What the answer says, choice by choice: text, why it ended, log-probabilities, and the tokens of all. Equal computations give equal ones.</summary>
    public string Text => string.Join('\n', _choices.Select(choice => $"{choice.Text}|{choice.Finish}|{choice.Logprobs}")) + $"\n{_usage}";

    /// <summary>One event of a stream, the text behind <c>data: </c>.</summary>
    public void Event(string data)
    {
        (_isStream, Events) = (true, Events + 1);
        if (_done)
        {
            Break("an event after [DONE]");
            return;
        }

        if (data == "[DONE]")
        {
            _done = true;
            return;
        }

        Take(data);
    }

    /// <summary>The body of an answer that is not streamed.</summary>
    public void Whole(string body) => Take(body);

    /// <summary>The connection has ended: every choice must have, too.</summary>
    public void End()
    {
        if (_isStream && !_done)
            Break("the stream ended without [DONE]");
        if (_choices.Any(choice => choice.Finish is null))
            Break("a choice never ended");
        if (_usage is null)
            Break("no usage");
    }

    private void Take(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement root = document.RootElement;
            if (root.TryGetProperty("error", out JsonElement error))
            {
                Break($"error event {error.GetProperty("code").GetString()}");
                return;
            }

            string? id = root.GetProperty("id").GetString();
            if (_id is not null && id != _id)
                Break("the id changed");
            _id = id;
            foreach (JsonElement choice in root.GetProperty("choices").EnumerateArray())
                Take(choice);
            if (root.TryGetProperty("usage", out JsonElement usage) && usage.ValueKind == JsonValueKind.Object)
                TakeUsage(usage);
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            Break($"not an answer: {exception.Message}");
        }
    }

    private void Take(JsonElement from)
    {
        int index = from.GetProperty("index").GetInt32();
        if (index < 0 || index >= _choices.Length)
        {
            Break($"there is no choice {index}");
            return;
        }

        Choice choice = _choices[index];
        if (choice.Finish is not null || _usage is not null)
            Break("a chunk after the end of its choice");
        JsonElement message = default;
        bool isChat = from.TryGetProperty("delta", out message) || from.TryGetProperty("message", out message);
        JsonElement text = default;
        if (isChat ? message.TryGetProperty("content", out text) : from.TryGetProperty("text", out text))
            choice.Text.Append(text.GetString());
        if (from.TryGetProperty("logprobs", out JsonElement logprobs) && logprobs.ValueKind == JsonValueKind.Object)
            TakeLogprobs(choice, logprobs);
        if (from.TryGetProperty("finish_reason", out JsonElement finish) && finish.ValueKind == JsonValueKind.String)
            choice.Finish = finish.GetString();
    }

    private static void TakeLogprobs(Choice choice, JsonElement logprobs)
    {
        if (logprobs.TryGetProperty("token_logprobs", out JsonElement plain))
        {
            foreach (JsonElement value in plain.EnumerateArray())
                choice.Logprobs.Append(value.GetRawText()).Append(' ');
        }
        else if (logprobs.TryGetProperty("content", out JsonElement tokens) && tokens.ValueKind == JsonValueKind.Array)
        {
            foreach (JsonElement token in tokens.EnumerateArray())
                choice.Logprobs.Append(token.GetProperty("logprob").GetRawText()).Append(' ');
        }
    }

    // Of the prompt, how much came from the cache is left out: it depends on the company.
    private void TakeUsage(JsonElement usage)
    {
        if (_usage is not null)
            Break("usage twice");
        _usage = $"{usage.GetProperty("prompt_tokens").GetInt32()}+{usage.GetProperty("completion_tokens").GetInt32()}";
    }

    private void Break(string fault) => Fault ??= fault;

    private sealed class Choice
    {
        public StringBuilder Text { get; } = new();

        public StringBuilder Logprobs { get; } = new();

        public string? Finish { get; set; }
    }
}
