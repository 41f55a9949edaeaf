using System.Net;
using System.Security.Cryptography;
using System.Text;
using InferenceService.Fuzz.Loop;
using InferenceService.Models;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hub;
using InferenceService.Server.Tests.Hub;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary>A hub's answers, one after the other: what it says of a model, and one file that is downloaded from it.</summary>
/// <remarks>Input: for each answer a status, lines <c>name: value</c>, a zero byte, the body, a zero byte.</remarks>
internal sealed class HubTarget : FuzzTarget
{
    private const string Contents = "contents of a file, 32 bytes long";
    private const string Commit = "0123456789abcdef0123456789abcdef01234567";
    private static readonly byte[] Bytes = Encoding.ASCII.GetBytes(Contents);
    private static readonly HubFile Wanted = new("model.safetensors", Bytes.Length, Convert.ToHexStringLower(SHA256.HashData(Bytes)));
    private static readonly HubModelId Id = new("org", "tiny", "main");

    private readonly ScratchFolder _folder = new();
    private readonly StartupConsole _console = new(TextWriter.Null, TextWriter.Null, interactive: false);
    private readonly HubSettings _settings = HubSettings.From(new HubOptions { Endpoint = "https://hub.example", Token = "hf_0123456789", IdleTimeout = EagerTime.Patience }, new ProcessEnvironment { Variables = new Dictionary<string, string>() });

    public override string Name => "hub";

    public override int MaxBytes => 2048;

    public override IReadOnlyList<string> Words =>
    [
        "200\n", "206\n", "302\n", "307\n", "401\n", "404\n", "416\n", "429\n", "500\n", "503\n", "Content-Range: bytes 8-31/32\n", "Content-Range: bytes 0-7/32\n", "Content-Range: bytes */32\n", "Content-Range: bytes 8-/*\n",
        "Content-Length: 24\n", "ETag: \"a\"\n", "ETag: W/\"a\"\n", "Retry-After: 1\n", "Retry-After: 99999999999\n", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\n", "Location: /x\n", "Location: http://other.example/\n", "Location: //\n",
        "Link: <https://hub.example/next>; rel=\"next\"\n", "X-Error-Code: GatedRepo\n", Contents, Commit, "../x", "config.json", "tokenizer.json", "additional_chat_templates/a.jinja", "model.safetensors.index.json", "file", "directory",
    ];

    public override IEnumerable<byte[]> Seeds()
    {
        string small = "{\"rfilename\":\"config.json\",\"size\":3,\"blobId\":\"" + Commit + "\"},{\"rfilename\":\"tokenizer.json\",\"size\":3,\"blobId\":\"" + Commit + "\"}";
        string large = "{\"rfilename\":\"model.safetensors\",\"size\":32,\"lfs\":{\"sha256\":\"" + Wanted.Hash + "\",\"size\":32}}";
        string list = "200\0{\"sha\":\"" + Commit + "\",\"siblings\":[" + small + "," + large + "]}\0";
        string tree = "[{\"type\":\"file\",\"path\":\"config.json\",\"size\":3,\"oid\":\"" + Commit + "\"},{\"type\":\"directory\",\"path\":\"a\"}]";
        yield return Encoding.UTF8.GetBytes(list + "200\nETag: \"a\"\n\0" + Contents + "\0");
        yield return Encoding.UTF8.GetBytes(list + "302\nLocation: https://cdn.example/x\n\0\0200\nContent-Length: 32\nETag: \"a\"\n\0" + Contents[..8] + "\0206\nContent-Range: bytes 8-31/32\n\0" + Contents[8..] + "\0");
        yield return Encoding.UTF8.GetBytes("200\0{\"sha\":\"" + Commit + "\",\"siblings\":[{\"rfilename\":\"config.json\"}]}\0200\nLink: <https://hub.example/2>; rel=\"next\"\n\0" + tree + "\0200\n\0[]\0429\nRetry-After: 1\n\0\0416\n\0\0200\n\0" + Contents + "\0");
        yield return Encoding.UTF8.GetBytes("404\nX-Error-Code: RevisionNotFound\n\0\0" + "503\nRetry-After: Fri, 31 Dec 2027 23:59:59 GMT\n\0\0" + "200\0" + Contents);
    }

