using InferenceService.Compute;
using InferenceService.Compute.Cpu;
using InferenceService.Models.Packed;

namespace InferenceService.Models.Tests;

public sealed class PackedCacheTests : IDisposable
{
    private static readonly ModelConfig Config = TinyModel.Config() with { IntermediateSize = 64 };

    private readonly TemporaryFolder _folder = new();
    private readonly List<string> _warnings = [];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(WeightFormat.BF16)]
    [InlineData(WeightFormat.Int8)]
    [InlineData(WeightFormat.Int4)]
    public void The_second_load_packs_nothing_and_gives_the_same_bits_and_facts(WeightFormat format)
    {
        (float[][] expected, WeightFacts facts, _) = Run(format, cached: false);
        Assert.Empty(Directory.GetFiles(_folder.Path));
        (float[][] first, _, int packed) = Run(format);
        Assert.True(packed > 0);
        string file = Assert.Single(Directory.GetFiles(_folder.Path));
        byte[] written = File.ReadAllBytes(file);
        (float[][] second, WeightFacts again, int packedAgain) = Run(format);
        Assert.Equal(0, packedAgain);
        Assert.Equal(expected, first);
        Assert.Equal(expected, second);
        Assert.Equal((facts.Error, facts.Worst, facts.WorstRelative, facts.HeadFormat), (again.Error, again.Worst, again.WorstRelative, again.HeadFormat));
        Assert.Equal(written, File.ReadAllBytes(file));
        Assert.Empty(_warnings);
    }

    [Fact]
    public void Weights_that_stay_as_stored_leave_no_file()
    {
        Run(WeightFormat.Stored);
        Assert.Empty(Directory.GetFiles(_folder.Path));
        Assert.Empty(_warnings);
    }

    [Fact]
    public void Every_family_of_kernels_reads_the_same_file()
    {
        (float[][] expected, _, _) = Run(WeightFormat.Int4, kernels: KernelFamily.Portable);
        foreach (KernelFamily family in Enum.GetValues<KernelFamily>().Where(family => family.IsSupported()))
        {
            (float[][] actual, _, int packed) = Run(WeightFormat.Int4, kernels: family);
            Assert.Equal(0, packed);
            Assert.Equal(expected, actual);
        }

        Assert.Single(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void Other_facts_and_other_formats_have_other_files()
    {
        Run(WeightFormat.Int8);
        Assert.NotEqual(0, Run(WeightFormat.Int8, facts: "another checkpoint").Packed);
        Assert.NotEqual(0, Run(WeightFormat.Int4).Packed);
        Assert.Equal(3, Directory.GetFiles(_folder.Path).Length);
        Assert.Empty(_warnings);
    }

    [Theory]
    [InlineData(0, 1)] // magic
    [InlineData(8, 1)] // version
    [InlineData(12, 1)] // checksum of the table
    [InlineData(16, 1)] // where the table is
    [InlineData(23, 0x80)]
    [InlineData(24, 1)] // its length
    [InlineData(31, 0x80)]
    [InlineData(32, 1)] // key
    [InlineData(64, 1)] // the first matrix
    [InlineData(-1, 1)] // the table
    [InlineData(-40, 0x10)]
    public void A_file_with_a_flipped_bit_is_left_with_one_warning_and_replaced(int at, byte bit)
    {
        Damaged(bytes =>
        {
            bytes[at < 0 ? bytes.Length + at : at] ^= bit;
            return bytes;
        });
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(63)]
    [InlineData(64)]
    [InlineData(1000)]
    [InlineData(-1)]
    public void A_file_cut_short_is_left_with_one_warning_and_replaced(int length) =>
        Damaged(bytes => bytes[..(length < 0 ? bytes.Length + length : length)]);

    [Fact]
    public void A_longer_file_is_left_with_one_warning_and_replaced() => Damaged(bytes => [.. bytes, 0]);

    [Fact]
    public void A_file_that_lacks_a_matrix_is_left_with_one_warning_and_replaced() =>
        Damaged(bytes => WithTable(bytes, []), "lacks");

    [Fact]
    public void A_table_that_names_bytes_outside_the_file_is_left_with_one_warning_and_replaced()
    {
        foreach ((long offset, long length) in ((long, long)[])[(64, long.MaxValue), (long.MaxValue - 63, 64), (0, 64), (65, 64), (64, -1), (-64, 64)])
            Damaged(bytes => WithTable(bytes, [new PackedEntry("x", WeightFormat.Int8, 1, 1, offset, length, 0, [])]), "outside");
    }

    [Fact]
    public void A_matrix_of_another_shape_is_left_with_one_warning_and_replaced() =>
        Damaged(bytes => WithTable(bytes, [new PackedEntry(FirstName, WeightFormat.Int8, 32, 32, 64, 64, 0, [default, default, default])]), "another shape");

    [Fact]
    public void A_folder_that_cannot_be_made_is_one_warning_and_the_model_loads()
    {
        string file = Path.Combine(_folder.Path, "file");
        File.WriteAllText(file, "");
        (float[][] expected, _, _) = Run(WeightFormat.Int8, cached: false);
        Assert.Equal(expected, Run(WeightFormat.Int8, folder: Path.Combine(file, "below")).Logits);
        Assert.Contains("cannot be kept", Assert.Single(_warnings), StringComparison.Ordinal);
        Assert.Equal(file, Assert.Single(Directory.GetFileSystemEntries(_folder.Path)));
    }

    [Fact]
    public void A_folder_that_is_not_there_is_made()
    {
        Run(WeightFormat.Int8, folder: Path.Combine(_folder.Path, "a", "b"));
        Assert.Equal(0, Run(WeightFormat.Int8, folder: Path.Combine(_folder.Path, "a", "b")).Packed);
        Assert.Empty(_warnings);
    }

    [Fact]
    public void Nothing_is_left_behind_when_the_file_cannot_be_replaced()
    {
        Run(WeightFormat.Int8);
        string path = Assert.Single(Directory.GetFiles(_folder.Path));
        File.Delete(path);
        Directory.CreateDirectory(Path.Combine(path, "in the way"));
        Assert.NotEqual(0, Run(WeightFormat.Int8).Packed);
        Assert.Contains("cannot be kept", Assert.Single(_warnings), StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void Checksums_are_those_of_RFC_3720()
    {
        Assert.Equal(0x8a9136aau, Crc32C.Of(new byte[32])); // B.4: 32 bytes of zeros
        Assert.Equal(0x46dd794eu, Crc32C.Of([.. Enumerable.Range(0, 32).Select(i => (byte)i)])); // ascending
        Assert.Equal(0xe3069283u, Crc32C.Of("123456789"u8));
    }

    private static string FirstName => string.Join('+', "qkv".Select(part => $"model.layers.0.self_attn.{part}_proj.weight"));

    private void Damaged(Func<byte[], byte[]> damage, string reason = "")
    {
        (float[][] expected, _, _) = Run(WeightFormat.Int8);
        string file = Assert.Single(Directory.GetFiles(_folder.Path));
        byte[] good = File.ReadAllBytes(file);
        File.WriteAllBytes(file, damage([.. good]));
        _warnings.Clear();
        (float[][] actual, _, int packed) = Run(WeightFormat.Int8);
        Assert.True(packed > 0);
        Assert.Equal(expected, actual);
        string warning = Assert.Single(_warnings);
        Assert.Contains("cannot be used", warning, StringComparison.Ordinal);
        Assert.Contains(reason, warning, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', warning);
        Assert.Equal(good, File.ReadAllBytes(Assert.Single(Directory.GetFiles(_folder.Path))));
        Assert.Equal(0, Run(WeightFormat.Int8).Packed);
    }

    /// <summary>The file with another table, all checksums right.</summary>
    private static byte[] WithTable(byte[] bytes, PackedEntry[] entries)
    {
        int end = (int)BitConverter.ToInt64(bytes, 16);
        byte[] table = PackedFile.Table(entries);
        return [.. PackedFile.Header(bytes.AsSpan(32, 32), end, table), .. bytes[64..end], .. table];
    }

    private (float[][] Logits, WeightFacts Facts, int Packed) Run(
        WeightFormat format, bool cached = true, string facts = "facts", string? folder = null, KernelFamily? kernels = null)
    {
        using var random = new RandomWeights(Config, 5, DType.F32);
        using var backend = new CpuBackend(2, kernels: kernels);
        PackedCache? cache = cached ? new PackedCache(folder ?? _folder.Path, facts, _warnings.Add) : null;
        DecoderModel model = DecoderModel.Load(
            Config, random, backend, KvLayout.Of(Config, KvGrouping.Layer), new DecoderLimits(64, 64), null, format, cache);
        return (new TestCache(model, 1, 8).Run([1, 2, 3]), model.Weights, model.Weights.Rounded);
    }
}
