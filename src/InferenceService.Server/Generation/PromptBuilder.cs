using InferenceService.Engine;
using InferenceService.Engine.Sampling;
using InferenceService.Server.Api;
using InferenceService.Server.Api.ChatCompletions;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Hosting;
using InferenceService.Text.Templates;
using InferenceService.Text.Tokenization;

namespace InferenceService.Server.Generation;

/// <summary>Turns a checked request into what the engine takes: messages to text, text to ids, ids cut to size or refused.</summary>
/// <param name="model">Whose template, tokenizer and limits apply.</param>
internal sealed class PromptBuilder(ServedModel model)
{
    /// <summary>Tokens that a prompt is sure to have, known without encoding it; 0 when the request lets it be cut.</summary>
    public long FewestTokens(PromptInput input, GenerationFields fields) =>
        fields.TruncatePromptTokens is not null ? 0 : input.Ids?.Length ?? model.Tokenizer.FewestTokens(input.Text);

    /// <summary>Refuses what no encoding could make short enough, before memory is spent on encoding it.</summary>
    public bool CannotFit(PromptInput input, GenerationFields fields, string param, Problems problems)
    {
        long fewest = FewestTokens(input, fields);
        int output = fields.MaxTokens ?? 1;
        if (fewest + output <= model.MaxModelLength)
            return false;
        problems.Add(ContextExceeded(model.MaxModelLength, fewest, output, param, isFewest: input.Ids is null));
        return true;
    }

    /// <summary>Ids of a completions prompt; null after a problem.</summary>
    /// <param name="param">How the client knows this prompt, for example <c>prompt[2]</c>.</param>
    public Prompt? FromInput(PromptInput input, string param, bool addSpecialTokens, Problems problems)
    {
        Prompt? prompt = input.Ids is { } ids ? new Prompt(ids, null) : Encode(input.Text!, addSpecialTokens, param, problems);
        if (prompt is null || prompt.Ids.Length > 0)
            return Known(prompt, param, problems);
        problems.Invalid(param, $"{param} has no tokens; it must have at least one.");
        return null;
    }

    /// <summary>Renders a conversation and encodes it; null after a problem.</summary>
    /// <param name="limit">Fields of a request whose prompt has to fit the context; null = it may be of any length.</param>
    public Prompt? FromChat(ChatPromptFields chat, GenerationFields? limit, Problems problems)
    {
        if (TemplateOf(chat, problems) is not { } template || Render(template, chat, problems) is not { } text)
            return null;
        if (limit is not null && CannotFit(new PromptInput(text, null), limit, "messages", problems))
            return null;
        Prompt? prompt = Encode(text, chat.AddSpecialTokens, "messages", problems);
        if (prompt is null || prompt.Ids.Length > 0)
            return Known(prompt, "messages", problems);
        problems.Add(InvalidMessages("The chat template made an empty prompt of these messages."));
        return null;
    }

    /// <summary>Cuts the prompt if the request asks for that and completes the order to the engine; null after a problem.</summary>
    /// <param name="defaultMaxTokens">Output limit of requests that state none; null = what the context leaves.</param>
    /// <param name="param">The field at fault when the prompt is too long: <c>messages</c> or <c>prompt</c>.</param>
    public GenerationRequest? Order(
        ref Prompt prompt, GenerationFields fields, SamplingParams sampling, int choices, int? defaultMaxTokens, string param, Problems problems)
    {
        int context = model.MaxModelLength;
        prompt = Truncate(prompt, fields, context);
        int left = Math.Min(context, model.Engine.MaxTokensUnder(fields.ChosenPolicy ?? model.Policies.Default, prompt.Ids.Length)) - prompt.Ids.Length;
        int output = fields.MaxTokens ?? Math.Max(1, Math.Min(left, defaultMaxTokens ?? int.MaxValue));
        if (prompt.Ids.Length + (long)output > context)
        {
            problems.Add(ContextExceeded(context, prompt.Ids.Length, output, param));
            return null;
        }

        if (fields.MinTokens > output)
        {
            problems.Invalid("min_tokens", $"min_tokens must be from 0 to the output limit of {output} tokens, got {fields.MinTokens}.");
            return null;
        }

        return new GenerationRequest
        {
            PromptTokens = prompt.Ids,
            Sampling = sampling,
            MaxTokens = output,
            Choices = choices,
            StopTokenIds = fields.StopTokenIds,
            IgnoreEos = fields.IgnoreEos,
            Priority = fields.Priority ?? fields.UnstatedPriority,
            Client = fields.Client,
            Weight = fields.Weight,
            CacheSalt = fields.CacheSalt,
            KvPolicy = fields.ChosenPolicy,
        };
    }

