using System.Text;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;
using InferenceService.Fuzz.Loop;
using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Server.Api.Completions;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Telemetry;
using InferenceService.Server.Tests;
using InferenceService.Text.Tokenization;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging.Abstractions;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary>
/// Whatever tokens an engine makes: the events are strictly what the format says, and their texts together are the text of one body,
/// which is the decoded text up to the first stop string.
/// </summary>
/// <remarks>Input: four bytes of choices, stop strings with bars between them up to a zero byte, then tokens: a byte is the token of that byte, 0xFF and a byte a special one.</remarks>
internal sealed class EventsTarget : FuzzTarget
{
    private static readonly int[] PromptIds = [0, TinyModel.FirstByteId + 'A'];

    private readonly ServerHarness _server = new(strict: false);
    private readonly ModelMetrics _modelMetrics;

    public EventsTarget() => _modelMetrics = new ModelMetrics(_server.Model, TimeProvider.System);

    public override string Name => "events";

    public override InputShape Shape => InputShape.Bytes;

    public override int MaxBytes => 96;

    public override IReadOnlyList<string> Words => ["data: ", "\n\n", "\r\n", "[DONE]", ": ping", "event: x\n", "\u2028", "\u2029", "\u0085", "\uFEFF", "\"", "\\", "END", "😀", "é", "</s>"];

    public override IEnumerable<byte[]> Seeds()
    {
        foreach (string text in (string[])["Hello, world", "data: [DONE]\n\n", "a\r\nb\rc\nd", "\u2028\u2029\u0085\uFEFF😀é", "one END two", "\"\\\u0001\u007f"])
        {
            for (byte kind = 0; kind < 8; kind++)
                yield return [kind, 1, 3, 0, .. "END|e t|ND"u8, 0, .. Encoding.UTF8.GetBytes(text)];
        }

        yield return [1, 2, 1, 0, 0, 0xF0, 0x9F, 0xFF, 1, 0x98, 0x80, 0xC3];
    }

    public override long MaxAllocated(int length) => (1 << 20) + (8192L * length);

    // Every token is decoded, sent and read three times.
    public override long MaxWork(int length) => 200_000 + (4_000L * length);

    public override bool Run(byte[] input)
    {
        if (input.Length < 5)
            return false;
        (byte[] stop, byte[] tokens) = Sections.Split(input[4..]);
        var script = new Script(input, Encoding.UTF8.GetString(stop).Split('|', StringSplitOptions.RemoveEmptyEntries), Tokens(tokens, (input[0] & 4) != 0));
        string streamed = Streamed(script), whole = Whole(script);
        Require(streamed == whole, "the stream has another text than the whole answer");
        Require(whole == Expected(script), "the answer has another text than its tokens");
        return true;
    }

