using System.IO.Compression;
using System.Text.Json;
using InferenceService.Engine;
using InferenceService.Engine.Sampling;
using InferenceService.Text.Tokenization;

namespace InferenceService.Benchmarks.Policies;

/// <summary>A question whose answer stands so many tokens back in the prompt.</summary>
/// <param name="Distance">Tokens from the fact to the question.</param>
/// <param name="Prompt">Token ids.</param>
/// <param name="Answer">Token ids that greedy decoding must give.</param>
internal sealed record RetrievalCase(int Distance, int[] Prompt, int[] Answer)
{
    /// <summary>
    /// Reads JSON lines (.gz allowed): <c>distance</c>, and <c>prompt</c> and <c>answer</c> as token ids or as text for the tokenizer.
    /// </summary>
    /// <exception cref="FormatException">A line is not such an object; the message names it.</exception>
    public static List<RetrievalCase> Read(string path, Tokenizer tokenizer)
    {
        using Stream file = File.OpenRead(path);
        using Stream stream = path.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(file, CompressionMode.Decompress) : file;
        using var reader = new StreamReader(stream);
        var cases = new List<RetrievalCase>();
        for (int number = 1; reader.ReadLine() is string line; number++)
        {
            try
            {
                using JsonDocument document = JsonDocument.Parse(line);
                JsonElement root = document.RootElement;
                cases.Add(new RetrievalCase(root.GetProperty("distance").GetInt32(), Ids(root.GetProperty("prompt")), Ids(root.GetProperty("answer"))));
            }
            catch (Exception bad) when (bad is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
            {
                throw new FormatException($"{path}, line {number}: {bad.Message}", bad);
            }
        }

        return cases;

        int[] Ids(JsonElement value) => value.ValueKind == JsonValueKind.String
            ? tokenizer.Encode(value.GetString()!, addSpecialTokens: false)
            : [.. value.EnumerateArray().Select(id => id.GetInt32())];
    }

    /// <summary>
    /// Cases for any model: a five-digit pass key in a text, and the question for it at the end; depth varies with the seed. No chat
    /// form, so that base models can answer.
    /// </summary>
    /// <param name="filler">Prose as token ids.</param>
    public static List<RetrievalCase> PassKeys(Tokenizer tokenizer, int[] filler, IEnumerable<int> distances, int each)
    {
        var cases = new List<RetrievalCase>();
        var random = new Random(20240601);
        foreach (int distance in distances)
        {
            for (int i = 0; i < each; i++)
            {
                string key = $"{random.Next(10_000, 100_000)}";
                int[] fact = tokenizer.Encode($" The pass key is {key}. Remember it: {key} is the pass key.", addSpecialTokens: false);
                int[] question = tokenizer.Encode(" What is the pass key? The pass key is", addSpecialTokens: false);
                int between = Math.Max(0, distance - question.Length), before = random.Next(16, 64);
                int start = random.Next(0, Math.Max(1, filler.Length - between - before));
                int[] head = filler[start..Math.Min(filler.Length, start + before)];
                int[] body = filler[Math.Min(filler.Length, start + before)..Math.Min(filler.Length, start + before + between)];
                int[] first = tokenizer.BosId is int bos ? [bos] : [];
                cases.Add(new RetrievalCase(distance, [.. first, .. head, .. fact, .. body, .. question], tokenizer.Encode(" " + key, addSpecialTokens: false)));
            }
        }

        return cases;
    }

    /// <summary>Share of right answers by distance, one case at a time.</summary>
    public static async Task<SortedDictionary<int, double>> MeasureAsync(PolicyEngine engine, List<RetrievalCase> cases, CancellationToken cancellation)
    {
        var right = new SortedDictionary<int, double>();
        foreach (IGrouping<int, RetrievalCase> group in cases.GroupBy(one => one.Distance))
        {
            int hits = 0;
            foreach (RetrievalCase one in group)
            {
                List<GeneratedToken> tokens = await PolicyEngine.ReadAsync(
                    engine.Submit(one.Prompt, one.Answer.Length, new SamplingParams { Temperature = 0 }), cancellation);
                hits += tokens.Select(token => token.TokenId).SequenceEqual(one.Answer) ? 1 : 0;
            }

            right[group.Key] = hits / (double)group.Count();
        }

        return right;
    }
}
