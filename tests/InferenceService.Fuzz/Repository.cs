namespace InferenceService.Fuzz;

/// <summary>Where the sources are.</summary>
internal static class Repository
{
    /// <summary>The folder with the solution, above the working folder or above this binary.</summary>
    public static string Root { get; } = Above(Environment.CurrentDirectory) ?? Above(AppContext.BaseDirectory)
        ?? throw new DirectoryNotFoundException("There is no InferenceService.sln above the working folder.");

    private static string? Above(string? folder)
    {
        while (folder is not null && !File.Exists(Path.Combine(folder, "InferenceService.sln")))
            folder = Path.GetDirectoryName(folder);
        return folder;
    }
}
