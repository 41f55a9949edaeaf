namespace InferenceService.Engine.Tests;

public sealed class TokenChannelTests
{
    private static GeneratedToken Token(int id) => new(0, id, FinishReason.None, null);

    [Fact]
    public async Task Events_arrive_in_order_and_the_end_after_them()
    {
        var channel = new TokenChannel(8, 2, () => { });
        for (int id = 0; id < 5; id++)
            channel.Write(Token(id));
        channel.Complete();
        for (int id = 0; id < 5; id++)
        {
            Assert.True(await channel.WaitToReadAsync(default));
            Assert.True(channel.TryRead(out GeneratedToken token));
            Assert.Equal(id, token.TokenId);
        }

        Assert.False(await channel.WaitToReadAsync(default));
        Assert.False(channel.TryRead(out _));
    }

    [Fact]
    public async Task A_waiting_reader_is_woken_by_an_event_and_by_the_end()
    {
        var channel = new TokenChannel(8, 2, () => { });
        Task<bool> waiting = channel.WaitToReadAsync(default).AsTask();
        Assert.False(waiting.IsCompleted);
        channel.Write(Token(1));
        Assert.True(await waiting);
        Assert.True(channel.TryRead(out _));
        waiting = channel.WaitToReadAsync(default).AsTask();
        channel.Complete();
        Assert.False(await waiting);
    }

    [Fact]
    public async Task A_writer_that_comes_late_to_wake_a_reader_who_has_read_already_ends_no_wait()
    {
        var channel = new TokenChannel(8, 2, () => { });
        using var cancel = new CancellationTokenSource();
        for (int id = 0; id < 100; id++)
        {
            Task<bool> waiting = channel.WaitToReadAsync(cancel.Token).AsTask();
            channel.Wake(); // for an event that is gone
            await Task.Yield();
            channel.Wake();
            channel.Write(Token(id));
            Assert.True(await waiting);
            Assert.True(channel.TryRead(out GeneratedToken token));
            Assert.Equal(id, token.TokenId);
        }

        Task<bool> last = channel.WaitToReadAsync(cancel.Token).AsTask();
        channel.Wake();
        await cancel.CancelAsync();
        await Assert.ThrowsAsync<OperationCanceledException>(() => last);
    }

    [Fact]
    public async Task A_cancelled_wait_throws_and_the_next_wait_works()
    {
        var channel = new TokenChannel(8, 2, () => { });
        using var cancel = new CancellationTokenSource();
        Task<bool> waiting = channel.WaitToReadAsync(cancel.Token).AsTask();
        await cancel.CancelAsync();
        await Assert.ThrowsAsync<OperationCanceledException>(async () => await waiting);
        await Assert.ThrowsAsync<TaskCanceledException>(async () => await channel.WaitToReadAsync(cancel.Token));
        waiting = channel.WaitToReadAsync(default).AsTask();
        channel.Write(Token(1));
        Assert.True(await waiting);
    }

    [Fact]
    public void A_full_channel_pauses_until_half_of_it_is_read_and_then_wakes_the_writer()
    {
        int woken = 0;
        var channel = new TokenChannel(12, 2, () => woken++);
        for (int id = 0; channel.HasRoom(); id++)
            channel.Write(Token(id));
        Assert.Equal(11, channel.Unread);
        for (int left = 10; left > 5; left--)
        {
            channel.TryRead(out _);
            Assert.False(channel.HasRoom());
            Assert.Equal(0, woken);
        }

        channel.TryRead(out _);
        Assert.Equal(1, woken);
        Assert.True(channel.HasRoom());
    }

    [Fact]
    public void A_write_beyond_the_ring_is_refused()
    {
        var channel = new TokenChannel(4, 1, () => { });
        for (int id = 0; id < 4; id++)
            channel.Write(Token(id));
        Assert.Throws<InvalidOperationException>(() => channel.Write(Token(4)));
    }

    [Fact]
    public async Task A_reader_on_another_thread_loses_nothing()
    {
        const int count = 100_000;
        using var room = new SemaphoreSlim(0);
        var channel = new TokenChannel(64, 2, () => room.Release());
        var writer = new Thread(() =>
        {
            for (int id = 0; id < count; id++)
            {
                while (!channel.HasRoom())
                    room.Wait();
                channel.Write(Token(id));
            }

            channel.Complete();
        });
        writer.Start();
        int expected = 0;
        while (await channel.WaitToReadAsync(default))
            while (channel.TryRead(out GeneratedToken token))
                Assert.Equal(expected++, token.TokenId);
        Assert.Equal(count, expected);
        writer.Join();
    }

    [Fact]
    public async Task Writing_and_waking_allocates_nothing()
    {
        var channel = new TokenChannel(64, 2, () => { });
        var steady = new LeastAllocation(stepsEach: 20);
        for (int round = 0; round < 200; round++)
        {
            ValueTask<bool> waiting = channel.WaitToReadAsync(default);
            steady.Begin();
            channel.Write(Token(round));
            steady.End();
            Assert.True(await waiting);
            channel.TryRead(out _);
        }

        Assert.Equal(0, steady.Bytes);
    }
}
