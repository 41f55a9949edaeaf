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
    IModelCatalog models, LimitOptions limits, StreamingOptions streaming, UnknownFields unknown, Refusals refusals, AnswerSender sender, TimeProvider time)
{
    private const int DefaultMaxTokens = 16;

    /// <summary>Answers one request.</summary>
    public async Task HandleAsync(HttpContext http)
    {
        ServedModel? model;
        string name;
        CompletionRequest request;
        GenerationOrder? order;
        ApiError? error;
        using (RequestBody body = await RequestBody.ReadAsync(http.Request, limits, http.RequestAborted))
        {
            if (body.Error is { } unreadable)
            {
                await refusals.WriteAsync(http, unreadable);
                return;
            }

            var json = new FieldReader(body.Root, "", new Problems());
            if (!ModelField.TryFind(json, models, out model, out name, out error))
            {
                await refusals.WriteAsync(http, error!);
                return;
            }

            request = CompletionRequest.Read(json, limits, model.Engine.Model.Config.VocabularySize);
            request = request with { Generation = KvPolicyHeader.Apply(http.Request, request.Generation, json.Problems) };
            unknown.Check(json);
            order = Order(model, request, json.Problems);
            error = json.Problems.ToError();
        }

        if (error is not null || order is null)
        {
            await refusals.WriteAsync(http, error!);
            return;
        }

        AnswerHead head = AnswerHead.New("cmpl-", request.Generation.RequestId, name, model, time);
        AnswerOptions options = AnswerOptions.From(request.Generation, request.Logprobs, streaming);
        var writer = new CompletionWriter(head, options, order.Prompts, request.Generation.N);
        await sender.SendAsync(http, model, order, writer, options, request.Generation.Stream.Enabled, "prompt");
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

        CheckSum(model, prompts, problems);
        if (problems.Any)
            return null;
        return new GenerationOrder
        {
            Prompts = prompts,
            Requests = orders,
            ChoicesPerPrompt = request.BestOf,
            Text = TextOptions.From(fields, keepTokens: request.Logprobs is not null || fields.ReturnTokenIds),
            Echoes = request.Echo ? prompts.ConvertAll(prompt => Echo(model, request, prompt)) : null,
        };
    }

    // One prompt of any length enters an empty queue; several that exceed it together would be refused as overload for ever.
    private static void CheckSum(ServedModel model, List<Prompt> prompts, Problems problems)
    {
        int most = model.Engine.Options.MaxQueuedTokens;
        long tokens = prompts.Sum(prompt => (long)prompt.Ids.Length);
        if (prompts.Count > 1 && tokens > most)
            problems.Invalid("prompt", $"prompt must have at most {most} tokens in all its entries together, got {tokens}.");
    }

    private static PromptEcho Echo(ServedModel model, CompletionRequest request, Prompt prompt) =>
        new(prompt.Text ?? model.Tokenizer.Decode(prompt.Ids, request.Generation.SkipSpecialTokens), request.Logprobs is null ? null : prompt.Ids);
}
