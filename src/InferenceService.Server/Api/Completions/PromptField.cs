using System.Text.Json;
using InferenceService.Server.Api.Requests;
using InferenceService.Server.Configuration;
using InferenceService.Server.Generation;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Api.Completions;

/// <summary>The field <c>prompt</c> of completions: a string, an array of strings, an array of token ids or an array of such arrays.</summary>
internal sealed class PromptField(FieldReader json, LimitOptions limits, ServedModel model, GenerationFields generation)
{
    private const string Name = "prompt";

    /// <summary>The prompts; none after a problem.</summary>
    /// <param name="isArray">Several were sent, so that problems name their index.</param>
    public IReadOnlyList<PromptInput> Read(out bool isArray)
    {
        isArray = false;
        if (!json.TryGet(Name, out JsonElement prompt))
        {
            json.Problems.Missing(Name);
            return [];
        }

        if (prompt.ValueKind == JsonValueKind.String)
            return [new PromptInput(prompt.GetString(), null)];
        if (prompt.ValueKind != JsonValueKind.Array || prompt.GetArrayLength() == 0)
        {
            json.Reject(Name, "must be a string, an array of strings, an array of token ids or an array of such arrays, none empty", prompt);
            return [];
        }

        if (prompt[0].ValueKind == JsonValueKind.Number)
            return ReadIds(Name, prompt) is { } ids ? [new PromptInput(null, ids)] : [];
        isArray = true;
        if (prompt.GetArrayLength() <= limits.MaxPrompts)
            return ReadArray(prompt);
        json.Problems.Invalid(Name, $"prompt must have at most {limits.MaxPrompts} entries, got {prompt.GetArrayLength()}.");
        return [];
    }

    private List<PromptInput> ReadArray(JsonElement array)
    {
        var prompts = new List<PromptInput>(array.GetArrayLength());
        JsonValueKind kind = array[0].ValueKind;
        foreach (JsonElement element in array.EnumerateArray())
        {
            string path = $"prompt[{prompts.Count}]";
            if (element.ValueKind == kind && kind == JsonValueKind.String)
            {
                prompts.Add(new PromptInput(element.GetString(), null));
            }
            else if (element.ValueKind == kind && kind == JsonValueKind.Array && element.GetArrayLength() > 0)
            {
                if (ReadIds(path, element) is not { } ids)
                    return [];
                prompts.Add(new PromptInput(null, ids));
            }
            else
            {
                json.Problems.Invalid(path, $"{path} must be a string or a non-empty array of token ids, like the entries before it, got {JsonNumber.Show(element)}.");
                return [];
            }
        }

        return prompts;
    }

    // More ids than the context holds are not even read, unless they are to be cut.
    private int[]? ReadIds(string path, JsonElement array)
    {
        int count = array.GetArrayLength(), output = generation.MaxTokens ?? 1;
        if (generation.TruncatePromptTokens is not null || count + (long)output <= model.MaxModelLength)
            return FieldReader.TokenIds(path, array, model.Engine.Model.Config.VocabularySize, json.Problems);
        json.Problems.Add(PromptBuilder.ContextExceeded(model.MaxModelLength, count, output, Name));
        return null;
    }
}
