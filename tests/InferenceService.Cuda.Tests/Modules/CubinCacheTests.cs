using System.Runtime.Versioning;
using InferenceService.Cuda.Modules;

namespace InferenceService.Cuda.Tests.Modules;

[SupportedOSPlatform("linux")]
public sealed class CubinCacheTests : IDisposable
{
    private readonly string _folder = Path.Combine(Path.GetTempPath(), "cubins-" + Guid.NewGuid().ToString("N"));

    public void Dispose()
    {
        if (Directory.Exists(_folder))
            Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void What_was_written_is_read_and_only_its_owner_may_enter()
    {
        var cache = new CubinCache(_folder);
        cache.Write("abc", [1, 2, 3]);
        Assert.Equal(new byte[] { 1, 2, 3 }, new CubinCache(_folder).Read("abc"));
        Assert.Null(cache.Read("other"));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(_folder));
        Assert.Equal(["abc.cubin"], Directory.GetFiles(_folder).Select(Path.GetFileName));
    }

    [Fact]
    public void A_file_or_folder_that_others_may_write_is_not_trusted()
    {
        new CubinCache(_folder).Write("abc", [1]);
        string file = Path.Combine(_folder, "abc.cubin");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupWrite);
        Assert.Null(new CubinCache(_folder).Read("abc"));
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Assert.NotNull(new CubinCache(_folder).Read("abc"));
        File.SetUnixFileMode(_folder, File.GetUnixFileMode(_folder) | UnixFileMode.OtherWrite);
        Assert.False(new CubinCache(_folder).IsUsable);
        Assert.Null(new CubinCache(_folder).Read("abc"));
    }

    [Fact]
    public void A_link_or_an_empty_file_is_not_an_image()
    {
        var cache = new CubinCache(_folder);
        cache.Write("abc", [1]);
        File.CreateSymbolicLink(Path.Combine(_folder, "link.cubin"), Path.Combine(Path.GetTempPath(), "nowhere"));
        Assert.Null(cache.Read("link"));
        File.WriteAllBytes(Path.Combine(_folder, "empty.cubin"), []);
        Assert.Null(cache.Read("empty"));
    }

    [Fact]
    public void A_folder_that_cannot_be_made_means_memory_only()
    {
        var cache = new CubinCache("/dev/null/cubins");
        Assert.False(cache.IsUsable);
        cache.Write("abc", [1]);
        Assert.Null(cache.Read("abc"));
    }
}
