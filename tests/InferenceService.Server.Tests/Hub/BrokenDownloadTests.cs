using System.Globalization;
using System.Net.Sockets;
using InferenceService.Models;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hub;
using Microsoft.AspNetCore.Http;

namespace InferenceService.Server.Tests.Hub;

/// <summary>Downloads whose connection, contents, hub, disk or process gives out on the way: what is there is kept, and nothing false gets a name.</summary>
public sealed class BrokenDownloadTests : DownloadTest
{
    [Fact]
    public async Task A_connection_that_breaks_is_resumed_where_it_broke()
    {
        Hub.Fail(Weights, Hub.BreakAfter(40_000), Hub.BreakAfter(30_000));
        await DownloadAsync();
        string tag = $"\"{HubServer.ChecksumOf(Weights, Hub.Files[Weights])}\"";
        Assert.Equal([(null, null), ("bytes=40000-", tag), ("bytes=70000-", tag)], Hub.Of(Weights).Select(request => (request.Range, request.IfRange)));
        Assert.Equal(2, Time.Delays.Count);
        Assert.Matches(@"warning: model\.safetensors of ""org/tiny"": the connection broke; attempt 2 in \d+\.\d s", Warnings.ToString());
    }

    [Fact]
    public async Task A_file_that_changed_between_attempts_begins_anew()
    {
        int asked = 0;
        Hub.TagOf = _ => $"\"version {asked}\"";
        Hub.Fail(Weights, async (context, contents) =>
        {
            await Hub.BreakAfter(40_000)(context, contents);
            asked++;
        });
        await DownloadAsync();
        Assert.Equal([(null, null), ("bytes=40000-", "\"version 0\"")], Hub.Of(Weights).Select(request => (request.Range, request.IfRange)));
    }

    [Fact]
    public async Task A_server_that_knows_no_ranges_sends_all_of_it_again()
    {
        Hub.Fail(Weights, Hub.BreakAfter(40_000), (context, contents) => context.Response.Body.WriteAsync(contents).AsTask());
        await DownloadAsync();
        Assert.Equal([null, "bytes=40000-"], Hub.Of(Weights).Select(request => request.Range));
    }

