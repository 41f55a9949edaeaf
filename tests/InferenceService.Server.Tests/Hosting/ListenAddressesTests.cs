using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using Microsoft.AspNetCore.Builder;

namespace InferenceService.Server.Tests.Hosting;

public sealed class ListenAddressesTests
{
    [Theory]
    [InlineData(null, false, "127.0.0.1:8000", false)]
    [InlineData(null, true, "0.0.0.0:8000", true)]
    [InlineData("localhost", true, "localhost:8000", false)]
    [InlineData("::1", false, "::1:8000", false)]
    [InlineData("::", false, ":::8000", true)]
    public void The_default_is_loopback_and_everywhere_in_containers(string? host, bool inContainer, string text, bool reachable)
    {
        var addresses = ListenAddresses.From(new HttpOptions { Host = host }, inContainer);
        Assert.Equal(text, addresses.Text);
        Assert.Equal(reachable, addresses.ReachableFromOutside);
    }

    [Fact]
    public void Listed_addresses_replace_host_and_port()
    {
        var addresses = ListenAddresses.From(new HttpOptions { Host = "127.0.0.1", Port = 1, Urls = ["http://*:8080", "http://[::1]:9090/"] }, inContainer: false);
        Assert.Equal("0.0.0.0:8080, ::1:9090", addresses.Text);
        Assert.True(addresses.ReachableFromOutside);
    }

    [Fact]
    public void A_name_nobody_knows_is_refused_instead_of_binding_everything()
    {
        var addresses = ListenAddresses.From(new HttpOptions { Host = "no.such.host.invalid" }, inContainer: false);
        var error = Assert.Throws<InvalidDataException>(() => addresses.ReachableFromOutside);
        Assert.Equal("--host: \"no.such.host.invalid\" is neither an address nor a name of this machine", error.Message);
    }

    [Fact]
    public void A_certificate_that_is_not_there_is_one_line()
    {
        var tls = new TlsOptions { CertFile = "/no/cert.pem", KeyFile = "/no/key.pem" };
        var error = Assert.Throws<InvalidDataException>(() => ListenAddresses.From(new HttpOptions { Tls = tls }, inContainer: false));
        Assert.Equal("--ssl-certfile, --ssl-keyfile: no certificate with its key can be read from /no/cert.pem and /no/key.pem", error.Message);
    }

    [Fact]
    public async Task A_further_port_speaks_http2_without_tls()
    {
        await using TestServer server = await TestServer.StartWithoutModelAsync("--h2c-port", "0");
        string[] bound = [.. server.Service<Microsoft.AspNetCore.Hosting.Server.IServer>().Features
            .Get<Microsoft.AspNetCore.Hosting.Server.Features.IServerAddressesFeature>()!.Addresses];
        Assert.Equal(2, bound.Length);
        using var client = new HttpClient { DefaultRequestVersion = HttpVersion.Version20, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact };
        HttpResponseMessage answer = await client.GetAsync(new Uri(bound[1] + "/live"));
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal(HttpVersion.Version20, answer.Version);
    }

    [Fact]
    public async Task A_unix_socket_replaces_the_port()
    {
        string path = Path.Combine(TinyModel.NewFolder(), "s");
        await using WebApplication app = await StartAsync("--uds", path);
        using var client = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellation);
                return new NetworkStream(socket, ownsSocket: true);
            },
        });
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync(new Uri("http://unix/live"))).StatusCode);
        await app.StopAsync();
    }

    [Fact]
    public async Task A_certificate_makes_it_https()
    {
        string folder = TinyModel.NewFolder(), certificateFile = Path.Combine(folder, "cert.pem"), keyFile = Path.Combine(folder, "key.pem");
        using (var key = ECDsa.Create(ECCurve.NamedCurves.nistP256))
        {
            var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
            using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
            await File.WriteAllTextAsync(certificateFile, certificate.ExportCertificatePem());
            await File.WriteAllTextAsync(keyFile, key.ExportPkcs8PrivateKeyPem());
        }

        await using WebApplication app = await StartAsync("--port", "0", "--ssl-certfile", certificateFile, "--ssl-keyfile", keyFile);
        using var client = new HttpClient(new SocketsHttpHandler
        {
            SslOptions = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate?.Subject == "CN=localhost" },
        });
        Assert.StartsWith("https://", app.Urls.Single(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync(new Uri(app.Urls.Single() + "/live"))).StatusCode);
        await app.StopAsync();
    }

    private static async Task<WebApplication> StartAsync(params string[] args)
    {
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string>() };
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse([.. args, "--admin-port", "none"]), environment, AppContext.BaseDirectory);
        Assert.Empty(reading.Problems);
        WebApplication app = Program.Build(reading, environment, new StartupConsole(TextWriter.Null, TextWriter.Null, interactive: false));
        await app.StartAsync();
        return app;
    }
}
