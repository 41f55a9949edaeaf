namespace InferenceService.Server.Hub;

/// <summary>One file of a model, as its hub describes it.</summary>
/// <param name="Name">Path in the model folder.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Hash">What its contents must be: SHA-256 (64 digits) of a file in large-file storage, else the SHA-1 of git's blob (40 digits).</param>
internal sealed record HubFile(string Name, long Size, string Hash);

/// <summary>What a hub says about one revision of a model.</summary>
/// <param name="Commit">The revision's commit, 40 hexadecimal digits.</param>
/// <param name="Files">All its files.</param>
internal sealed record HubListing(string Commit, IReadOnlyList<HubFile> Files)
{
    /// <summary>A file by name; null = there is none.</summary>
    public HubFile? Find(string name) => Files.FirstOrDefault(file => file.Name == name);
}
