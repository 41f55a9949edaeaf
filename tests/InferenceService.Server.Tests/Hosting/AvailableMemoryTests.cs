using InferenceService.Server.Hosting;

namespace InferenceService.Server.Tests.Hosting;

public sealed class AvailableMemoryTests
{
    private const long Mebibyte = 1 << 20;
    private readonly string _folder = TinyModel.NewFolder();

    [Fact]
    public void Without_a_limit_the_machine_decides() => Assert.Equal(8192 * Mebibyte, Available());

    [Fact]
    public void A_control_group_of_version_2_limits_less_what_it_uses()
    {
        Write("memory.max", "1073741824\n");
        Write("memory.current", "268435456\n");
        Assert.Equal(768 * Mebibyte, Available());
    }

    [Fact]
    public void File_pages_of_the_group_can_be_taken_back()
    {
        Write("memory.max", "1073741824\n");
        Write("memory.current", "268435456\n");
        Write("memory.stat", "anon 12345\ninactive_file 134217728\n");
        Assert.Equal(896 * Mebibyte, Available());
    }

    [Fact]
    public void A_control_group_of_version_1_limits_too()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "memory"));
        Write("memory/memory.limit_in_bytes", "536870912\n");
        Write("memory/memory.usage_in_bytes", "0\n");
        Assert.Equal(512 * Mebibyte, Available());
    }

    [Theory]
    [InlineData("max\n")]
    [InlineData("9223372036854771712\n")]
    public void The_words_for_no_limit_are_no_limit(string text)
    {
        Write("memory.max", text);
        Assert.Equal(8192 * Mebibyte, Available());
    }

    [Fact]
    public void This_machine_has_some() => Assert.True(AvailableMemory.Bytes() > Mebibyte);

    private long Available()
    {
        Write("meminfo", "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n");
        return AvailableMemory.Bytes(Path.Combine(_folder, "meminfo"), _folder);
    }

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(_folder, name), text);
}
