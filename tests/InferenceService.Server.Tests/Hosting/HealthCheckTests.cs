using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using Microsoft.AspNetCore.Builder;

namespace InferenceService.Server.Tests.Hosting;

public sealed class HealthCheckTests
{
    [Fact]
    public async Task A_ready_server_is_healthy_one_that_loads_is_not_and_one_that_is_gone_is_not()
    {
        int port;
        await using (TestServer ready = await TestServer.StartAsync())
        {
            port = ready.Address.Port;
            Assert.Equal((0, ""), Ask(port));
        }

        (int code, string text) = Ask(port);
        Assert.Equal(1, code);
        Assert.StartsWith($"error: http://127.0.0.1:{port}/ready does not answer: ", text, StringComparison.Ordinal);
        await using TestServer loading = await TestServer.StartWithoutModelAsync();
        Assert.Equal((1, $"error: http://127.0.0.1:{loading.Address.Port}/ready answers 503"), Ask(loading.Address.Port));
    }

    [Fact]
    public async Task It_asks_through_a_unix_socket_where_the_server_listens_on_one()
    {
        string path = Path.Combine(TinyModel.NewFolder(), "s");
        var options = new HttpOptions { UnixSocket = path };
        var error = new StringWriter();
        var console = new StartupConsole(TextWriter.Null, error, interactive: false);
        Assert.Equal(1, HealthCheck.Run(options, inContainer: false, console));
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string>() };
        ConfigurationReading reading = ConfigurationReading.Read(CommandLine.Parse(["--uds", path, "--admin-port", "none"]), environment, AppContext.BaseDirectory);
        await using (WebApplication app = Program.Build(reading, environment, console))
        {
            await app.StartAsync();
            Assert.Equal(1, HealthCheck.Run(options, inContainer: false, console));
            await app.StopAsync();
        }

        string[] lines = error.ToString().Split(Environment.NewLine);
        Assert.StartsWith("error: http://127.0.0.1:8000/ready does not answer: ", lines[0], StringComparison.Ordinal);
        Assert.Equal("error: http://127.0.0.1:8000/ready answers 503", lines[1]);
    }

    [Fact]
    public async Task Over_TLS_it_expects_the_certificate_that_the_settings_name()
    {
        (string certificate, string key) = NewCertificate();
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string>() };
        ConfigurationReading reading = ConfigurationReading.Read(
            CommandLine.Parse(["--port", "0", "--admin-port", "none", "--ssl-certfile", certificate, "--ssl-keyfile", key]), environment, AppContext.BaseDirectory);
        var error = new StringWriter();
        var console = new StartupConsole(TextWriter.Null, error, interactive: false);
        await using WebApplication app = Program.Build(reading, environment, console);
        await app.StartAsync();
        (string, string)[] cases = [(certificate, "/ready answers 503"), (NewCertificate().File, "/ready does not answer: "), ("/no/such/file", "/ready does not answer: ")];
        foreach ((string file, string expected) in cases)
        {
            error.GetStringBuilder().Clear();
            var options = new HttpOptions { Urls = [app.Urls.Single()], Tls = new TlsOptions { CertFile = file } };
            Assert.Equal(1, HealthCheck.Run(options, inContainer: false, console));
            Assert.Contains(expected, error.ToString(), StringComparison.Ordinal);
        }

        await app.StopAsync();
    }

    [Fact]
    public void It_asks_the_first_address_as_seen_from_this_machine()
    {
        Assert.Equal("http://127.0.0.1:8000/ready", Target(new HttpOptions()));
        Assert.Equal("http://127.0.0.1:9/ready", HealthCheck.Target(new HttpOptions { Port = 9 }, inContainer: true).AbsoluteUri);
        Assert.Equal("https://10.0.0.1:8000/ready", Target(new HttpOptions { Host = "10.0.0.1", Tls = new TlsOptions { CertFile = "c" } }));
        Assert.Equal("http://[::1]:8000/ready", Target(new HttpOptions { Host = "::1" }));
        Assert.Equal("http://127.0.0.1:81/ready", Target(new HttpOptions { Urls = ["http://*:81", "http://*:82"] }));
    }

    [Fact]
    public async Task The_flag_asks_instead_of_serving()
    {
        using var free = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        free.Start();
        string port = ((System.Net.IPEndPoint)free.LocalEndpoint).Port.ToString(CultureInfo.InvariantCulture);
        free.Stop();
        CommandLine commandLine = CommandLine.Parse(["--health-check", "--port", port]);
        var environment = new ProcessEnvironment { Variables = new Dictionary<string, string>() };
        ConfigurationReading reading = ConfigurationReading.Read(commandLine, environment, AppContext.BaseDirectory);
        var error = new StringWriter();
        Assert.Equal(1, await OneShot.RunAsync(commandLine, reading, environment, new StartupConsole(TextWriter.Null, error, interactive: false)));
        Assert.Contains($":{port}/ready does not answer", error.ToString(), StringComparison.Ordinal);
    }

    private static (string File, string Key) NewCertificate()
    {
        string folder = TinyModel.NewFolder(), file = Path.Combine(folder, "cert.pem"), keyFile = Path.Combine(folder, "key.pem");
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=llm.example.org", key, HashAlgorithmName.SHA256);
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
        File.WriteAllText(file, certificate.ExportCertificatePem());
        File.WriteAllText(keyFile, key.ExportPkcs8PrivateKeyPem());
        return (file, keyFile);
    }

    private static string Target(HttpOptions options) => HealthCheck.Target(options, inContainer: false).AbsoluteUri;

    private static (int Code, string Text) Ask(int port)
    {
        var error = new StringWriter();
        int code = HealthCheck.Run(new HttpOptions { Port = port }, inContainer: false, new StartupConsole(TextWriter.Null, error, interactive: false));
        return (code, error.ToString().Trim());
    }
}
