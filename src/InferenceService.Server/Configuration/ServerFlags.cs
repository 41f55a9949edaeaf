namespace InferenceService.Server.Configuration;

/// <summary>What follows a flag.</summary>
internal enum FlagKind
{
    /// <summary>One value.</summary>
    Value,

    /// <summary>One or more values; may be repeated.</summary>
    Many,

    /// <summary>Nothing: <c>--x</c> is true, <c>--no-x</c> false; <c>--x=false</c> works too.</summary>
    Switch,

    /// <summary>Known from other servers, refused here with a reason.</summary>
    Refused,
}

/// <summary>One flag: the setting it writes and its line in <c>--help</c>.</summary>
/// <param name="Name">With two dashes; underscores are accepted for dashes.</param>
/// <param name="Kind">What follows it.</param>
/// <param name="Key">Setting, for example <c>Engine:BlockSize</c>.</param>
/// <param name="Help">One line; for a refused flag the reason.</param>
internal sealed record Flag(string Name, FlagKind Kind, string Key, string Help);

/// <summary>The table of flags: the index a reader looks for.</summary>
internal static class ServerFlags
{
    /// <summary>Every flag but <c>--help --version --print-config --dry-run --plan-capacity --download-only --health-check</c>.</summary>
    public static IReadOnlyList<Flag> All { get; } =
    [
        new("--model", FlagKind.Value, "Models:0:Path",
            "Checkpoint: a folder, a file in it, or org/name[@revision] on the hub, downloaded into the local cache. Default: the embedded model."),
        new("--revision", FlagKind.Value, "Models:0:Revision", "Branch, tag or commit of a model on the hub (main)."),
        new("--offline", FlagKind.Switch, "Hub:Offline", "Download nothing: what is not in the local cache is a problem."),
        new("--served-model-name", FlagKind.Many, "Models:0:Names", "Names clients may use; the first is canonical."),
        new("--max-model-len", FlagKind.Value, "Models:0:MaxModelLen", "Prompt and output together, in tokens (32k = 32,000, 32K = 32,768)."),
        new("--dtype", FlagKind.Value, "Models:0:Dtype", "auto (as stored), bfloat16 (weights and activations rounded to it), or the stored type."),
        new("--quantization", FlagKind.Value, "Models:0:Quantization", "none, int8 or int4: bits of the matrices, rounded at load; the output head keeps 8."),
        new("--kv-cache-dtype", FlagKind.Value, "Models:0:KvCache:Dtype", "auto, float32, float16, bfloat16; int8 and int4 keep old tokens quantised."),
        new("--kv-policy", FlagKind.Value, "Models:0:KvCache:Policy", $"What the KV cache keeps: {string.Join(", ", InferenceService.Engine.Cache.Policies.KvPolicyRegistry.Names)}."),
        new("--kv-policy-file", FlagKind.Value, "Models:0:KvCache:PolicyFile", "JSON file with the policy and its options, as in a request: {\"name\": \"streaming-llm\", \"recent_tokens\": 508}."),
        new("--generation-config", FlagKind.Value, "Models:0:GenerationConfig", "auto uses the checkpoint's sampling defaults, none ignores them."),
        new("--chat-template", FlagKind.Value, "Models:0:ChatTemplate", "Template file, or template text."),
        new("--chat-template-kwargs", FlagKind.Value, "Models:0:ChatTemplateKwargs", "JSON object of template variables; a request's own win."),
        new("--device", FlagKind.Value, "Engine:Device", "cpu, cuda (an NVIDIA GPU), or auto (the GPU where one can be used)."),
        new("--gpu-memory-utilization", FlagKind.Value, "Engine:GpuMemoryUtilization", "Share of a GPU's whole memory to take (0.92); no effect on the CPU."),
        new("--kv-cache-memory-bytes", FlagKind.Value, "Engine:KvCacheMemoryBytes", "Size of the KV pool (4G = 4 GiB). Default: a share of the available memory."),
        new("--max-num-seqs", FlagKind.Value, "Engine:MaxNumSeqs", "Most sequences in a batch."),
        new("--max-num-batched-tokens", FlagKind.Value, "Engine:MaxNumBatchedTokens", "Most tokens of one step."),
        new("--block-size", FlagKind.Value, "Engine:BlockSize", "Tokens a KV block."),
        new("--enable-prefix-caching", FlagKind.Switch, "Engine:PrefixCaching", "Reuse full prompt blocks between requests."),
        new("--prefix-isolation", FlagKind.Value, "Engine:PrefixIsolation", "Who shares reused prompt blocks: none (all do), salt, api-key; auto: api-key with several keys."),
        new("--enable-chunked-prefill", FlagKind.Switch, "Engine:ChunkedPrefill", "Always on; --no-enable-chunked-prefill is refused."),
        new("--async-scheduling", FlagKind.Switch, "Engine:AsyncScheduling", "On a GPU, call a decode step before the tokens of the one before it are read."),
        new("--scheduling-policy", FlagKind.Value, "Engine:SchedulingPolicy", "fcfs or priority."),
        new("--tensor-parallel-size", FlagKind.Value, "Engine:TensorParallelSize", "1; more comes later."),
        new("--seed", FlagKind.Value, "Engine:Seed", "Seed of requests that bring none."),
        new("--max-num-queued-reqs", FlagKind.Value, "Admission:MaxQueuedRequests", "Most waiting choices."),
        new("--max-num-queued-tokens", FlagKind.Value, "Admission:MaxQueuedTokens", "Most waiting prompt tokens."),
        new("--max-queue-wait", FlagKind.Value, "Admission:MaxQueueWait", "Longest wait for admission (60s)."),
        new("--request-timeout", FlagKind.Value, "Admission:RequestTimeout", "Longest that a request may take, waiting and running (0 = no limit)."),
        new("--max-logprobs", FlagKind.Value, "Limits:MaxLogprobs", "Most alternatives a request may ask for."),
        new("--max-n", FlagKind.Value, "Limits:MaxN", "Most choices of a request."),
        new("--max-stop-strings", FlagKind.Value, "Limits:MaxStopStrings", "Most stop strings of a request."),
        new("--trust-request-chat-template", FlagKind.Switch, "Limits:TrustRequestChatTemplate", "Requests may bring their own chat template."),
        new("--host", FlagKind.Value, "Server:Host", "Address to bind. Default 127.0.0.1, in containers 0.0.0.0."),
        new("--port", FlagKind.Value, "Server:Port", "Port; 0 lets the system choose."),
        new("--admin-port", FlagKind.Value, "Server:AdminPort", "Port of the admin routes (9000); 0 lets the system choose, none = no admin routes."),
        new("--admin-host", FlagKind.Value, "Server:AdminHost", "Address to bind for them. Default 127.0.0.1; others need a key."),
        new("--h2c-port", FlagKind.Value, "Server:H2cPort", "Further port that speaks HTTP/2 without TLS."),
        new("--uds", FlagKind.Value, "Server:UnixSocket", "Unix domain socket to listen on instead of a port."),
        new("--ssl-certfile", FlagKind.Value, "Server:Tls:CertFile", "Certificate chain (PEM)."),
        new("--ssl-keyfile", FlagKind.Value, "Server:Tls:KeyFile", "Private key (PEM)."),
        new("--root-path", FlagKind.Value, "Server:PathBase", "Path under which a proxy publishes this server."),
        new("--shutdown-timeout", FlagKind.Value, "Server:ShutdownTimeout", "Time for running work after SIGTERM (60s)."),
        new("--api-key", FlagKind.Many, "Auth:Keys", "Key clients must send; other users of this host can read it, prefer --api-key-file."),
        new("--api-key-file", FlagKind.Value, "Auth:KeyFile", "File with one key a line."),
        new("--allowed-origins", FlagKind.Many, "Cors:Origins", "Browser origins that may call."),
        new("--stream-interval", FlagKind.Value, "Streaming:StreamInterval", "Tokens per event after the first."),
        new("--sse-heartbeat", FlagKind.Value, "Streaming:SseHeartbeat", "Silence after which a comment is sent (15s; -1 = never)."),
        new("--enable-log-requests", FlagKind.Switch, "Logging:Requests", "Log one line a request, without content."),
        new("--otlp-endpoint", FlagKind.Value, "Telemetry:Otlp:Endpoint", "Collector that gets traces, metrics and logs (http://collector:4317). Default: none."),
        new("--threads", FlagKind.Value, "Cpu:Threads", "Threads of the CPU backend. Default: physical cores."),
        new("--cpu-kernels", FlagKind.Value, "Cpu:Kernels", "Instructions that multiply rounded weights: auto, avx512, avx-vnni, avx2 or portable."),
        new("--trust-remote-code", FlagKind.Refused, "", "no code from checkpoints is ever executed; leave it out"),
        new("--tool-call-parser", FlagKind.Refused, "", "tools are not supported by this version yet"),
        new("--enable-auto-tool-choice", FlagKind.Refused, "", "tools are not supported by this version yet"),
        new("--reasoning-parser", FlagKind.Refused, "", "reasoning is not supported by this version yet"),
        new("--numa", FlagKind.Refused, "", "NUMA placement is not supported by this version yet"),
    ];

    /// <summary>The flag that writes this setting (or the list it belongs to).</summary>
    public static Flag? ByKey(string key) =>
        All.FirstOrDefault(flag => flag.Key.Equals(key, StringComparison.OrdinalIgnoreCase)
            || (flag.Kind == FlagKind.Many && key.StartsWith(flag.Key + ":", StringComparison.OrdinalIgnoreCase)));
}
