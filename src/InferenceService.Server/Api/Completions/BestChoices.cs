using InferenceService.Server.Generation;

namespace InferenceService.Server.Api.Completions;

/// <summary><c>best_of</c>: of all choices of a prompt, those with the highest mean log-probability per token are returned.</summary>
internal static class BestChoices
{
    /// <summary>The returned choices in order of their index, which is prompt · returned + rank. All, as they are, when none is left out.</summary>
    public static IReadOnlyList<ChoiceText> Pick(IReadOnlyList<ChoiceText> choices, int returned)
    {
        int prompts = choices[^1].Prompt + 1;
        if (choices.Count == prompts * returned)
            return choices;
        var picked = new List<ChoiceText>(prompts * returned);
        foreach (IGrouping<int, ChoiceText> ofPrompt in choices.GroupBy(choice => choice.Prompt))
            picked.AddRange(ofPrompt.OrderByDescending(Mean).ThenBy(choice => choice.Number).Take(returned));
        for (int i = 0; i < picked.Count; i++)
            picked[i].Index = i;
        return picked;
    }

    private static double Mean(ChoiceText choice) => choice.Generated == 0 ? double.NegativeInfinity : choice.LogprobSum / choice.Generated;
}
