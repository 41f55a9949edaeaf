using System.Globalization;
using System.Text;
using InferenceService.Engine.Cache.Policies;
using InferenceService.Fuzz.Loop;
using InferenceService.Fuzz.Targets.Http;
using InferenceService.Server.Api;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;

namespace InferenceService.Fuzz.Targets.Files;

/// <summary>A KV policy and its options, from a file as the server's start reads it and from a request: what is accepted makes a policy within its own bounds.</summary>
internal sealed class PolicyFileTarget : FuzzTarget
{
    private readonly ScratchFolder _folder = new();
    private readonly ServerHarness _server = new(strict: false);
    private readonly PolicyMenu _menu;

    public PolicyFileTarget() => _menu = _server.Model.Policies;

    public override string Name => "kv-policy";

    public override int MaxBytes => 1024;

    public override IReadOnlyList<string> Words => [.. KvPolicyRegistry.Names];

    public override IEnumerable<byte[]> Seeds()
    {
        foreach (string name in KvPolicyRegistry.Names)
        {
            var options = KvPolicyRegistry.Find(name)!.Options;
            yield return Encoding.UTF8.GetBytes($"{{\"name\":\"{name}\"}}");
            string stated = string.Concat(options.Select(option => string.Create(CultureInfo.InvariantCulture, $",\"{option.Name}\":{option.Default ?? 8}")));
            yield return Encoding.UTF8.GetBytes($"{{\"name\":\"{name}\"{stated}}}");
        }
    }

    public override long MaxAllocated(int length) => (256 << 10) + (1024L * length);

    public override bool Run(byte[] input)
    {
        if (PolicyFile.Read(_folder.Write("policy.json", input), out PolicyFile? file) is { } problem)
        {
            CheckMessage(problem, 800);
            return false;
        }

        var settings = new Dictionary<string, string>();
        file!.AddTo(settings, "Models:0:KvCache:");
        IKvPolicy? policy = _menu.Choose(file.Policy, out ApiError? error);
        Require(policy is null == error is not null, "a policy and an error, or neither");
        if (error is not null)
            CheckMessage(error.Message, 2000);
        else
            Require(_menu.Names.Contains(policy!.Name), "a policy that is not on the menu");
        return policy is not null;
    }

    protected override void Dispose(bool disposing)
    {
        _folder.Dispose();
        _server.Dispose();
        base.Dispose(disposing);
    }
}
