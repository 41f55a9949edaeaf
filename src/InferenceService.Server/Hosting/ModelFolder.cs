using InferenceService.Models;
using InferenceService.Server.Hub;

namespace InferenceService.Server.Hosting;

/// <summary>Where a checkpoint lies, and what it is called when nobody names it.</summary>
/// <param name="Path">Folder on this machine.</param>
/// <param name="DefaultName">Last segment of the path, or the id it was asked for by.</param>
internal sealed record ModelFolder(string Path, string DefaultName)
{
    /// <summary>Id of the model that is served when none is named.</summary>
    public const string EmbeddedName = "storyteller";

    /// <summary>The folder of that model, beside the binary.</summary>
    public static ModelFolder Embedded => new(System.IO.Path.Combine(EmbeddedRoot, EmbeddedName), EmbeddedName);

    /// <summary>Ids of all models that ship with the server, sorted.</summary>
    public static IReadOnlyList<string> EmbeddedNames => NamesIn(EmbeddedRoot);

    private static string EmbeddedRoot => System.IO.Path.Combine(AppContext.BaseDirectory, "Embedded");

    /// <summary>
    /// Finds what was asked for: nothing (the embedded storyteller), a folder, a file in one, the name of an embedded model, or an id in
    /// the local Hugging Face cache. Downloads nothing.
    /// </summary>
    /// <param name="wanted">Text of <c>--model</c>.</param>
    /// <param name="cache">Folder with <c>models--org--name</c> folders; null = none.</param>
    /// <param name="embedded">Folder of the embedded models; null = beside the binary.</param>
    /// <exception cref="CheckpointException">Nothing is there.</exception>
    public static ModelFolder Find(string? wanted, string? cache, string? embedded = null)
    {
        if (string.IsNullOrEmpty(wanted))
            return Embedded;
        string full = System.IO.Path.GetFullPath(wanted);
        if (Directory.Exists(full))
            return new ModelFolder(full, System.IO.Path.GetFileName(full.TrimEnd('/')));
        if (File.Exists(full))
        {
            string folder = System.IO.Path.GetDirectoryName(full)!;
            return new ModelFolder(folder, System.IO.Path.GetFileName(folder));
        }

        embedded ??= EmbeddedRoot;
        if (NamesIn(embedded).Contains(wanted))
            return new ModelFolder(System.IO.Path.Combine(embedded, wanted), wanted);
        string shown = wanted.Length <= 128 ? wanted : wanted[..128] + "…";
        return FromCache(wanted, cache, out string missing) ?? throw new CheckpointException(
            missing.Length > 0 ? $"--model: \"{shown}\" is not complete in the local cache ({missing}); a start that may download brings it, and so does --download-only."
            : $"--model: \"{shown}\" is neither a folder nor a file, nor an embedded model ({string.Join(", ", NamesIn(embedded))}), nor an id such as org/name.");
    }

    /// <summary>The id on the hub that was asked for; null = it is something else, or a folder or file of that name exists.</summary>
    /// <param name="wanted">Text of <c>--model</c>.</param>
    public static HubModelId? IdOf(string? wanted) =>
        wanted is not null && !System.IO.Path.Exists(wanted) && HubModelId.TryParse(wanted, out HubModelId? id) ? id : null;

    private static List<string> NamesIn(string root) => Directory.Exists(root)
        ? [.. Directory.GetDirectories(root).Select(folder => System.IO.Path.GetFileName(folder)!).Order(StringComparer.Ordinal)]
        : [];

    private static ModelFolder? FromCache(string wanted, string? cache, out string missing)
    {
        missing = "";
        if (cache is null || !HubModelId.TryParse(wanted, out HubModelId? id))
            return null;
        return new HubCache(cache).FindComplete(id, out missing) is { } folder ? new ModelFolder(folder, id.Repository) : null;
    }
}
