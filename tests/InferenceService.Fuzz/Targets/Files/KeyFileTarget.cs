using System.Text;
using InferenceService.Fuzz.Loop;
using InferenceService.Server.Security;

namespace InferenceService.Fuzz.Targets.Files;

/// <summary>A file of API keys, and the keys that it makes.</summary>
internal sealed class KeyFileTarget : FuzzTarget
{
    private const int MinSecret = 12;
    private readonly ScratchFolder _folder = new();

    public override string Name => "key-file";

    public override InputShape Shape => InputShape.Text;

    public override int MaxBytes => 1024;

    public override IReadOnlyList<string> Words => ["sha256:", "inference", "metrics", "admin", "name=", "weight=", "models=", "kv-policies=", "max-priority=", "requests-per-minute=", "tokens-per-minute=", "concurrent-requests=", ",", "#", "\n", "\r\n", "\t", "sk-", "=", "requests-per-minute=60", "tokens-per-minute=1k", "weight=2", "models=a,b", "name=x", new('a', 64), new('F', 64), new('k', 600)];

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Encoding.UTF8.GetBytes($"# keys\nsk-one-0123456789\nsk-two-0123456789 inference,metrics\r\nsha256:{new string('a', 64)} admin # c\n");
        yield return Encoding.UTF8.GetBytes("sk-five-0123456789 inference name=a models=x,y kv-policies=full requests-per-minute=5 tokens-per-minute=2k weight=2.5 max-priority=-1\n");
        yield return Encoding.UTF8.GetBytes("sk-five-0123456789 inference weight=2 requests-per-minute=60\n");
        yield return Encoding.UTF8.GetBytes("\uFEFFsk-three\tadmin\n");
        yield return Encoding.Unicode.GetBytes("\uFEFFsk-four\n");
    }

    public override bool Run(byte[] input)
    {
        string path = _folder.Write("keys", input);
        var keys = new ApiKeys(TimeProvider.System);
        try
        {
            ApiKeyFile.Load(path, keys);
        }
        catch (InvalidDataException e)
        {
            CheckMessage(e.Message, 400);
            CheckSilence(input, e.Message, path);
            return false;
        }

        Require(keys.Count > 0 && keys.Find(null) is null && keys.Find("") is null, "a file without a key, or one that anybody has");
        return true;
    }

    protected override void Dispose(bool disposing)
    {
        _folder.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>No refusal shows what could be a key.</summary>
    private static void CheckSilence(byte[] input, string message, string path)
    {
        message = message.Replace(path, "", StringComparison.Ordinal);
        // Words of the settings themselves have no digit, and may well be named.
        foreach (string word in Encoding.UTF8.GetString(input).Split([' ', '\t', '\n', '\r', ',', '#'], StringSplitOptions.RemoveEmptyEntries))
            Require(word.Length < MinSecret || !word.Any(char.IsAsciiDigit) || !message.Contains(word, StringComparison.Ordinal), "a refusal shows a word of the key file");
    }
}
