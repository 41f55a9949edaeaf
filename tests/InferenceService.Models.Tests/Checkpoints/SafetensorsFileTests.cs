using InferenceService.Compute;
using InferenceService.Models.Checkpoints;

namespace InferenceService.Models.Tests.Checkpoints;

public sealed class SafetensorsFileTests
{
    private const string Good = """{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}""";

    [Fact]
    public void Tensors_are_viewed_where_they_lie()
    {
        using var folder = new TemporaryFolder();
        float[] numbers = [1, -2, 3.5f, 4, 5, 6];
        File.WriteAllBytes(folder.File("x.safetensors"), SafetensorsWriter.File(
        [
            ("vector", "F16", [3], [0x00, 0x3C, 0x00, 0x40, 0x00, 0x42]),
            ("matrix", "F32", [2, 3], SafetensorsWriter.Bytes(numbers)),
        ]));
        using SafetensorsFile file = SafetensorsFile.Open(folder.File("x.safetensors"));
        Assert.Equal(["vector", "matrix"], file.TensorNames);
        Assert.True(file.TryFind("matrix", out StoredTensor stored));
        Tensor matrix = file.View("matrix", stored);
        Assert.Equal((DType.F32, 2, 3), (matrix.Type, matrix.Rows, matrix.Columns));
        Assert.Equal(SafetensorsWriter.Bytes(numbers), ((MappedFile)matrix.Buffer).Slice(matrix.Offset, 24).ToArray());
        Assert.True(file.TryFind("vector", out stored));
        Tensor vector = file.View("vector", stored);
        Assert.Equal((DType.F16, 1, 3), (vector.Type, vector.Rows, vector.Columns));
        Assert.False(file.TryFind("absent", out _));
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "'a' takes 8 bytes, but F32 of its shape takes 12")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 4, "'a' lies at bytes 0 to 8, outside the 4 bytes of data")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8, "'a' lies at bytes 8 to 0")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""", 8, "'a' has a data_offsets with something else than whole numbers")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 9, "1 bytes follow the last tensor")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "'a' leaves a hole before it")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "'b' overlaps the tensor before it")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "'a' is listed twice")]
    [InlineData("""{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}""", 8, "'a' has more elements than any file holds")]
    [InlineData("""{"a":{"dtype":"F32","shape":[9223372036854775807,2,0],"data_offsets":[0,0]}}""", 0, "'a' has more elements than any file holds")]
    [InlineData("""{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,8]}}""", 8, "'a' has a shape with something else than whole numbers")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}""", 8, "'a' has a shape with something else than whole numbers")]
    [InlineData("""{"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}}""", 8, "'a' has a shape of more than 8 numbers")]
    [InlineData("""{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}""", 8, "'a' has a shape that is not a list")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}""", 8, "'a' lacks dtype, shape or two data_offsets")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2]}}""", 8, "'a' lacks dtype, shape or two data_offsets")]
    [InlineData("""{"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}""", 8, "'a' has a field 'dtype'")]
    [InlineData("""{"a":{"dtype":"Q4_K","shape":[2],"data_offsets":[0,8]}}""", 8, "'a' has unknown dtype 'Q4_K'")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}""", 8, "'a' has a field 'x'")]
    [InlineData("""{"a":[1]}""", 0, "'a' is not described by an object")]
    [InlineData("""[]""", 0, "the header is not an object")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}""", 8, "the header is not valid JSON")]
    [InlineData("""{"a":{}} {}""", 0, "'a' lacks")]
    [InlineData("""{} {}""", 0, "the header is not valid JSON")]
    [InlineData("", 0, "the header is not valid JSON")]
    [InlineData("""{"a\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 8, "a tensor name in the header is not valid text")]
    [InlineData("""{"a\u000ab":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}""", 8, "'a?b' takes 8 bytes")]
    [InlineData("{\"__metadata__\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 0, "the header is not valid JSON")]
    public void A_damaged_header_is_refused_in_one_line(string header, int dataBytes, string expected) =>
        AssertRefused(SafetensorsWriter.File(header, new byte[dataBytes]), expected);

    [Theory]
    [InlineData(0, "the file is empty")]
    [InlineData(7, "the file has 7 bytes, too few for a header")]
    [InlineData(8, "bytes, but the file has only 8")]
    [InlineData(60, "bytes, but the file has only 60")]
    public void A_truncated_file_is_refused_in_one_line(int length, string expected) =>
        AssertRefused(SafetensorsWriter.File(Good, new byte[32])[..length], expected);

    [Theory]
    [InlineData(0x8000000000000000, "the header claims 9223372036854775808 bytes")]
    [InlineData(ulong.MaxValue, "the header claims 18446744073709551615 bytes")]
    [InlineData(100_000_001, "allowed: up to 100000000")]
    public void A_hostile_header_length_is_refused_before_anything_is_read(ulong claimed, string expected) =>
        AssertRefused([.. BitConverter.GetBytes(claimed), .. new byte[64]], expected);

    [Theory]
    [InlineData("I8", 2, "'a' has dtype I8; supported are F32, F16 and BF16")]
    [InlineData("F8_E4M3", 2, "'a' has dtype F8_E4M3")]
    [InlineData("F64", 16, "'a' has dtype F64")]
    public void Types_that_models_do_not_compute_with_are_refused_when_asked_for(string type, int bytes, string expected)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("x.safetensors"), SafetensorsWriter.File([("a", type, [2], new byte[bytes])]));
        using SafetensorsFile file = SafetensorsFile.Open(folder.File("x.safetensors"));
        Assert.True(file.TryFind("a", out StoredTensor stored));
        Assert.Contains(expected, Assert.Throws<CheckpointException>(() => file.View("a", stored)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(new int[] { })]
    [InlineData(new[] { 1, 2, 1 })]
    public void Only_one_and_two_dimensions_are_viewed(int[] shape)
    {
        using var folder = new TemporaryFolder();
        int bytes = shape.Aggregate(4, (a, b) => a * b);
        File.WriteAllBytes(folder.File("x.safetensors"), SafetensorsWriter.File([("a", "F32", shape, new byte[bytes])]));
        using SafetensorsFile file = SafetensorsFile.Open(folder.File("x.safetensors"));
        Assert.True(file.TryFind("a", out StoredTensor stored));
        Assert.Throws<CheckpointException>(() => file.View("a", stored));
    }

    [Fact]
    public void Damage_at_random_is_refused_or_harmless_but_never_anything_else()
    {
        const int seed = 20260;
        var random = new Random(seed);
        byte[] whole = SafetensorsWriter.File(Good, new byte[32]);
        using var folder = new TemporaryFolder();
        int refused = 0;
        for (int i = 0; i < 2000; i++)
        {
            byte[] damaged = Fuzz.Damage(whole, random);
            File.WriteAllBytes(folder.File("x.safetensors"), damaged);
            try
            {
                using SafetensorsFile file = SafetensorsFile.Open(folder.File("x.safetensors"));
                foreach (string name in file.TensorNames)
                {
                    Assert.True(file.TryFind(name, out StoredTensor stored));
                    Tensor view = file.View(name, stored);
                    _ = ((MappedFile)view.Buffer).Slice(view.Offset, (int)view.ByteLength)[^1];
                }
            }
            catch (CheckpointException e)
            {
                refused++;
                AssertOneLine(e.Message, folder.Path);
            }
            catch (Exception e) when (e is not Xunit.Sdk.XunitException)
            {
                Assert.Fail($"Seed {seed}, case {i}: {e.GetType().Name} for {Convert.ToHexString(damaged)}");
            }
        }

        Assert.InRange(refused, 1000, 2000);
    }

    internal static void AssertOneLine(string message, string folder)
    {
        Assert.DoesNotContain('\n', message);
        Assert.DoesNotContain(folder, message, StringComparison.Ordinal);
        Assert.InRange(message.Length, 10, 400);
    }

    private static void AssertRefused(byte[] file, string expected)
    {
        using var folder = new TemporaryFolder();
        File.WriteAllBytes(folder.File("x.safetensors"), file);
        string message = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(folder.File("x.safetensors"))).Message;
        Assert.StartsWith("x.safetensors: ", message, StringComparison.Ordinal);
        Assert.Contains(expected, message, StringComparison.Ordinal);
        AssertOneLine(message, folder.Path);
    }
}
