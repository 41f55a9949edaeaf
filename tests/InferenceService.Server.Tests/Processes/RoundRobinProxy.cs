using System.Net;
using System.Net.Sockets;

namespace InferenceService.Server.Tests.Processes;

/// <summary>
/// A plain proxy of TCP connections: each new one goes to the next instance that takes it. It knows neither HTTP nor health, repeats nothing, and
/// closes a connection whose instance is gone. The first questions go on together, so that they stand before the instances all at once.
/// </summary>
internal sealed class RoundRobinProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly IPEndPoint[] _instances;
    private readonly Lock _lock = new();
    private readonly List<Relay> _relays = [];
    private readonly Task _accepting;
    private readonly TaskCompletionSource _together = NewSignal();
    private readonly TaskCompletionSource _busy = NewSignal();
    private (int Instance, int Waiting, Action Then)? _watched;
    private int _next, _missing;

    /// <summary>A proxy before these instances.</summary>
    /// <param name="together">So many connections must have a question before any goes on.</param>
    public RoundRobinProxy(IEnumerable<Instance> instances, int together)
    {
        _missing = together;
        _instances = [.. instances.Select(instance => new IPEndPoint(IPAddress.Loopback, instance.Address.Port))];
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>Where clients connect.</summary>
    public Uri Address => new($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}");

    /// <summary>Returns once an instance has begun to answer somebody while others have asked it and heard nothing yet.</summary>
    /// <param name="instance">Which.</param>
    /// <param name="waiting">So many others.</param>
    /// <param name="then">What to do at that moment, before anything else is passed on.</param>
    public Task BusyAsync(int instance, int waiting, Action then)
    {
        lock (_lock)
            _watched = (instance, waiting, then);
        return _busy.Task;
    }

    /// <summary>Connections of an instance that have ended and whose last question had begun to be answered.</summary>
    public int CutWhileAnswering(int instance)
    {
        lock (_lock)
            return _relays.Count(relay => relay.Instance == instance && relay.IsClosed && relay.Heard);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting;
        Task[] running;
        lock (_lock)
        {
            _relays.ForEach(relay => relay.Close());
            running = [.. _relays.Select(relay => relay.Running)];
        }

        await Task.WhenAll(running);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                Socket client = await _listener.AcceptSocketAsync(_stop.Token);
                client.NoDelay = true;
                await ConnectAsync(client);
            }
        }
        catch (Exception exception) when (exception is OperationCanceledException or SocketException)
        {
            // The proxy ends.
        }
    }

    private async Task ConnectAsync(Socket client)
    {
        for (int attempt = 0; attempt < _instances.Length; attempt++)
        {
            int instance = _next++ % _instances.Length;
            var server = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await server.ConnectAsync(_instances[instance], _stop.Token);
                lock (_lock)
                    _relays.Add(new Relay(instance, client, server, Changed, TogetherAsync));
                return;
            }
            catch (SocketException)
            {
                server.Dispose();
            }
        }

        client.Dispose();
    }

    // Noted and looked at in one: the first piece of an answer finds all others waiting.
    private void Changed(Action note)
    {
        lock (_lock)
        {
            note();
            if (_watched is not { } watched)
                return;
            Relay[] mine = [.. _relays.Where(relay => relay.Instance == watched.Instance && !relay.IsClosed)];
            if (!mine.Any(relay => relay.Heard) || mine.Count(relay => relay.Asked && !relay.Heard) < watched.Waiting)
                return;
            _watched = null;
            watched.Then();
            _busy.TrySetResult();
        }
    }

    private Task TogetherAsync()
    {
        if (Interlocked.Decrement(ref _missing) == 0)
            _together.TrySetResult();
        return _together.Task;
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>One connection through the proxy.</summary>
    private sealed class Relay
    {
        private readonly Socket _client, _server;

        public Relay(int instance, Socket client, Socket server, Action<Action> changed, Func<Task> together)
        {
            (Instance, _client, _server) = (instance, client, server);
            Running = RunAsync(changed, together);
        }

        public int Instance { get; }

        /// <summary>Ends when the connection has.</summary>
        public Task Running { get; }

        /// <summary>The client has sent something.</summary>
        public bool Asked { get; private set; }

        /// <summary>The instance has answered something to what the client sent last.</summary>
        public bool Heard { get; private set; }

        public bool IsClosed { get; private set; }

        public void Close()
        {
            foreach (Socket socket in (Socket[])[_client, _server])
            {
                try
                {
                    socket.Shutdown(SocketShutdown.Both); // closing alone, while somebody reads, would reset it and lose what is on its way
                }
                catch (SocketException)
                {
                    // It has ended before.
                }
                catch (ObjectDisposedException)
                {
                    // Closed twice.
                }

                socket.Dispose();
            }
        }

        private async Task RunAsync(Action<Action> changed, Func<Task> together)
        {
            await Task.WhenAny(
                CopyAsync(_client, _server, () => (Asked, Heard) = (true, false), changed, together),
                CopyAsync(_server, _client, () => Heard = true, changed, first: null));
            changed(() => IsClosed = true);
            Close();
        }

        private static async Task CopyAsync(Socket from, Socket to, Action note, Action<Action> changed, Func<Task>? first)
        {
            await Task.Yield(); // whoever made the relay holds the lock
            byte[] buffer = new byte[16 * 1024];
            try
            {
                for (int read = await from.ReceiveAsync(buffer); read > 0; read = await from.ReceiveAsync(buffer))
                {
                    changed(note); // before it goes on: the other side may answer at once
                    if (first is not null)
                        await first();
                    first = null;
                    for (int sent = 0; sent < read;)
                        sent += await to.SendAsync(buffer.AsMemory(sent, read - sent));
                }
            }
            catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
            {
                // One side is gone, and so is the connection.
            }
        }
    }
}
