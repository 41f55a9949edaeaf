using InferenceService.Server.Api.Output;
using InferenceService.Server.Hosting;
using InferenceService.Server.Security;

namespace InferenceService.Server.Api.Requests;

/// <summary>What every route with a JSON body begins with: the body is read, its model found, and both are handed to the route's own reading.</summary>
internal sealed class RequestReader(IModelCatalog models, BodyReader bodies, Refusals refusals, ServerLifecycle lifecycle)
{
    /// <summary>Reads one request; null: it was refused, and the client has been told.</summary>
    /// <param name="read">Makes something of the fields while the body is at hand, or adds to the reader's problems why it cannot.</param>
    public async Task<ReadRequest<T>?> ReadAsync<T>(HttpContext http, Func<FieldReader, ServedModel, T?> read)
    {
        ApiError? error;
        // A server that must end waits neither for the rest of a body nor for a large body's turn.
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, lifecycle.HardStop);
        try
        {
            using RequestBody body = await bodies.ReadAsync(http.Request, ended.Token);
            error = body.Error;
            if (error is null)
            {
                var json = new FieldReader(body.Root, "", new Problems());
                if (ModelField.TryFind(json, models, out ServedModel? model, out string name, out error) && (error = KeyRights.Refuse(http, model, name)) is null)
                {
                    T? content = read(json, model);
                    error = json.Problems.ToError();
                    if (error is null)
                        return new ReadRequest<T>(model, name, content!);
                }
            }
        }
        catch (OperationCanceledException) when (lifecycle.HardStop.IsCancellationRequested && !http.RequestAborted.IsCancellationRequested)
        {
            http.Response.Headers.Connection = "close";
            error = ServerLifecycle.ShuttingDown;
        }

        await refusals.WriteAsync(http, error!);
        return null;
    }
}

/// <summary>A request that can be served.</summary>
/// <param name="Model">Who serves it.</param>
/// <param name="Name">The name the client used for it, which answers repeat.</param>
/// <param name="Content">What the route made of the fields; valid after the body is gone.</param>
internal sealed record ReadRequest<T>(ServedModel Model, string Name, T Content);
