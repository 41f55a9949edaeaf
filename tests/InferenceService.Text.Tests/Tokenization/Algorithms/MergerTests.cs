using InferenceService.Text.Tokenization.Algorithms;

namespace InferenceService.Text.Tests.Tokenization.Algorithms;

public sealed class MergerTests
{
    [Fact]
    public void Short_and_long_runs_merge_as_the_definition_says()
    {
        var chance = new Random(20250711);
        for (int round = 0; round < 300; round++)
        {
            int symbols = chance.Next(2, 6);
            var rules = new List<(int Left, int Right, int Merged)>();
            for (int i = chance.Next(1, 25); i > 0; i--)
                rules.Add((chance.Next(symbols + rules.Count), chance.Next(symbols + rules.Count), symbols + rules.Count));
            var table = new MergeTable(rules.Count);
            var ranks = new Dictionary<(int, int), (int Rank, int Merged)>();
            for (int rank = 0; rank < rules.Count; rank++)
            {
                table.Add(rules[rank].Left, rules[rank].Right, rank, rules[rank].Merged);
                ranks[(rules[rank].Left, rules[rank].Right)] = (rank, rules[rank].Merged);
            }

            int[] ids = [.. Enumerable.Range(0, chance.Next(0, 150)).Select(_ => chance.Next(symbols))];
            List<int> expected = ByDefinition(ids, ranks);
            int[] actual = [.. ids];
            int count = Merger.Merge(actual, table);
            Assert.Equal(expected, actual.Take(count));
        }
    }

    [Fact]
    public void Runs_around_the_switch_of_methods_agree()
    {
        var table = new MergeTable(3);
        table.Add(0, 0, 0, 1);
        table.Add(1, 1, 1, 2);
        table.Add(2, 0, 2, 3);
        for (int length = 0; length < 100; length++)
        {
            int[] ids = new int[length];
            int count = Merger.Merge(ids, table);
            Assert.Equal(ByDefinition(new int[length], new() { [(0, 0)] = (0, 1), [(1, 1)] = (1, 2), [(2, 0)] = (2, 3) }), ids.Take(count));
        }
    }

    private static List<int> ByDefinition(int[] ids, Dictionary<(int, int), (int Rank, int Merged)> ranks)
    {
        List<int> list = [.. ids];
        while (true)
        {
            int best = -1, bestRank = int.MaxValue;
            for (int i = 0; i + 1 < list.Count; i++)
            {
                if (ranks.TryGetValue((list[i], list[i + 1]), out var merge) && merge.Rank < bestRank)
                    (best, bestRank) = (i, merge.Rank);
            }

            if (best < 0)
                return list;
            list[best] = ranks[(list[best], list[best + 1])].Merged;
            list.RemoveAt(best + 1);
        }
    }
}
