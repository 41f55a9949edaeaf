using InferenceService.Server.Hosting;
using InferenceService.Server.Security;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace InferenceService.Server.Api.OpenApi;

/// <summary>The generated document at <c>/openapi/v1.json</c> and, where wanted, interactive pages at <c>/swagger</c>.</summary>
internal static class OpenApiPages
{
    private const string Document = "v1";
    private const string BearerScheme = "bearer";
    private const string ErrorSchema = "Error";

    // The same routes without the prefix, for clients with a wrong base address; the document shows each once.
    private static readonly string[] Aliases = ["completions", "chat/", "models"];

    /// <summary>Registers the generator.</summary>
    public static void AddServices(IServiceCollection services) => services.AddOpenApi(Document, options =>
    {
        options.ShouldInclude = description => !Array.Exists(Aliases, alias => description.RelativePath!.StartsWith(alias, StringComparison.Ordinal));
        options.AddDocumentTransformer((document, _, _) =>
        {
            Describe(document);
            return Task.CompletedTask;
        });
        options.AddOperationTransformer((operation, context, _) =>
        {
            Describe(operation, context);
            return Task.CompletedTask;
        });
    });

    /// <summary>Maps the document; with keys configured it needs one, like every route.</summary>
    public static void Map(WebApplication app) => app.MapOpenApi("/openapi/{documentName}.json").WithMetadata(new RouteAccess(ApiScope.Inference));

    /// <summary>Serves the interactive pages; behind the key check, so meant for servers without keys.</summary>
    public static void UsePages(WebApplication app) => app.UseSwaggerUI(options =>
    {
        options.RoutePrefix = "swagger";
        options.SwaggerEndpoint($"../openapi/{Document}.json", "InferenceService");
    });

    private static void Describe(OpenApiDocument document)
    {
        document.Info = new OpenApiInfo { Title = "InferenceService", Version = ServerVersion.Text, Description = "Language models over the OpenAI HTTP API." };
        document.Components ??= new OpenApiComponents();
        document.Components.SecuritySchemes ??= new Dictionary<string, IOpenApiSecurityScheme>();
        document.Components.SecuritySchemes[BearerScheme] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer" };
        document.Components.Schemas ??= new Dictionary<string, IOpenApiSchema>();
        document.Components.Schemas[ErrorSchema] = ErrorShape();
        document.Security = [new OpenApiSecurityRequirement { [new OpenApiSecuritySchemeReference(BearerScheme, document)] = [] }];
    }

    // Bodies are read by hand, so the generator cannot see them.
    private static void Describe(OpenApiOperation operation, OpenApiOperationTransformerContext context)
    {
        operation.Responses ??= [];
        operation.Responses["default"] = new OpenApiResponse
        {
            Description = "Every failure, whatever its status.",
            Content = Json(new OpenApiSchemaReference(ErrorSchema, context.Document)),
        };
        if (context.Description.HttpMethod != "POST" || operation.RequestBody is not null)
            return;
        operation.RequestBody = new OpenApiRequestBody
        {
            Required = true,
            Description = "As in OpenAI's API; unknown fields are ignored, null equals absent.",
            Content = Json(new OpenApiSchema { Type = JsonSchemaType.Object }),
        };
    }

    private static Dictionary<string, OpenApiMediaType> Json(IOpenApiSchema schema) => new() { ["application/json"] = new OpenApiMediaType { Schema = schema } };

    private static OpenApiSchema ErrorShape()
    {
        static OpenApiSchema Text(bool orNull) => new() { Type = orNull ? JsonSchemaType.String | JsonSchemaType.Null : JsonSchemaType.String };
        var error = new OpenApiSchema
        {
            Type = JsonSchemaType.Object,
            Required = new HashSet<string> { "message", "type", "param", "code" },
            Properties = new Dictionary<string, IOpenApiSchema> { ["message"] = Text(false), ["type"] = Text(false), ["param"] = Text(true), ["code"] = Text(true) },
        };
        return new OpenApiSchema
        {
            Type = JsonSchemaType.Object,
            Required = new HashSet<string> { "error" },
            Properties = new Dictionary<string, IOpenApiSchema> { ["error"] = error },
        };
    }
}
