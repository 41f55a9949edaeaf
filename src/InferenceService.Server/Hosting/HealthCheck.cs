using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using InferenceService.Server.Configuration;

namespace InferenceService.Server.Hosting;

/// <summary>Asks the server that runs with these settings on this machine whether it is ready: a container's health check, which has neither shell nor client.</summary>
internal static class HealthCheck
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(4);

    /// <summary>Asks <c>/ready</c>; says in one line why not.</summary>
    /// <returns>Exit code: 0 = ready, 1 = not.</returns>
    public static int Run(HttpOptions options, bool inContainer, StartupConsole console)
    {
        Uri address = Target(options, inContainer);
        try
        {
            using HttpClient client = NewClient(options);
            using var request = new HttpRequestMessage(HttpMethod.Get, address);
            using HttpResponseMessage answer = client.Send(request, HttpCompletionOption.ResponseHeadersRead);
            if (answer.IsSuccessStatusCode)
                return ServerRun.Success;
            console.Problem(string.Create(CultureInfo.InvariantCulture, $"{address} answers {(int)answer.StatusCode}"));
        }
        catch (Exception exception) when (exception is HttpRequestException or SocketException or TaskCanceledException or CryptographicException)
        {
            console.Problem($"{address} does not answer: {exception.Message.ReplaceLineEndings(" ")}");
        }

        return ServerRun.Failed;
    }

    /// <summary>Where to ask: the first address that the server would listen on, seen from this machine.</summary>
    internal static Uri Target(HttpOptions options, bool inContainer)
    {
        string scheme = options.Tls.CertFile is null ? "http" : "https";
        string host = options.Host ?? (inContainer ? "0.0.0.0" : "127.0.0.1");
        if (IPAddress.TryParse(host, out IPAddress? ip) && ip.AddressFamily == AddressFamily.InterNetworkV6)
            host = $"[{host}]";
        string bound = options.Urls is [string first, ..]
            ? HttpOptions.Explicit(first)
            : string.Create(CultureInfo.InvariantCulture, $"{scheme}://{host}:{options.Port}");
        return new Uri(new Uri(ListenAddresses.ForClients(bound)), "/ready");
    }

    private static HttpClient NewClient(HttpOptions options)
    {
        var handler = new SocketsHttpHandler { UseProxy = false };
        if (options.Tls.CertFile is { } file)
        {
            // The certificate names the service, not this address: the server's own file says which one to expect.
            byte[] own = X509CertificateLoader.LoadCertificateFromFile(file).RawData;
            handler.SslOptions.RemoteCertificateValidationCallback = (_, presented, _, _) => presented is not null && own.AsSpan().SequenceEqual(presented.GetRawCertData());
        }

        if (options.UnixSocket is { } path && options.Urls.Count == 0)
        {
            handler.ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            };
        }

        return new HttpClient(handler) { Timeout = Patience };
    }
}
