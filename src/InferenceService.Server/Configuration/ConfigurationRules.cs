using System.Globalization;
using System.Text.Json;
using InferenceService.Compute.Cpu;
using InferenceService.Server.Hub;
using InferenceService.Server.Telemetry.Otlp;

namespace InferenceService.Server.Configuration;

/// <summary>What must hold between settings, and names that must exist in a registry.</summary>
internal static class ConfigurationRules
{
    private const int MaxModels = 8;

    /// <summary>Adds a line for each rule that is broken.</summary>
    public static void Check(
        ServerConfiguration options, ProcessEnvironment environment, List<string> problems, List<string> warnings, IReadOnlyList<ConfigurationLayer> layers)
    {
        string Spell(string key) => (layers.LastOrDefault(layer => layer.Mentions(key)) ?? layers[^1]).Spell(key);
        CheckModels(options, problems, Spell);
        CheckEngine(options, problems, Spell);
        CheckHttp(options.Server, problems, Spell);
        if (options.Cpu.Family is { } family && !family.IsSupported())
        {
            IEnumerable<string> possible = Enum.GetValues<KernelFamily>().Where(other => other.IsSupported()).Select(CpuOptions.Word);
            problems.Add($"{Spell("Cpu:Kernels")}: this processor cannot run {options.Cpu.Kernels} (it can run auto, {string.Join(", ", possible)})");
        }

        foreach (string folder in options.Engine.Device == "cpu" ? [] : options.Cuda.LibraryPath)
        {
            if (!Directory.Exists(folder))
                problems.Add($"{Spell("Cuda:LibraryPath")}: \"{folder}\" is not a folder");
        }

        CheckKeys(options.Auth, problems, Spell);
        HubSettings.Check(options.Hub, environment, problems, Spell);
        OtlpSettings.Check(options.Telemetry, environment, problems, warnings, Spell);
        foreach (string origin in options.Cors.Origins)
        {
            if (!Uri.TryCreate(origin, UriKind.Absolute, out Uri? uri) || uri.GetLeftPart(UriPartial.Authority) != origin)
                problems.Add($"{Spell("Cors:Origins")}: \"{origin}\" is not an origin such as https://chat.example.org");
        }

        if (layers[^1].Mentions("Auth:Keys"))
            warnings.Add("--api-key shows the key to other users of this host; --api-key-file does not.");
        if (layers.Any(layer => layer.Mentions("Engine:GpuMemoryUtilization")) && options.Engine.Device == "cpu")
            warnings.Add($"{Spell("Engine:GpuMemoryUtilization")} has no effect on the CPU; --kv-cache-memory-bytes sets the size of the KV pool.");
    }

    private static void CheckModels(ServerConfiguration options, List<string> problems, Func<string, string> spell)
    {
        if (options.Models.Count > MaxModels)
            problems.Add($"Models has {options.Models.Count} entries (at most {MaxModels})");
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (int i = 0; i < options.Models.Count; i++)
        {
            ModelOptions model = options.Models[i];
            string key = $"Models:{i}";
            KvCacheRules.Check(model.KvCache, $"{key}:KvCache", spell, problems);
            foreach (string name in model.Names)
            {
                if (name.Length is 0 or > 256 || name.Any(char.IsControl))
                    problems.Add($"{spell($"{key}:Names")}: a name has 1 to 256 printable characters");
                else if (!names.Add(name))
                    problems.Add($"{spell($"{key}:Names")}: \"{name}\" is used twice");
            }

            if (model.ChatTemplateKwargs is { } json && !IsJsonObject(json))
                problems.Add($"{spell($"{key}:ChatTemplateKwargs")} is not a JSON object");
        }
    }

    private static void CheckEngine(ServerConfiguration options, List<string> problems, Func<string, string> spell)
    {
        EngineSection engine = options.Engine;
        if (engine.MaxNumBatchedTokens < engine.BatchSequences)
        {
            problems.Add(
                $"{spell("Engine:MaxNumBatchedTokens")}: {engine.MaxNumBatchedTokens} is less than the {engine.BatchSequences} sequences of a batch (Engine:MaxNumSeqs)");
        }

        if (!engine.ChunkedPrefill)
            problems.Add("--no-enable-chunked-prefill (Engine:ChunkedPrefill) is not supported: long prompts always share steps with running requests");
        if (engine.TensorParallelSize > 1)
            problems.Add($"{spell("Engine:TensorParallelSize")}: {engine.TensorParallelSize} is not supported by this version yet (supported: 1)");
    }

    private static void CheckHttp(HttpOptions http, List<string> problems, Func<string, string> spell)
    {
        foreach (string url in http.Urls)
        {
            if (!Uri.TryCreate(HttpOptions.Explicit(url), UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https") || uri.AbsolutePath != "/")
                problems.Add($"{spell("Server:Urls")}: \"{url}\" is not an address such as http://0.0.0.0:8000");
        }

        if (http.AdminPort is { } admin && admin != HttpOptions.NoPort && (!int.TryParse(admin, NumberStyles.None, CultureInfo.InvariantCulture, out int port) || port > 65535))
            problems.Add($"{spell("Server:AdminPort")}: \"{admin}\" is neither a port (0 to 65535) nor none");
        if (http.Tls.CertFile is null != http.Tls.KeyFile is null)
            problems.Add("--ssl-certfile and --ssl-keyfile go together");
        if (http.PathBase is { Length: > 0 } path && (!path.StartsWith('/') || path.EndsWith('/')))
            problems.Add($"{spell("Server:PathBase")}: \"{path}\" must begin with / and not end with it");
    }

    private static void CheckKeys(AuthOptions auth, List<string> problems, Func<string, string> spell)
    {
        for (int i = 0; i < auth.Keys.Count; i++)
        {
            string spelled = spell($"Auth:Keys:{i}");
            problems.AddRange(Security.KeyProblems.Of(auth.Keys[i]).Select(problem => $"{spelled}: {problem}"));
        }
    }

    private static bool IsJsonObject(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            return document.RootElement.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