    /// <summary>Encodes text; a BOS token that the text already begins with is not doubled. Null after a problem.</summary>
    /// <param name="param">The field that holds the text.</param>
    public Prompt? Encode(string text, bool addSpecialTokens, string param, Problems problems)
    {
        Tokenizer tokenizer = model.Tokenizer;
        int[] ids;
        try
        {
            ids = tokenizer.Encode(text, addSpecialTokens);
        }
        catch (TokenizerException)
        {
            // The message names patterns of the model; the client can only change its text.
            problems.Invalid(param, $"{param} cannot be tokenized: it takes more work than this model's tokenizer allows.");
            return null;
        }

        bool doubled = addSpecialTokens && ids.Length > 1 && ids[0] == tokenizer.BosId && ids[1] == ids[0]
            && tokenizer.BosToken is { Length: > 0 } bos && text.StartsWith(bos, StringComparison.Ordinal);
        return new Prompt(doubled ? ids[1..] : ids, text);
    }

    /// <summary>The prompt if the model knows all its ids: a tokenizer may have added tokens for which the checkpoint has no weights.</summary>
    private Prompt? Known(Prompt? prompt, string param, Problems problems)
    {
        int vocabulary = model.Engine.Model.Config.VocabularySize;
        int unknown = prompt is null ? -1 : Array.FindIndex(prompt.Ids, id => (uint)id >= (uint)vocabulary);
        if (unknown < 0)
            return prompt;
        problems.Invalid(param, $"{param} holds the token {prompt!.Ids[unknown]}, which this model does not know; its ids end at {vocabulary - 1}.");
        return null;
    }

    private static Prompt Truncate(Prompt prompt, GenerationFields fields, int context)
    {
        if (fields.TruncatePromptTokens is not { } keep)
            return prompt;
        int most = Math.Max(1, context - (fields.MaxTokens ?? 1));
        int length = keep == -1 ? most : keep;
        if (prompt.Ids.Length <= length)
            return prompt;
        return new Prompt(fields.TruncateLeft ? prompt.Ids[^length..] : prompt.Ids[..length], null);
    }

    private ChatTemplate? TemplateOf(ChatPromptFields chat, Problems problems)
    {
        if (chat.Template is { } source)
        {
            try
            {
                return ChatTemplate.Parse(source);
            }
            catch (TemplateException e)
            {
                problems.Invalid("chat_template", $"chat_template cannot be used: {Clean(e.Message)}");
                return null;
            }
        }

        if (model.ChatTemplate is null)
            problems.Unsupported("messages", "messages: this model has no chat template; use /v1/completions, or a checkpoint with one.");
        return model.ChatTemplate;
    }

    private string? Render(ChatTemplate template, ChatPromptFields chat, Problems problems)
    {
        try
        {
            TemplateContext context = ChatContext.Build(chat, template, model.Tokenizer, model.ChatTemplateDefaults, model.Engine.Time);
            string text = template.Render(context);
            if (!chat.ContinueFinalMessage)
                return text;
            int end = text.LastIndexOf(ChatContext.ContinueMark, StringComparison.Ordinal);
            if (end >= 0)
                return text[..end];
            problems.Invalid("continue_final_message", "continue_final_message: the chat template does not show the last message.");
        }
        catch (TemplateException e)
        {
            // Only what the template says itself, or an error in the client's own template, may leave the house.
            problems.Add(InvalidMessages(e.RaisedByTemplate || chat.Template is not null
                ? $"The chat template refused these messages: {Clean(e.Message)}"
                : "The model's chat template cannot render these messages."));
        }

        return null;
    }

    private static ApiError InvalidMessages(string message) => new(400, "invalid_request_error", "invalid_messages", message, "messages");

    /// <param name="isFewest">The prompt has at least so many tokens; they were not counted.</param>
    internal static ApiError ContextExceeded(int context, long prompt, int output, string param, bool isFewest = false)
    {
        string atLeast = isFewest ? "at least " : "";
        return new ApiError(
            400, "invalid_request_error", "context_length_exceeded",
            $"This model's maximum context length is {context} tokens, but the request needs {atLeast}{prompt + output}: {atLeast}{prompt} in the {param} and {output} in the output. "
            + "Shorten the input or lower the output limit.",
            param);
    }

    private static string Clean(string message)
    {
        string line = string.Concat(message.Select(c => char.IsControl(c) ? ' ' : c)).Trim();
        return line.Length <= 512 ? line : line[..(char.IsHighSurrogate(line[511]) ? 511 : 512)];
    }
}