    [Fact]
    public async Task A_range_that_was_not_asked_for_or_cannot_be_had_begins_anew()
    {
        Func<HttpContext, byte[], Task> wrong = async (context, contents) =>
        {
            context.Response.StatusCode = 206;
            context.Response.Headers.ContentRange = $"bytes 0-{contents.Length - 1}/{contents.Length}";
            await context.Response.Body.WriteAsync(contents);
        };
        Hub.Fail(Weights, Hub.BreakAfter(40_000), wrong, Hub.BreakAfter(40_000), HubServer.Status(416));
        await DownloadAsync();
        Assert.Equal([null, "bytes=40000-", null, "bytes=40000-", null], Hub.Of(Weights).Select(request => request.Range));
        Assert.Contains("the server sends another range than asked for", Warnings.ToString(), StringComparison.Ordinal);
        Assert.Contains("the server has not the range that is missing", Warnings.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(503)]
    [InlineData(429)]
    [InlineData(500)]
    [InlineData(408)]
    public async Task Overload_is_waited_out_as_long_as_the_hub_asks(int status)
    {
        Hub.Fail("api/", HubServer.Status(status, "7"), HubServer.Status(status, DateTimeOffset.UnixEpoch.AddDays(20_000).AddSeconds(90).ToString("R", CultureInfo.InvariantCulture)));
        Hub.Fail("config.json", HubServer.Status(status));
        await DownloadAsync();
        TimeSpan[] delays = [.. Time.Delays];
        Assert.Equal([TimeSpan.FromSeconds(7), TimeSpan.FromSeconds(90)], delays[..2]);
        Assert.InRange(delays[2], TimeSpan.Zero, HubRetry.LongestDelay); // no wish: our own, with jitter
        Assert.Contains($"The list of files of \"org/tiny\": 127.0.0.1 answers {status}; attempt 2 in 7.0 s", Warnings.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_hub_that_asks_to_wait_too_long_is_not_waited_for()
    {
        Hub.Fail("api/", HubServer.Status(429, "3600"));
        Assert.Equal(
            "The list of files of \"org/tiny\" cannot be downloaded: 127.0.0.1 answers 429 and asks to wait 3600 s, which is longer than 10 minutes.", await FailAsync());
        Assert.Empty(Time.Delays);
    }

    [Fact]
    public async Task Attempts_are_bounded_and_wait_longer_each_time()
    {
        Hub.Fail(Weights, [.. Enumerable.Repeat(HubServer.Status(502), 20)]);
        Assert.Equal("model.safetensors of \"org/tiny\" cannot be downloaded: 127.0.0.1 answers 502.", await FailAsync());
        Assert.Equal(9, Hub.Of(Weights).Length);
        TimeSpan[] delays = [.. Time.Delays];
        Assert.Equal(8, delays.Length);
        Assert.All(delays, delay => Assert.InRange(delay, TimeSpan.Zero, HubRetry.LongestDelay));
        Assert.True(delays[4..].Max() > delays[..2].Max());
    }

    [Fact]
    public async Task A_file_that_comes_in_pieces_of_a_megabyte_comes_however_often_it_breaks()
    {
        byte[] large = new byte[6 << 20];
        new Random(5).NextBytes(large);
        Hub.Files[Weights] = large;
        Hub.Fail(Weights, [.. Enumerable.Repeat(Hub.BreakAfter((1 << 20) + 100), 5)]);
        string folder = await DownloadAsync(settings: Settings("INFERENCE__Hub__Retries", "0"));
        Assert.Equal(large, File.ReadAllBytes(Path.Combine(folder, Weights)));
        Assert.Equal(6, Hub.Of(Weights).Length);
    }

    /// <summary>Each attempt brings a good piece, but none that was not there before.</summary>

    [Fact]
    public async Task Contents_that_are_wrong_every_time_are_not_brought_for_ever()
    {
        byte[] right = new byte[3 << 20];
        byte[] wrong = [.. right.Select(_ => (byte)1)];
        Hub.Files[Weights] = right;
        Hub.Fail(Weights, [.. Enumerable.Repeat<Func<HttpContext, byte[], Task>>((context, _) => Hub.BreakAfter((1 << 20) + 100)(context, wrong), 60)]);
        Assert.Contains("the checksum is ", await FailAsync(Settings("INFERENCE__Hub__Retries", "3")), StringComparison.Ordinal);
        Assert.Equal(2 + 4, Hub.Of(Weights).Length);
    }

    [Fact]
    public async Task Silence_is_given_up_and_tried_again()
    {
        Func<HttpContext, byte[], Task> silent = async (context, contents) =>
        {
            await context.Response.Body.WriteAsync(contents.AsMemory(0, 10));
            await context.Response.Body.FlushAsync();
            await Eventually.TrueAsync(() => (Partial() is { Length: 10 } && Time.IsHeld) || context.RequestAborted.IsCancellationRequested);
            Time.LosePatience();
            await Eventually.TrueAsync(() => context.RequestAborted.IsCancellationRequested);
        };
        Hub.Fail(Weights, silent);
        await DownloadAsync();
        Assert.Contains("the connection sent nothing for 600 s", Warnings.ToString(), StringComparison.Ordinal);
        Assert.Equal([null, "bytes=10-"], Hub.Of(Weights).Select(request => request.Range));
    }

    [Fact]
    public async Task Contents_with_another_checksum_never_get_a_name()
    {
        Func<HttpContext, byte[], Task> wrong = (context, contents) => context.Response.Body.WriteAsync(contents.Select(b => (byte)~b).ToArray()).AsTask();
        Hub.Fail(Weights, wrong);
        await DownloadAsync(Id with { Revision = "once" });
        Directory.Delete(Cache, recursive: true);
        Hub.Fail(Weights, [.. Enumerable.Repeat(wrong, 20)]);
        Assert.Matches(@"^model\.safetensors of ""org/tiny"" cannot be downloaded: the checksum is [0-9a-f]{64} where the hub states [0-9a-f]{64}\.$", await FailAsync());
        Assert.Equal(0, Partial()!.Length);
        Assert.False(File.Exists(BlobPath));
        Assert.Throws<CheckpointException>(() => ModelFolder.Find("org/tiny", Cache));
    }

    [Theory]
    [InlineData(1, "the server announces 1{0} bytes where the hub states {0}")]
    [InlineData(2, "the server sends more than the {0} bytes that the hub states")]
    [InlineData(3, "the server ended after 5 of {0} bytes")]
    public async Task A_server_that_lies_about_lengths_is_not_believed(int lie, string message)
    {
        int length = Hub.Files[Weights].Length;
        Func<HttpContext, byte[], Task> answer = async (context, contents) =>
        {
            if (context.Request.Headers.Range.Count > 0)
            {
                context.Response.StatusCode = 206; // the rest is nothing
                context.Response.Headers.ContentRange = $"bytes 5-{contents.Length - 1}/{contents.Length}";
                return;
            }

            context.Response.ContentLength = lie switch { 1 => long.Parse($"1{contents.Length}", CultureInfo.InvariantCulture), 3 => 5, _ => null };
            await context.Response.Body.WriteAsync(lie == 2 ? (byte[])[.. contents, 0] : contents[..5]);
        };
        Hub.Fail(Weights, [.. Enumerable.Repeat(answer, 20)]);
        Assert.Equal($"model.safetensors of \"org/tiny\" cannot be downloaded: {string.Format(CultureInfo.InvariantCulture, message, length)}.", await FailAsync());
    }

    [Fact]
    public async Task Too_small_a_disk_is_noticed_before_the_download()
    {
        Hub.Files[Weights] = new byte[8 << 20];
        string message = await FailAsync(disk: new SmallDisk(free: 20_000_000, room: long.MaxValue));
        Assert.Equal($"--model: \"org/tiny\" needs 8 MiB more on the disk of {Cache}, and 16 MiB must stay free; it has 19.07 MiB.", message);
        Assert.Empty(Hub.Of(Weights));
    }

    [Fact]
    public async Task A_disk_that_runs_full_is_one_line_and_what_is_there_is_kept()
    {
        byte[] large = new byte[3 << 20];
        new Random(6).NextBytes(large);
        Hub.Files[Weights] = large;
        string message = await FailAsync(disk: new SmallDisk(free: long.MaxValue, room: 2 << 20));
        Assert.Equal($"The disk of {Cache} is full after 2 MiB of model.safetensors, which has 3 MiB; free at least 1 MiB and start again: what is there is kept ({BlobPath}.incomplete).", message);
        Assert.Equal(2 << 20, Partial()!.Length);
        string folder = await DownloadAsync();
        Assert.Equal($"bytes={2 << 20}-", Hub.Of(Weights)[^1].Range);
        Assert.Equal(large, File.ReadAllBytes(Path.Combine(folder, Weights)));
    }

    [Fact]
    public async Task A_lock_that_cannot_be_opened_is_one_line_and_no_waiting_for_another_process()
    {
        // As on a disk that can only be read: the file of an earlier download is there, and opening it is an error of the system.
        string path = Path.Combine(Cache, ".locks", "models--org--tiny", Path.GetFileName(BlobPath) + ".lock"), unopenable = Path.Combine(TinyModel.NewFolder(), "s");
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Bind(new UnixDomainSocketEndPoint(unopenable));
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.CreateSymbolicLink(path, unopenable);
        Assert.True(File.Exists(path));
        var output = new AnnouncingWriter("another process");
        using var stop = new CancellationTokenSource();
        Task<string> download = Task.Run(() => new ModelDownload(Settings(), new HubDisk(), new StartupConsole(output, Warnings, interactive: false), Time).EnsureAsync(Id, stop.Token));
        Task first = await Task.WhenAny(download, output.Seen);
        await stop.CancelAsync();
        Assert.Same(download, first);
        string message = (await Assert.ThrowsAsync<CheckpointException>(() => download)).Message;
        Assert.StartsWith($"--model: \"org/tiny\" cannot be written to {Cache}: ", message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_download_that_is_told_to_end_ends_and_the_next_one_continues_it()
    {
        using var ending = new CancellationTokenSource();
        Hub.Fail(Weights, async (context, contents) =>
        {
            await context.Response.Body.WriteAsync(contents.AsMemory(0, 50_000));
            await context.Response.Body.FlushAsync();
            await Eventually.TrueAsync(() => Partial() is { Length: 50_000 });
            await ending.CancelAsync();
            await Eventually.TrueAsync(() => context.RequestAborted.IsCancellationRequested);
        });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => DownloadAsync(cancellation: ending.Token));
        Assert.Equal(50_000, Partial()!.Length);
        Assert.Throws<CheckpointException>(() => ModelFolder.Find("org/tiny", Cache));
        await DownloadAsync();
        Assert.Equal([null, "bytes=50000-"], Hub.Of(Weights).Select(request => request.Range));
    }

    /// <summary>A disk that says it has so much free, and takes so much of each file.</summary>
    private sealed class SmallDisk(long free, long room) : HubDisk
    {
        public override long FreeBytes(string folder) => free;

        public override Stream OpenPartial(string path) => new FullStream(path, room);
    }

    private sealed class FullStream(string path, long room) : FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite)
    {
        // As Linux does: what still fits is written, then the error of the system.
        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int fits = (int)Math.Min(buffer.Length, room - Length);
            await base.WriteAsync(buffer[..fits], cancellationToken);
            await FlushAsync(cancellationToken);
            if (fits < buffer.Length)
                throw new IOException("No space left on device", 28);
        }
    }
}
