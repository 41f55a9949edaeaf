using System.Globalization;
using System.Text;
using InferenceService.Benchmarks.Load;

namespace InferenceService.Benchmarks.Reliability;

/// <summary>Makes the requests of a soak: lengths from a trace, everything else drawn by number.</summary>
/// <param name="model">Model name.</param>
/// <param name="trace">Lengths, over and over.</param>
/// <param name="context">Context length in tokens.</param>
/// <param name="disconnects">Share of requests whose client leaves.</param>
/// <param name="invalid">Share that must be refused.</param>
/// <param name="seed">Another seed, another soak.</param>
internal sealed class SoakMix(string model, Arrival[] trace, int context, double disconnects, double invalid, int seed)
{
    private const int TokenIds = 4000, FirstTokenId = 16, Families = 8, LongestPrefix = 256;
    private static readonly string[] Words = ["the", "rabbit", "brave", "and", "little", "forest", "found", "a", "river", "said", "old", "friend", "key", "night"];

    // What is served as int4 holds old tokens so unless a request asks for them as computed.
    private static readonly (string Name, string Json, int Weight)[] Policies =
    [
        ("full, 4 bits", "\"full\"", 3),
        ("full", "{\"name\":\"full\",\"key_bits\":16,\"value_bits\":16}", 3),
        ("streaming-llm", "{\"name\":\"streaming-llm\",\"sink_tokens\":4,\"recent_tokens\":92,\"key_bits\":16,\"value_bits\":16}", 2),
        ("streaming-llm, 4 bits", "{\"name\":\"streaming-llm\",\"sink_tokens\":32,\"recent_tokens\":96}", 1),
        ("sim-layer-kv", "{\"name\":\"sim-layer-kv\",\"mode\":\"share\",\"recent_tokens\":60,\"observed_tokens\":16,\"key_bits\":16,\"value_bits\":16}", 2),
        ("sim-layer-kv, 4 bits", "{\"name\":\"sim-layer-kv\",\"mode\":\"share\",\"recent_tokens\":96,\"observed_tokens\":16}", 1),
        ("fast-gen", "{\"name\":\"fast-gen\",\"recovery_target\":0.7,\"key_bits\":16,\"value_bits\":16}", 2),
        ("fast-gen, 4 bits", "{\"name\":\"fast-gen\",\"recovery_target\":0.8}", 1),
    ];

    private readonly InvalidRequest[] _mistakes = InvalidRequest.All(model, context);

    /// <summary>When the request is due, in seconds after the start; the trace begins anew when it has ended.</summary>
    public double At(int number) => (number / trace.Length * (trace[^1].At + 1)) + trace[number % trace.Length].At;

    /// <summary>The request of this number: always the same one.</summary>
    public SoakRequest Request(int number)
    {
        var random = new Random(HashCode(number));
        double kind = random.NextDouble();
        if (kind < invalid)
        {
            InvalidRequest mistake = _mistakes[random.Next(_mistakes.Length)];
            return new SoakRequest(SoakKind.Invalid, mistake.Path, "", false, 0, "") { Mistake = mistake };
        }

        SoakRequest request = Valid(random, trace[number % trace.Length]);
        if (kind >= invalid + disconnects)
            return request;
        bool byEvents = request.Stream && random.Next(2) == 0;
        return request with
        {
            Kind = SoakKind.Leave,
            LeaveAfterEvents = byEvents ? random.Next(1, 30) : null,
            LeaveAfter = TimeSpan.FromMilliseconds(random.NextDouble() * random.NextDouble() * 400),
        };
    }

    private SoakRequest Valid(Random random, Arrival lengths)
    {
        bool chat = random.Next(4) == 0, stream = random.Next(2) == 0;
        int n = random.Next(8) == 0 ? random.Next(2, 5) : 1;
        (string policy, string policyJson) = DrawPolicy(random);
        var fields = new StringBuilder($"\"model\":\"{model}\",");
        if (chat)
            AppendMessages(fields, random, lengths.PromptTokens);
        else
            AppendPrompt(fields, random, lengths.PromptTokens);
        fields.Append(CultureInfo.InvariantCulture, $",\"max_tokens\":{lengths.OutputTokens},\"n\":{n},\"kv_policy\":{policyJson}");
        AppendSampling(fields, random, greedy: n == 1 && random.Next(2) == 0);
        if (random.Next(3) == 0)
            fields.Append(",\"ignore_eos\":true");
        if (random.Next(6) == 0)
            fields.Append(",\"stop\":[\" and\",\"rab\"]");
        if (random.Next(8) == 0)
            fields.Append(chat ? ",\"logprobs\":true,\"top_logprobs\":2" : ",\"logprobs\":2");
        return new SoakRequest(SoakKind.Complete, chat ? "/v1/chat/completions" : "/v1/completions", fields.ToString(), stream, n, policy);
    }

    private static void AppendSampling(StringBuilder fields, Random random, bool greedy)
    {
        if (greedy)
        {
            fields.Append(",\"temperature\":0");
            return;
        }

        fields.Append(CultureInfo.InvariantCulture, $",\"temperature\":{0.5 + random.Next(8) / 10.0:F1},\"seed\":{random.Next()}");
        if (random.Next(2) == 0)
            fields.Append(CultureInfo.InvariantCulture, $",\"top_p\":{0.7 + random.Next(3) / 10.0:F1},\"top_k\":{random.Next(1, 60)}");
        if (random.Next(3) == 0)
            fields.Append(CultureInfo.InvariantCulture, $",\"frequency_penalty\":{random.Next(10) / 10.0:F1},\"presence_penalty\":{random.Next(10) / 10.0:F1}");
    }

    private static void AppendMessages(StringBuilder fields, Random random, int tokens)
    {
        fields.Append("\"messages\":[{\"role\":\"user\",\"content\":\"Tell me");
        for (int i = 0; i < tokens; i++)
            fields.Append(' ').Append(Words[random.Next(Words.Length)]);
        fields.Append(".\"}]");
    }

    // A third of them begin like others do, so that the prefix cache has something to find and to share.
    private void AppendPrompt(StringBuilder fields, Random random, int tokens)
    {
        fields.Append("\"prompt\":[");
        Random? family = random.Next(3) == 0 ? new Random(seed + 1 + random.Next(Families)) : null;
        for (int i = 0; i < tokens; i++)
        {
            if (i > 0)
                fields.Append(',');
            Random source = family is not null && i < LongestPrefix ? family : random;
            fields.Append(source.Next(FirstTokenId, TokenIds));
        }

        fields.Append(']');
    }

    private static (string Name, string Json) DrawPolicy(Random random)
    {
        int left = random.Next(Policies.Sum(policy => policy.Weight));
        foreach ((string name, string json, int weight) in Policies)
        {
            left -= weight;
            if (left < 0)
                return (name, json);
        }

        throw new InvalidOperationException("Weights do not add up.");
    }

    // Neighbouring seeds of Random give related sequences; a mixed one does not (the finaliser of MurmurHash3).
    private int HashCode(int number)
    {
        uint h = unchecked((uint)number * 2654435761u + (uint)seed);
        h ^= h >> 16;
        h *= 0x85EBCA6B;
        h ^= h >> 13;
        h *= 0xC2B2AE35;
        return (int)(h ^ (h >> 16));
    }
}