    protected override void Dispose(bool disposing)
    {
        _server.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>What the choices bytes say.</summary>
    private sealed record Script(byte[] Input, string[] Stops, List<GeneratedToken> Tokens)
    {
        public bool IsChat => (Input[0] & 1) != 0;
        public bool IncludeStop => (Input[0] & 2) != 0;
        public bool Logprobs => (Input[0] & 8) != 0;
        public bool SkipSpecial => (Input[0] & 16) == 0;
        public int Interval => 1 + (Input[1] % 8);
        public int Piece => 1 + (Input[2] % 16);
        public int MinTokens => Input[3] % 4;
    }

    private static List<GeneratedToken> Tokens(byte[] bytes, bool endsByToken)
    {
        var tokens = new List<GeneratedToken>();
        for (int i = 0; i < bytes.Length; i++)
        {
            int id = bytes[i] == 0xFF && i + 1 < bytes.Length ? bytes[++i] % TinyModel.FirstByteId : TinyModel.FirstByteId + bytes[i];
            tokens.Add(new GeneratedToken(0, id, FinishReason.None, new TokenLogprobs(-0.5f, [id, 5], [-0.5f, -2])));
        }

        tokens.Add(endsByToken ? new GeneratedToken(0, TinyModel.EndId, FinishReason.Eos, new TokenLogprobs(-1, [1], [-1])) : new GeneratedToken(0, -1, FinishReason.Length, null));
        return tokens;
    }

    private string Streamed(Script script)
    {
        HttpContext http = _server.NewContext();
        using TextGeneration generation = Start(script);
        AnswerOptions options = Options(script);
        using var events = new EventStream(http, new StreamingOptions(), TimeProvider.System);
        Complete(new StreamedAnswer(http, events, generation, Writer(script, options), options, new StreamingOptions(), new AdmissionOptions(), TimeProvider.System).RunAsync());
        var text = new StringBuilder();
        int finished = 0;
        foreach (string data in EventStreamReader.Read(_server.Answer.Span))
        {
            using JsonDocument document = JsonDocument.Parse(data);
            foreach (JsonElement choice in document.RootElement.GetProperty("choices").EnumerateArray())
            {
                Require(finished == 0, "a choice goes on after its end");
                finished += choice.GetProperty("finish_reason").ValueKind == JsonValueKind.String ? 1 : 0;
                if (script.IsChat ? choice.GetProperty("delta").TryGetProperty("content", out JsonElement piece) : choice.TryGetProperty("text", out piece))
                    text.Append(piece.GetString());
            }
        }

        Require(finished == 1, "a choice without an end");
        return text.ToString();
    }

    private string Whole(Script script)
    {
        HttpContext http = _server.NewContext();
        using TextGeneration generation = Start(script);
        Complete(new WholeAnswer(http, generation, Writer(script, Options(script)), Options(script), new AdmissionOptions(), TimeProvider.System).RunAsync());
        using JsonDocument document = JsonDocument.Parse(_server.Answer);
        JsonElement choice = document.RootElement.GetProperty("choices")[0];
        return (script.IsChat ? choice.GetProperty("message").GetProperty("content") : choice.GetProperty("text")).GetString()!;
    }

    /// <summary>The text of the tokens, decoded one by one, up to the first stop string that ends after the first tokens.</summary>
    private string Expected(Script script)
    {
        Detokenizer detokenizer = _server.Model.Tokenizer.NewDetokenizer(script.SkipSpecial, PromptIds);
        var text = new StringBuilder();
        int generated = 0, from = 0;
        foreach (GeneratedToken token in script.Tokens)
        {
            if (token.TokenId >= 0 && (token.Finish == FinishReason.None || script.IncludeStop))
                text.Append(detokenizer.Append(token.TokenId));
            generated += token.TokenId >= 0 ? 1 : 0;
            if (token.Finish != FinishReason.None)
                text.Append(detokenizer.Flush());
            if (generated <= script.MinTokens)
                from = text.Length;
        }

        string all = text.ToString();
        // Of several the one that is complete first counts, of those that end together the longest.
        var found = script.Stops.Select(stop => (Begin: all.IndexOf(stop, from, StringComparison.Ordinal), Length: stop.Length))
            .Where(stop => stop.Begin >= 0).OrderBy(stop => stop.Begin + stop.Length).ThenBy(stop => stop.Begin).Take(1).ToArray();
        return found is [var first] ? all[..(script.IncludeStop ? first.Begin + first.Length : first.Begin)] : all;
    }

    private TextGeneration Start(Script script) => new(
        _server.Model,
        new GenerationOrder
        {
            Prompts = [new Prompt(PromptIds, null)],
            Requests = [new GenerationRequest { PromptTokens = PromptIds, Sampling = new SamplingParams(), MaxTokens = 100 }],
            ChoicesPerPrompt = 1,
            Text = new TextOptions(new StopSequences(script.Stops), script.IncludeStop, script.SkipSpecial, script.MinTokens, KeepTokens: script.Logprobs),
        },
        [new ListedStream(script.Tokens, script.Piece)], _modelMetrics, TimeProvider.System, NullLogger.Instance, "req_1");

    private static AnswerOptions Options(Script script) =>
        new(script.Logprobs ? 2 : null, TokensAsIds: false, ReturnTokenIds: script.Logprobs, PromptLogprobs: false, KvReport: false, UsageChunk: true, RunningUsage: script.Logprobs, script.Interval);

    private IAnswerWriter Writer(Script script, AnswerOptions options)
    {
        var head = new AnswerHead("id-1", 1, "tiny", _server.Model, _server.Model.Policies.Default);
        var prompt = new Prompt(PromptIds, null);
        return script.IsChat ? new ChatCompletionWriter(head, options, prompt) : new CompletionWriter(head, options, [prompt], 1);
    }

    private static void Complete(Task run)
    {
        Require(run.IsCompleted, "an answer whose tokens are there has to wait");
        run.GetAwaiter().GetResult();
    }
}
