namespace InferenceService.Models.Tests;

/// <summary>Finds folders of the repository from wherever tests run.</summary>
internal static class RepositoryFolder
{
    /// <summary>Full path of a folder or file, given relative to the repository root.</summary>
    public static string Path(string relative)
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(System.IO.Path.Combine(folder.FullName, "InferenceService.sln")))
            folder = folder.Parent;
        return System.IO.Path.Combine(folder?.FullName ?? throw new DirectoryNotFoundException("No InferenceService.sln above the tests."), relative);
    }
}
