using InferenceService.Server.Hosting;
using InferenceService.Server.Security;
using Microsoft.OpenApi;

namespace InferenceService.Server.Api.OpenApi;

/// <summary>The generated document at <c>/openapi/v1.json</c> and, where wanted, interactive pages at <c>/swagger</c>.</summary>
internal static class OpenApiPages
{
    private const string Document = "v1";
    private const string BearerScheme = "bearer";

    /// <summary>Registers the generator.</summary>
    public static void AddServices(IServiceCollection services) => services.AddOpenApi(Document, options =>
        options.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new OpenApiInfo
            {
                Title = "InferenceService",
                Version = ServerVersion.Text,
                Description = "Language models over the OpenAI HTTP API.",
            };
            document.Components ??= new OpenApiComponents();
            document.Components.SecuritySchemes ??= new Dictionary<string, IOpenApiSecurityScheme>();
            document.Components.SecuritySchemes[BearerScheme] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer" };
            document.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(BearerScheme, document)] = [] }];
            return Task.CompletedTask;
        }));

    /// <summary>Maps the document; with keys configured it needs one, like every route.</summary>
    public static void Map(WebApplication app) => app.MapOpenApi("/openapi/{documentName}.json").WithMetadata(new RouteAccess(ApiScope.Inference));

    /// <summary>Serves the interactive pages; behind the key check, so meant for servers without keys.</summary>
    public static void UsePages(WebApplication app) => app.UseSwaggerUI(options =>
    {
        options.RoutePrefix = "swagger";
        options.SwaggerEndpoint($"../openapi/{Document}.json", "InferenceService");
    });
}
