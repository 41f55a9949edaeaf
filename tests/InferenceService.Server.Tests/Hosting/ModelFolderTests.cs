using InferenceService.Models;
using InferenceService.Server.Hosting;

namespace InferenceService.Server.Tests.Hosting;

public sealed class ModelFolderTests
{
    [Fact]
    public void Nothing_named_means_the_embedded_model()
    {
        ModelFolder folder = ModelFolder.Find(null, null);
        Assert.Equal("storyteller", folder.DefaultName);
        Assert.True(File.Exists(Path.Combine(folder.Path, "config.json")));
        Assert.Equal(folder, ModelFolder.Find("storyteller", null));
    }

    [Fact]
    public void Every_embedded_model_is_found_by_its_name()
    {
        Assert.Contains("storyteller", ModelFolder.EmbeddedNames);
        string root = TinyModel.NewFolder();
        string twin = Directory.CreateDirectory(Path.Combine(root, "twin")).FullName;
        Assert.Equal(new ModelFolder(twin, "twin"), ModelFolder.Find("twin", null, root));
        Assert.All((string[])["Twin", "./../twin", "storyteller"], name => Assert.Equal(
            $"--model: \"{name}\" is neither a folder nor a file, nor an embedded model (twin), nor an id such as org/name.",
            Assert.Throws<CheckpointException>(() => ModelFolder.Find(name, null, root)).Message));
    }

    [Fact]
    public void A_folder_is_called_by_its_last_segment()
    {
        Assert.Equal(new ModelFolder(TinyModel.Folder, "tiny"), ModelFolder.Find(TinyModel.Folder, null));
        Assert.Equal("tiny", ModelFolder.Find(TinyModel.Folder + "/", null).DefaultName);
    }

    [Fact]
    public void A_file_stands_for_its_folder() =>
        Assert.Equal(new ModelFolder(TinyModel.Folder, "tiny"), ModelFolder.Find(Path.Combine(TinyModel.Folder, "model.safetensors"), null));

    [Fact]
    public void An_id_is_looked_up_in_the_local_cache()
    {
        string cache = TinyModel.NewFolder();
        string snapshot = Directory.CreateDirectory(Path.Combine(cache, "models--org--name", "snapshots", "abc123")).FullName;
        File.WriteAllText(Path.Combine(Directory.CreateDirectory(Path.Combine(cache, "models--org--name", "refs")).FullName, "main"), "abc123\n");
        CheckpointException partial = Assert.Throws<CheckpointException>(() => ModelFolder.Find("org/name", cache));
        Assert.Equal($"--model: \"org/name\" is not complete in the local cache (config.json is missing from {snapshot}); a start that may download brings it, and so does --download-only.", partial.Message);
        TinyModel.Write(snapshot);
        Assert.Equal(new ModelFolder(snapshot, "org/name"), ModelFolder.Find("org/name", cache));
        Assert.Equal(new ModelFolder(snapshot, "org/name"), ModelFolder.Find("org/name@abc123", cache));
        Assert.Equal(
            $"--model: \"org/name@v2\" is not complete in the local cache (nothing of it is in {cache}); a start that may download brings it, and so does --download-only.",
            Assert.Throws<CheckpointException>(() => ModelFolder.Find("org/name@v2", cache)).Message);
    }

    [Theory]
    [InlineData("../../etc")]
    [InlineData("org/name@../../x")]
    [InlineData("org/name@")]
    [InlineData("one/two/three")]
    [InlineData("no such folder")]
    public void What_is_nowhere_is_refused_by_name(string wanted)
    {
        var error = Assert.Throws<CheckpointException>(() => ModelFolder.Find(wanted, TinyModel.NewFolder()));
        Assert.Equal($"--model: \"{wanted}\" is neither a folder nor a file, nor an embedded model ({string.Join(", ", ModelFolder.EmbeddedNames)}), nor an id such as org/name.", error.Message);
    }
}