    public override long MaxAllocated(int length) => (4 << 20) + (4096L * length);

    public override bool Run(byte[] input)
    {
        var time = new EagerTime();
        var answers = new Answers(input);
        using var client = new HubClient(_settings, time, answers);
        bool listed = Try(() => List(client));
        bool downloaded = Try(() => Download(client, time));
        Require(answers.Leaks == 0, "the token went to somebody else");
        return listed && downloaded;
    }

    protected override void Dispose(bool disposing)
    {
        _folder.Dispose();
        base.Dispose(disposing);
    }

    private static async Task List(HubClient client)
    {
        HubListing listing = await client.ListAsync(Id, CancellationToken.None);
        foreach (HubFile file in listing.Files)
            Require(Path.GetFullPath(Path.Combine("/folder", file.Name)).StartsWith("/folder/", StringComparison.Ordinal) && file.Size >= 0, "a file outside of the model folder");
        foreach (HubFile file in ModelFiles.SmallOf(Id, listing))
            Require(file.Size <= 512L << 20, "a large file among the small ones");
    }

    private async Task Download(HubClient client, TimeProvider time)
    {
        var cache = new HubCache(_folder.Path);
        string path = cache.BlobPath(Id, Wanted.Hash);
        try
        {
            using var blob = new BlobDownload(client, new HubRetry(3, time, _console), cache, new HubDisk(), time, Id, Commit, Wanted, _ => { });
            await blob.RunAsync(() => { }, CancellationToken.None);
            Require(File.ReadAllBytes(path).AsSpan().SequenceEqual(Bytes), "a file has a name, and other contents than its checksum says");
        }
        finally
        {
            File.Delete(path);
            File.Delete(path + HubCache.PartialEnding);
        }
    }

    private static bool Try(Func<Task> run)
    {
        try
        {
            run().GetAwaiter().GetResult();
            return true;
        }
        catch (Exception refusal) when (refusal is CheckpointException or HubTransientException)
        {
            CheckMessage(refusal.Message, 1500);
            return false;
        }
    }

    /// <summary>Gives the input's answers in turn, then nothing but 404.</summary>
    private sealed class Answers(byte[] input) : HttpMessageHandler
    {
        private int _at;

        /// <summary>Requests with the token to another host than the hub.</summary>
        public int Leaks { get; private set; }

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (request.Headers.Authorization is not null && request.RequestUri is not { Scheme: "https", Host: "hub.example" })
                Leaks++;
            string[] head = Encoding.UTF8.GetString(Next()).Split('\n');
            byte[] body = Next();
            var answer = new HttpResponseMessage((HttpStatusCode)(int.TryParse(head[0], out int status) && status is >= 100 and <= 999 ? status : 404)) { Content = new ByteArrayContent(body) };
            foreach (string line in head.Skip(1))
            {
                int colon = line.IndexOf(':', StringComparison.Ordinal);
                // What the client's own transport refuses does not come here.
                if (colon <= 0 || line.Any(char.IsControl) || !line[..colon].All(c => char.IsAsciiLetterOrDigit(c) || c == '-'))
                    continue;
                if (!answer.Headers.TryAddWithoutValidation(line[..colon], line[(colon + 1)..].Trim()))
                    answer.Content.Headers.TryAddWithoutValidation(line[..colon], line[(colon + 1)..].Trim());
            }

            return Task.FromResult(answer);
        }

        private byte[] Next()
        {
            int end = _at >= input.Length ? -1 : Array.IndexOf(input, (byte)0, _at);
            byte[] section = _at >= input.Length ? [] : input[_at..(end < 0 ? input.Length : end)];
            _at = end < 0 ? input.Length : end + 1;
            return section;
        }
    }
}
