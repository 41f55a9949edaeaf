using System.Text;
using InferenceService.Server.Configuration;
using InferenceService.Server.Hosting;
using InferenceService.Server.Hosting.Admin;
using InferenceService.Server.Tests;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;

namespace InferenceService.Fuzz.Targets.Http;

/// <summary>The whole server without a socket: its services, its pipeline, and the tiny model loaded.</summary>
internal sealed class ServerHarness : IDisposable
{
    private readonly WebApplication _app;
    private readonly MemoryStream _response = new();

    /// <param name="strict">Unknown fields of requests are refused.</param>
    /// <param name="flags">As on the command line.</param>
    public ServerHarness(bool strict, params string[] flags)
    {
        var environment = new ProcessEnvironment
        {
            Variables = new Dictionary<string, string>
            {
                ["ASPNETCORE_ENVIRONMENT"] = "Testing",
                [ConfigurationLayer.EnvironmentPrefix + "Logging__LogLevel__Default"] = "None",
                [ConfigurationLayer.EnvironmentPrefix + "Logging__Console__LogLevel__Default"] = "None", // the audit of the admin port as well
                [ConfigurationLayer.EnvironmentPrefix + "Limits__StrictRequests"] = strict ? "true" : "false",
            },
        };
        ConfigurationReading reading = ConfigurationReading.Read(
            CommandLine.Parse(["--model", TinyModel.Folder, "--port", "0", "--threads", "1", .. flags]), environment, AppContext.BaseDirectory);
        if (reading.Problems.Count > 0)
            throw new InvalidOperationException(string.Join("; ", reading.Problems));
        _app = Server.Program.Build(reading, environment, new StartupConsole(TextWriter.Null, TextWriter.Null, interactive: false));
        Service<ModelCatalog>().LoadAsync(CancellationToken.None).GetAwaiter().GetResult();
        _app.UseEndpoints(_ => { }); // what starting the application would add
        Pipeline = ((IApplicationBuilder)_app).Build();
    }

    /// <summary>All middleware and routes.</summary>
    public RequestDelegate Pipeline { get; }

    /// <summary>The same of the admin port.</summary>
    public RequestDelegate AdminPipeline()
    {
        WebApplication admin = Service<AdminPort>().Build(Service<AdminAddress>().At!);
        admin.UseEndpoints(_ => { });
        return ((IApplicationBuilder)admin).Build();
    }

    /// <summary>The tiny model.</summary>
    public ServedModel Model => Service<IModelCatalog>().Models[0];

    /// <summary>A service of the application.</summary>
    public T Service<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    /// <summary>A request: lines <c>name: value</c>, a zero byte, the body. Without a zero byte all is body.</summary>
    public HttpContext Request(byte[] input)
    {
        (byte[] head, byte[] body) = Sections.Split(input);
        if (Array.IndexOf(input, (byte)0) < 0)
            (head, body) = ([], input);
        HttpContext http = NewContext();
        http.Request.Body = new MemoryStream(body, writable: false);
        http.Request.ContentType = "application/json";
        http.Request.ContentLength = body.Length;
        foreach (string line in Encoding.UTF8.GetString(head).Split('\n'))
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0 || !IsToken(line.AsSpan(0, colon)))
                continue;
            string value = line[(colon + 1)..].Trim(' ', '\t');
            // What the web server itself refuses does not come here.
            if (!value.Any(char.IsControl) && !line.StartsWith("content-length", StringComparison.OrdinalIgnoreCase))
                http.Request.Headers.Append(line[..colon], value);
        }

        return http;
    }

    /// <summary>What was answered since the last request was made.</summary>
    public ReadOnlyMemory<byte> Answer => _response.GetBuffer().AsMemory(0, (int)_response.Length);

    /// <inheritdoc/>
    public void Dispose()
    {
        Service<ModelCatalog>().DisposeAsync().AsTask().GetAwaiter().GetResult();
        ((IDisposable)_app).Dispose();
        _response.Dispose();
    }

    /// <summary>A request without content whose answer goes to <see cref="Answer"/>.</summary>
    public HttpContext NewContext()
    {
        _response.SetLength(0);
        var http = new DefaultHttpContext { RequestServices = _app.Services };
        http.Request.Method = "POST";
        http.Features.Set<IHttpResponseBodyFeature>(new StreamResponseBodyFeature(_response));
        return http;
    }

    private static bool IsToken(ReadOnlySpan<char> name)
    {
        foreach (char c in name)
        {
            if (!char.IsAsciiLetterOrDigit(c) && !"!#$%&'*+-.^_`|~".Contains(c, StringComparison.Ordinal))
                return false;
        }

        return true;
    }
}
