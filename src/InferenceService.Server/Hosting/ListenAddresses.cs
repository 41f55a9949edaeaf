using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using InferenceService.Server.Configuration;
using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace InferenceService.Server.Hosting;

/// <summary>Where Kestrel listens, and within which bounds.</summary>
internal sealed class ListenAddresses
{
    private const int MaxHeaders = 100;
    private const int MaxHeaderBytes = 32 * 1024;
    private readonly List<(string Host, int Port, bool Tls, HttpProtocols Protocols)> _endpoints = [];
    private readonly string? _socket;
    private readonly X509Certificate2? _certificate;

    private ListenAddresses(HttpOptions options, int adminPort)
    {
        bool tls = options.Tls.CertFile is not null;
        _certificate = tls ? LoadCertificate(options.Tls) : null;
        _endpoints.Add((options.AdminHost, adminPort, tls, HttpProtocols.Http1));
    }

    private ListenAddresses(HttpOptions options, bool inContainer)
    {
        bool tls = options.Tls.CertFile is not null;
        string host = options.Host ?? (inContainer ? "0.0.0.0" : "127.0.0.1");
        _socket = options.UnixSocket;
        _certificate = tls ? LoadCertificate(options.Tls) : null;
        HttpProtocols main = tls ? HttpProtocols.Http1AndHttp2 : HttpProtocols.Http1;
        foreach (string url in options.Urls)
        {
            var uri = new Uri(HttpOptions.Explicit(url));
            if (uri.Scheme == "https" && !tls)
                throw new InvalidDataException($"Server:Urls: {url} needs --ssl-certfile and --ssl-keyfile");
            _endpoints.Add((uri.Host.Trim('[', ']'), uri.Port, uri.Scheme == "https", uri.Scheme == "https" ? HttpProtocols.Http1AndHttp2 : HttpProtocols.Http1));
        }

        if (_endpoints.Count == 0 && _socket is null)
            _endpoints.Add((host, options.Port, tls, main));
        if (options.H2cPort is { } h2c)
            _endpoints.Add((host, h2c, false, HttpProtocols.Http2));
    }

    /// <summary>True when other machines may reach this server.</summary>
    public bool ReachableFromOutside => _endpoints.Exists(endpoint => !Addresses(endpoint.Host).TrueForAll(IPAddress.IsLoopback));

    /// <summary>For messages: every address, with commas.</summary>
    public string Text
    {
        get
        {
            IEnumerable<string?> ports = _endpoints.Select(endpoint => string.Create(CultureInfo.InvariantCulture, $"{endpoint.Host}:{endpoint.Port}"));
            return string.Join(", ", ports.Append(_socket).OfType<string>());
        }
    }

    /// <summary>Reads the options.</summary>
    /// <exception cref="InvalidDataException">A host name or certificate cannot be used; one line.</exception>
    public static ListenAddresses From(HttpOptions options, bool inContainer) => new(options, inContainer);

    /// <summary>Reads the address of the admin routes; they speak TLS where the others do.</summary>
    /// <exception cref="InvalidDataException">A host name or certificate cannot be used; one line.</exception>
    public static ListenAddresses ForAdmin(HttpOptions options, int port) => new(options, port);

    /// <summary>Sets limits and listens.</summary>
    public void Apply(KestrelServerOptions kestrel, LimitOptions limits)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxRequestBodySize = limits.MaxRequestBytes;
        kestrel.Limits.MaxConcurrentConnections = limits.MaxConnections;
        kestrel.Limits.MaxRequestHeaderCount = MaxHeaders;
        kestrel.Limits.MaxRequestHeadersTotalSize = MaxHeaderBytes;
        foreach ((string host, int port, bool tls, HttpProtocols protocols) in _endpoints)
        {
            foreach (IPAddress address in Addresses(host))
            {
                kestrel.Listen(address, port, listen =>
                {
                    listen.Protocols = protocols;
                    if (tls)
                        listen.UseHttps(_certificate!);
                });
            }
        }

        if (_socket is not null)
            kestrel.ListenUnixSocket(_socket, listen => listen.Protocols = HttpProtocols.Http1);
    }

    /// <summary>An address a client on this machine can use, from one Kestrel reports as bound.</summary>
    public static string ForClients(string bound) => bound
        .Replace("//0.0.0.0", "//127.0.0.1", StringComparison.Ordinal)
        .Replace("//[::]", "//127.0.0.1", StringComparison.Ordinal);

    // Kestrel itself would bind every interface for a name it does not know, so names are resolved here.
    private static List<IPAddress> Addresses(string host)
    {
        if (IPAddress.TryParse(host, out IPAddress? address))
            return [address];
        if (host.Equals("localhost", StringComparison.OrdinalIgnoreCase))
            return [IPAddress.Loopback];
        try
        {
            return [Dns.GetHostAddresses(host)[0]];
        }
        catch (Exception exception) when (exception is System.Net.Sockets.SocketException or IndexOutOfRangeException or ArgumentException)
        {
            throw new InvalidDataException($"--host: \"{host}\" is neither an address nor a name of this machine");
        }
    }

    private static X509Certificate2 LoadCertificate(TlsOptions tls)
    {
        try
        {
            return X509Certificate2.CreateFromPemFile(tls.CertFile!, tls.KeyFile);
        }
        catch (Exception exception) when (exception is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new InvalidDataException($"--ssl-certfile, --ssl-keyfile: no certificate with its key can be read from {tls.CertFile} and {tls.KeyFile}");
        }
    }
}
