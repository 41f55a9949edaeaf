using System.Globalization;
using System.Text;
using InferenceService.Engine.Cache;

namespace InferenceService.Engine.Tests;

/// <summary>The positions that a sequence keeps, as text: lane after lane, as runs.</summary>
internal static class KeptLanes
{
    /// <summary>For example <c>0-3,17;0-17</c>.</summary>
    public static string Of(SequenceCache cache, int lanesPerGroup)
    {
        var text = new StringBuilder();
        for (int group = 0; group < cache.Tables.Length; group++)
        {
            IEnumerable<int> slots = Enumerable.Range(0, cache.Tables[group].Length);
            string runs = Runs([.. (cache.SlotPositions is null ? slots : slots.Select(slot => cache.SlotPositions[group][slot])).Where(position => position >= 0).Order()]);
            for (int lane = 0; lane < lanesPerGroup; lane++)
                text.Append(text.Length == 0 ? "" : ";").Append(runs);
        }

        return text.ToString();
    }

    private static string Runs(int[] positions)
    {
        var text = new StringBuilder();
        for (int i = 0; i < positions.Length; i++)
        {
            int first = i;
            while (i + 1 < positions.Length && positions[i + 1] == positions[i] + 1)
                i++;
            text.Append(first == 0 ? "" : ",").Append(CultureInfo.InvariantCulture, $"{positions[first]}");
            if (i > first)
                text.Append(CultureInfo.InvariantCulture, $"-{positions[i]}");
        }

        return text.ToString();
    }
}
