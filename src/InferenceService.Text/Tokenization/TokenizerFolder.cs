using System.Text;
using System.Text.Json;

namespace InferenceService.Text.Tokenization;

/// <summary>Reads the tokenizer's files of a model folder, with bounds.</summary>
internal static class TokenizerFolder
{
    private const long MaxTokenizerBytes = 512L << 20;
    private const long MaxOtherBytes = 32L << 20;
    private const int MaxExtraTemplates = 100;

    /// <exception cref="TokenizerException">tokenizer.json is missing, or a file cannot be read or is damaged.</exception>
    public static Tokenizer Load(string folder)
    {
        byte[] tokenizerJson = ReadBytes(folder, "tokenizer.json", MaxTokenizerBytes)
            ?? throw new TokenizerException($"there is no tokenizer.json in {JsonPart.Quote(folder)}");
        var config = new TokenizerConfig();

        // A template file of its own outranks the one inside the configuration.
        if (ReadText(folder, "chat_template.jinja") is { } template)
            config.AddChatTemplate("default", template);
        ReadExtraTemplates(folder, config);
        ReadJson(folder, "tokenizer_config.json", config.Read);
        ReadJson(folder, "special_tokens_map.json", config.Read);
        ReadJson(folder, "chat_template.json", part =>
        {
            if (part.Optional("chat_template") is { } field)
                config.ReadChatTemplates(field);
        });
        return TokenizerJson.Read(tokenizerJson, config);
    }

    private static void ReadExtraTemplates(string folder, TokenizerConfig config)
    {
        const string SubFolder = "additional_chat_templates";
        string path = Path.Combine(folder, SubFolder);
        if (!Directory.Exists(path))
            return;
        string[] files = Directory.GetFiles(path, "*.jinja");
        if (files.Length > MaxExtraTemplates)
            throw new TokenizerException($"{SubFolder} holds {files.Length} templates; at most {MaxExtraTemplates} are allowed");
        foreach (string file in files)
        {
            if (ReadText(path, Path.GetFileName(file)) is { } template)
                config.AddChatTemplate(Path.GetFileNameWithoutExtension(file), template);
        }
    }

    private static void ReadJson(string folder, string name, Action<JsonPart> read)
    {
        if (ReadBytes(folder, name, MaxOtherBytes) is not { } bytes)
            return;
        using JsonDocument document = JsonPart.Parse(bytes, name);
        read(new JsonPart(document.RootElement, name));
    }

    private static string? ReadText(string folder, string name)
    {
        byte[]? bytes = ReadBytes(folder, name, MaxOtherBytes);
        ReadOnlySpan<byte> text = bytes;
        if (text.StartsWith("\uFEFF"u8))
            text = text[3..];
        return bytes is null ? null : Encoding.UTF8.GetString(text);
    }

    private static byte[]? ReadBytes(string folder, string name, long limit)
    {
        try
        {
            var file = new FileInfo(Path.Combine(folder, name));
            if (!file.Exists)
                return null;
            return file.Length <= limit
                ? File.ReadAllBytes(file.FullName)
                : throw new TokenizerException($"{name} is {file.Length} bytes long; at most {limit} are allowed");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new TokenizerException($"{name} cannot be read: {e.Message.ReplaceLineEndings(" ")}", e);
        }
    }
}
