using System.ComponentModel.DataAnnotations;

namespace InferenceService.Server.Configuration;

/// <summary>Section <c>Hub</c>: where a model that is named by id comes from when it is not in the local cache.</summary>
internal sealed record HubOptions
{
    /// <summary>Downloads nothing: what is not in the local cache is a problem. Default HF_HUB_OFFLINE, then false.</summary>
    public bool? Offline { get; init; }

    /// <summary>Server with the interface of the Hugging Face hub. Default HF_ENDPOINT, then <c>https://huggingface.co</c>.</summary>
    public string? Endpoint { get; init; }

    /// <summary>Token for private models, sent to the endpoint only. Default HF_TOKEN, then the token file.</summary>
    [Secret]
    public string? Token { get; init; }

    /// <summary>File with the token. Default HF_TOKEN_PATH, then <c>token</c> in HF_HOME (<c>~/.cache/huggingface</c>).</summary>
    public string? TokenFile { get; init; }

    /// <summary>Most bytes of one model. Range 1 KiB–64 TiB, default 1 TiB.</summary>
    [Range(1024L, 1L << 46)]
    public long MaxBytes { get; init; } = 1L << 40;

    /// <summary>A connection that brings nothing for so long is given up and tried again. Range 1 s–10 min, default 60 s.</summary>
    [Seconds(1, 600)]
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Further attempts after one that brought less than 1 MiB; they wait 1 to 30 s, or as the endpoint asks. Range 0–100, default 8.</summary>
    [Range(0, 100)]
    public int Retries { get; init; } = 8;
}
