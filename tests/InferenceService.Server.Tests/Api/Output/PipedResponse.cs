using System.IO.Pipelines;
using System.Text;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace InferenceService.Server.Tests.Api.Output;

/// <summary>A response whose client is the test: it reads when it likes, and a full pipe stands for a client that does not.</summary>
internal sealed class PipedResponse : IHttpResponseBodyFeature, IHttpRequestLifetimeFeature
{
    private readonly Pipe _pipe;

    public PipedResponse(int capacity = 1 << 20)
    {
        _pipe = new Pipe(new PipeOptions(pauseWriterThreshold: capacity, resumeWriterThreshold: capacity / 2, useSynchronizationContext: false));
        Context.Features.Set<IHttpResponseBodyFeature>(this);
        Context.Features.Set<IHttpRequestLifetimeFeature>(this);
    }

    public DefaultHttpContext Context { get; } = new();

    public bool IsAborted { get; private set; }

    public Stream Stream => _pipe.Writer.AsStream(leaveOpen: true);

    public PipeWriter Writer => _pipe.Writer;

    CancellationToken IHttpRequestLifetimeFeature.RequestAborted
    {
        get => new(IsAborted);
        set => throw new NotSupportedException();
    }

    /// <summary>Everything sent since the last call.</summary>
    public string Take()
    {
        if (!_pipe.Reader.TryRead(out ReadResult read))
            return "";
        string text = Encoding.UTF8.GetString(read.Buffer);
        _pipe.Reader.AdvanceTo(read.Buffer.End);
        return text;
    }

    /// <summary>Waits until something was sent, and takes it.</summary>
    public async Task<string> TakeNextAsync()
    {
        ReadResult read = await _pipe.Reader.ReadAsync();
        string text = Encoding.UTF8.GetString(read.Buffer);
        _pipe.Reader.AdvanceTo(read.Buffer.End);
        return text;
    }

    public void DisableBuffering()
    {
    }

    public Task StartAsync(CancellationToken cancellationToken = default) => Task.CompletedTask;

    public Task SendFileAsync(string path, long offset, long? count, CancellationToken cancellationToken = default) => throw new NotSupportedException();

    public Task CompleteAsync() => Task.CompletedTask;

    public void Abort() => IsAborted = true;
}
