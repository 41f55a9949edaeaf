using InferenceService.Text.Tokenization.Algorithms;

namespace InferenceService.Text.Tests.Tokenization.Algorithms;

public sealed class WordCacheTests
{
    [Fact]
    public void A_word_that_lost_its_place_is_still_found_in_the_second_one()
    {
        var cache = new WordCache();
        cache.Remember("one", 6, [1]);
        cache.Remember("two", 6, [2, 3]);
        Assert.Equal([2, 3], Find(cache, "two", 6));
        Assert.Equal([1], Find(cache, "one", 6));
        Assert.Null(Find(cache, "three", 6));
        cache.Remember("three", 6, [4]);
        Assert.Null(Find(cache, "one", 6));
    }

    [Fact]
    public void Long_words_are_not_remembered()
    {
        Assert.True(WordCache.Takes(new string('a', 20)));
        Assert.False(WordCache.Takes(new string('a', 2000)));
    }

    private static List<int>? Find(WordCache cache, string word, int slot)
    {
        var ids = new List<int>();
        return cache.TryAppend(word, slot, ids) ? ids : null;
    }
}
