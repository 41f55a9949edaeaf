using System.Globalization;
using System.IO.Compression;

namespace InferenceService.Benchmarks.Load;

/// <summary>One request of a workload.</summary>
/// <param name="At">Seconds after the start; ignored in a closed loop.</param>
/// <param name="PromptTokens">Prompt length.</param>
/// <param name="OutputTokens">Tokens to generate, EOS ignored.</param>
internal readonly record struct Arrival(double At, int PromptTokens, int OutputTokens)
{
    /// <summary>Equal requests; with a rate, Poisson arrivals.</summary>
    public static Arrival[] Uniform(int count, int promptTokens, int outputTokens, double? ratePerSecond, int seed)
    {
        var random = new Random(seed);
        var arrivals = new Arrival[count];
        double at = 0;
        for (int i = 0; i < count; i++)
        {
            arrivals[i] = new Arrival(at, promptTokens, outputTokens);
            if (ratePerSecond is { } rate)
                at += -Math.Log(1 - random.NextDouble()) / rate;
        }

        return arrivals;
    }

    /// <summary>
    /// A CSV (plain or .gz) with a header and three columns: arrival (seconds, or a timestamp), prompt tokens, output tokens. The
    /// columns of the Azure LLM inference trace 2023 are understood as they are.
    /// </summary>
    /// <param name="speed">Arrivals come so many times faster.</param>
    /// <param name="scale">Lengths are multiplied by it, at least 1 token.</param>
    public static Arrival[] FromCsv(string path, int count, double speed, double scale, int maxTokens)
    {
        using Stream file = File.OpenRead(path);
        using Stream plain = path.EndsWith(".gz", StringComparison.Ordinal) ? new GZipStream(file, CompressionMode.Decompress) : file;
        using var reader = new StreamReader(plain);
        reader.ReadLine();
        var arrivals = new List<Arrival>();
        double? origin = null;
        while (arrivals.Count < count && reader.ReadLine() is { } line)
        {
            string[] cells = line.Split(',');
            if (cells.Length < 3 || !int.TryParse(cells[1], CultureInfo.InvariantCulture, out int prompt)
                || !int.TryParse(cells[2], CultureInfo.InvariantCulture, out int output))
                throw new FormatException($"{Path.GetFileName(path)} line {arrivals.Count + 2}: expected arrival,prompt_tokens,output_tokens.");
            double at = Seconds(cells[0]);
            origin ??= at;
            prompt = Math.Clamp((int)(prompt * scale), 1, maxTokens - 1);
            output = Math.Clamp((int)(output * scale), 1, maxTokens - prompt);
            arrivals.Add(new Arrival((at - origin.Value) / speed, prompt, output));
        }

        return [.. arrivals];
    }

    private static double Seconds(string cell) =>
        double.TryParse(cell, NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds)
            ? seconds
            : DateTimeOffset.Parse(cell, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal).ToUnixTimeMilliseconds() / 1e3;
}
