namespace InferenceService.Server.Tests;

/// <summary>
/// Tests that run while no other does: <c>[Collection(AloneCollection.Name)]</c>. Meters and their exporters are one for the process, and
/// a server that ends takes its instruments out of the export of all.
/// </summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class AloneCollection
{
    public const string Name = "alone";
}
