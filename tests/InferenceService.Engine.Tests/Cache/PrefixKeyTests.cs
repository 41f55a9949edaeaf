using InferenceService.Engine.Cache;

namespace InferenceService.Engine.Tests.Cache;

public sealed class PrefixKeyTests
{
    private static readonly byte[] Secret = PrefixKey.NewSecret();

    [Fact]
    public void Keys_depend_on_secret_content_salt_parent_and_tokens()
    {
        UInt128 root = PrefixKey.Root(Secret, "model", null);
        UInt128 first = PrefixKey.Next(root, [1, 2, 3]);
        UInt128[] keys =
        [
            root, first, PrefixKey.Root(Secret, "model", ""), PrefixKey.Root(Secret, "model", "a"), PrefixKey.Root(Secret, "mode", "l"),
            PrefixKey.Root(PrefixKey.NewSecret(), "model", null), PrefixKey.Next(root, [1, 2, 4]), PrefixKey.Next(root, [1, 2]), PrefixKey.Next(first, [1, 2, 3]),
        ];
        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Equal(first, PrefixKey.Next(PrefixKey.Root(Secret, "model", null), [1, 2, 3]));
    }

    [Fact]
    public void Every_token_of_a_large_block_counts()
    {
        int[] tokens = new int[200];
        UInt128 key = PrefixKey.Next(0, tokens);
        for (int i = 0; i < tokens.Length; i++)
        {
            tokens[i] = 1;
            Assert.NotEqual(key, PrefixKey.Next(0, tokens));
            tokens[i] = 0;
        }
    }

    [Fact]
    public void Chaining_allocates_nothing()
    {
        int[] tokens = new int[16];
        UInt128 key = PrefixKey.Next(0, tokens);
        var allocation = new LeastAllocation(stepsEach: 1);
        for (int run = 0; run < 5; run++)
        {
            allocation.Begin();
            for (int i = 0; i < 100; i++)
                key = PrefixKey.Next(key, tokens);
            allocation.End();
        }

        Assert.Equal(0, allocation.Bytes);
    }
}
