using InferenceService.Engine;
using InferenceService.Engine.Sampling;
using InferenceService.Server.Api.Output;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Completions;

/// <summary><c>POST /v1/completions</c>: text that continues prompts.</summary>
internal sealed class CompletionsEndpoint(
    RequestReader requests, LimitOptions limits, StreamingOptions streaming, UnknownFields unknown, RequestTerms terms, AnswerSender sender, TimeProvider time)
{
    private const int DefaultMaxTokens = 16;

    /// <summary>Answers one request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        if (await requests.ReadAsync(http, (json, model) => Read(http, json, model)) is not { } read)
            return;
        (CompletionRequest request, GenerationOrder order) = read.Content;
        AnswerHead head = AnswerHead.New("cmpl-", request.Generation, read.Name, read.Model, time);
        AnswerOptions options = AnswerOptions.From(request.Generation, request.Logprobs, streaming, read.Model.Policies.ReportsAlways);
        var writer = new CompletionWriter(head, options, order.Prompts, request.Generation.N);
        await sender.SendAsync(http, AnswerKind.Completion, head, order, writer, options, request.Generation.Stream.Enabled);
    }

    /// <summary>The request and what becomes of it at the engine; problems go to the reader's list.</summary>
    internal (CompletionRequest, GenerationOrder) Read(HttpContext http, FieldReader json, ServedModel model)
    {
        CompletionRequest request = CompletionRequest.Read(json, limits, model);
        request = request with { Generation = terms.Apply(http, request.Generation, model, json.Problems) };
        unknown.Check(json);
        return Order(model, request, json.Problems) is { } order ? (request, order) : default;
    }

    /// <summary>The order to the engine; null when there are problems.</summary>
    private GenerationOrder? Order(ServedModel model, CompletionRequest request, Problems problems)
    {
        GenerationFields fields = request.Generation;
        int? logprobs = request.Logprobs ?? (request.BestOf > fields.N ? 0 : null);
        int? promptLogprobs = request.Echo && request.Logprobs is { } echoed ? Math.Max(echoed, fields.PromptLogprobs ?? 0) : fields.PromptLogprobs;
        SamplingParams sampling = SamplingBuilder.Build(fields, model, limits, logprobs, promptLogprobs, request.BestOf, Math.Max(1, request.Prompts.Count), problems);
        if (problems.Any)
            return null;
        var builder = new PromptBuilder(model);
        CheckSizes(model, builder, request, problems);
        if (problems.Any)
            return null;
        var prompts = new List<Prompt>(request.Prompts.Count);
        var orders = new List<GenerationRequest>(request.Prompts.Count);
        for (int i = 0; i < request.Prompts.Count; i++)
        {
            string param = request.IsPromptArray ? $"prompt[{i}]" : "prompt";
            if (builder.FromInput(request.Prompts[i], param, request.AddSpecialTokens, problems) is not { } prompt)
                continue;
            if (builder.Order(ref prompt, fields, sampling, request.BestOf, model.Defaults.MaxNewTokens ?? DefaultMaxTokens, "prompt", problems) is not { } order)
                continue;
            prompts.Add(prompt);
            orders.Add(order);
        }

        if (prompts.Count > 1)
            CheckSum(prompts.Sum(prompt => (long)prompt.Ids.Length), model.Engine.MaxPromptTokensTogether(fields.Client, prompts[^1].Ids.Length), problems);
        if (problems.Any)
            return null;
        return new GenerationOrder
        {
            Prompts = prompts,
            Requests = orders,
            ChoicesPerPrompt = request.BestOf,
            Timeout = fields.Timeout,
            Text = TextOptions.From(fields, keepTokens: request.Logprobs is not null || fields.ReturnTokenIds),
            Echoes = request.Echo ? prompts.ConvertAll(prompt => PromptEcho.Of(prompt, model.Tokenizer, fields.SkipSpecialTokens, listTokens: request.Logprobs is not null)) : null,
        };
    }

    /// <summary>Refuses what cannot fit before any of it is encoded.</summary>
    private static void CheckSizes(ServedModel model, PromptBuilder builder, CompletionRequest request, Problems problems)
    {
        long fewest = 0;
        foreach (PromptInput prompt in request.Prompts)
        {
            if (builder.CannotFit(prompt, request.Generation, "prompt", problems))
                return;
            fewest += builder.FewestTokens(prompt, request.Generation);
        }

        if (request.Prompts.Count > 1)
            CheckSum(fewest, model.Engine.MaxPromptTokensTogether(request.Generation.Client, model.MaxModelLength), problems, "at least ");
    }

    // One prompt of any length enters an empty queue; several that exceed it together would be refused as overload for ever.
    private static void CheckSum(long tokens, int most, Problems problems, string isFewest = "")
    {
        if (tokens > most)
            problems.Invalid("prompt", $"prompt must have at most {most} tokens in all its entries together, got {isFewest}{tokens}.");
    }
}
