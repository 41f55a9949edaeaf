using System.Text;
using System.Text.RegularExpressions;
using InferenceService.Fuzz.Loop;
using InferenceService.Server.Configuration;

namespace InferenceService.Fuzz.Targets.Files;

/// <summary>appsettings.json, the command line and the environment, one argument or variable a line: problems in words, never an exception, no secret shown.</summary>
internal sealed partial class SettingsTarget : FuzzTarget
{
    private const string Secret = "sk-fuzz-secret-0123456789";
    private readonly ScratchFolder _folder = new();

    public override string Name => "settings";

    public override int MaxBytes => 2048;

    public override IReadOnlyList<string> Words =>
        [.. ServerFlags.All.Select(flag => flag.Name), "true", "4k", "1GiB", "0.5", "30s", "-1", "auto", "tcp://", "*", ConfigurationLayer.EnvironmentPrefix, "__", ":0:", Secret, "http://localhost:4317", "0.0.0.0", "[::1]"];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Encoding.UTF8.GetBytes("""{"Limits":{"MaxN":4}}""" + "\0--port\n8000\0INFERENCE__Engine__BlockSize=32");
        yield return Encoding.UTF8.GetBytes(
            """{"Models":[{"Path":"m","Names":["a"],"KvCache":{"Policy":"h2o","PolicyOptions":{"budget":64}}}],"Engine":{"BlockSize":16},"Auth":{"Keys":["sk-fuzz-secret-0123456789"]},"Logging":{"LogLevel":{"Default":"Warning"}}}"""
            + "\0--port\n8000\n--max-model-len=2k\n--enable-prefix-caching\n--api-key\nsk-fuzz-secret-0123456789\0INFERENCE__Server__Host=0.0.0.0\nINFERENCE__Limits__MaxN=4");
        yield return Encoding.UTF8.GetBytes("{}\0--model\nm\n--served-model-name\na,b\n--kv-policy\nsnapkv\n--max-queue-wait\n5m\0");
        yield return Encoding.UTF8.GetBytes("{\"Server\":{\"Port\":1}}\0--help\n--frobnicate\nserve\0INFERENCE__Models__0__Path=x\nINFERENCE__Telemetry__Otlp__Endpoint=http://c:4317");
    }

    public override long MaxAllocated(int length) => (16 << 20) + (16_384L * length);

    public override long MaxWork(int length) => 4_000_000 + (20_000L * length);

    public override bool Run(byte[] input)
    {
        (byte[] json, byte[] rest) = Sections.Split(input);
        (byte[] arguments, byte[] variables) = Sections.Split(rest);
        _folder.Write("appsettings.json", json);
        var environment = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string line in Lines(variables))
        {
            int equals = line.IndexOf('=', StringComparison.Ordinal);
            if (equals > 0)
                environment[line[..equals]] = line[(equals + 1)..];
        }

        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse(Lines(arguments)), new ProcessEnvironment { Variables = environment }, _folder.Path);
        foreach (string problem in reading.Problems.Concat(reading.Warnings))
            CheckMessage(problem, 4000);
        foreach (EffectiveSetting setting in reading.Effective)
            Require(!KeyPlace().IsMatch(setting.Key) || !setting.Value.Contains(Secret, StringComparison.Ordinal), "a listing shows a key");
        return reading.Problems.Count == 0;
    }

    /// <summary>Where a key is a key; as the name of a file, say, it is shown as any other.</summary>
    [GeneratedRegex("^Auth:Keys(:[0-9]+)?(:Value|:Sha256)?$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex KeyPlace();

    protected override void Dispose(bool disposing)
    {
        _folder.Dispose();
        base.Dispose(disposing);
    }

    private static string[] Lines(byte[] section) => Encoding.UTF8.GetString(section).Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
