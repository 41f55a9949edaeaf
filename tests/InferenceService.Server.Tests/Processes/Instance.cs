using System.Diagnostics;
using System.Net.Sockets;
using System.Text;

namespace InferenceService.Server.Tests.Processes;

/// <summary>The server as a process of its own, ready, on a port of its own; killed when disposed.</summary>
internal sealed class Instance : IAsyncDisposable
{
    private const string Welcome = "curl -N ";
    private readonly Process _process;
    private readonly Task _reading;
    private readonly StringBuilder _log = new();

    private Instance(Process process, Uri address)
    {
        (_process, Address) = (process, address);
        // Whoever writes to a full pipe waits for ever.
        _reading = Task.WhenAll(KeepAsync(process.StandardOutput), KeepAsync(process.StandardError));
    }

    /// <summary>What it has written since it was ready.</summary>
    public string Log
    {
        get
        {
            lock (_log)
                return _log.ToString();
        }
    }

    /// <summary>Where it listens.</summary>
    public Uri Address { get; }

    /// <summary>Starts one and returns once it is ready.</summary>
    /// <param name="drainDelay">How long it takes work after it was told to end.</param>
    /// <param name="flags">As on the command line; one like <c>Streaming:SlowClientTimeout=1h</c> is a setting that has no flag.</param>
    public static async Task<Instance> StartAsync(string drainDelay, params string[] flags)
    {
        string server = Path.Combine(AppContext.BaseDirectory, "InferenceService.Server.dll");
        string[] model = flags.Contains("--model") ? [] : ["--model", TinyModel.Folder];
        string[] settings = [.. flags.Where(flag => char.IsAsciiLetterUpper(flag[0]) && flag.Contains('=', StringComparison.Ordinal))];
        var start = new ProcessStartInfo("dotnet", [server, .. model, "--port", "0", "--threads", "1", .. flags.Except(settings)]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["INFERENCE__Server__DrainDelay"] = drainDelay;
        start.Environment["INFERENCE__Server__AdminPort"] = "none"; // its usual port is one for all
        start.Environment["DOTNET_ENVIRONMENT"] = "Testing";
        foreach (string[] setting in settings.Select(setting => setting.Split('=', 2)))
            start.Environment["INFERENCE__" + setting[0].Replace(":", "__", StringComparison.Ordinal)] = setting[1];
        Process process = Process.Start(start)!;
        string? line;
        do
        {
            line = await process.StandardOutput.ReadLineAsync();
            if (line is null)
                Assert.Fail($"The server ended before it was ready: {await process.StandardError.ReadToEndAsync()}");
        }
        while (!line.StartsWith(Welcome, StringComparison.Ordinal));
        var asked = new Uri(line[Welcome.Length..].Split(' ')[0]);
        return new Instance(process, new Uri(asked.GetLeftPart(UriPartial.Authority)));
    }

    /// <summary>A client of its own connections that waits as long as it takes.</summary>
    public HttpClient NewClient() => new() { BaseAddress = Address, Timeout = Timeout.InfiniteTimeSpan };

    /// <summary>One whose system takes little before it is read: what more comes out of it has been generated meanwhile.</summary>
    public HttpClient NewNarrowClient() => new(new SocketsHttpHandler
    {
        ConnectCallback = async (context, cancellation) =>
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
            await socket.ConnectAsync(context.DnsEndPoint, cancellation);
            return new NetworkStream(socket, ownsSocket: true);
        },
    })
    {
        BaseAddress = Address,
        Timeout = Timeout.InfiniteTimeSpan,
    };

    /// <summary>Tells it to end (SIGTERM).</summary>
    public async Task TerminateAsync()
    {
        using Process kill = Process.Start("/bin/sh", ["-c", $"kill -TERM {_process.Id}"]);
        await kill.WaitForExitAsync();
    }

    /// <summary>Ends it without a word (SIGKILL).</summary>
    public void Kill() => _process.Kill();

    /// <summary>Waits for its end.</summary>
    /// <returns>The exit code.</returns>
    public async Task<int> ExitCodeAsync()
    {
        await _process.WaitForExitAsync();
        return _process.ExitCode;
    }

    private async Task KeepAsync(StreamReader written)
    {
        while (await written.ReadLineAsync() is { } line)
        {
            lock (_log)
                _log.AppendLine(line);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        await _reading;
        _process.Dispose();
    }
}
