using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine.Tests;

public sealed class InboxTests
{
    private static Generation NewGeneration(Inbox inbox) => new(
        new GenerationRequest { PromptTokens = (int[])[1, 2], MaxTokens = 1, Sampling = new SamplingParams(), Choices = 2 },
        new FullKvPolicy(), new Ticket(1, 0, 0, false, new ClientShare(0)), 16, inbox.EnqueueCancellation, inbox.Wake);

    [Fact]
    public void Counts_are_bounded_and_given_back()
    {
        using var inbox = new Inbox(3, 10);
        var all = new ClientShare(0);
        Assert.True(inbox.TryReserve(all, 2, 4));
        Assert.False(inbox.TryReserve(all, 2, 1));
        Assert.False(inbox.TryReserve(all, 1, 7));
        Assert.True(inbox.TryReserve(all, 1, 6));
        Assert.Equal((3, 10), (inbox.Choices, inbox.Tokens));
        inbox.Unreserve(3, 10);
        Assert.True(inbox.TryReserve(all, 5, 50));
        Assert.False(inbox.TryReserve(all, 1, 1));
    }

    [Fact]
    public void A_request_that_is_cancelled_after_the_end_of_the_engine_disturbs_nobody()
    {
        using var inbox = new Inbox(3, 10);
        Generation generation = NewGeneration(inbox);
        inbox.PrepareToPark(); // the thread looks once more, and what it sees is that all is over
        inbox.Close();
        inbox.Dispose();
        generation.Cancel();
        Assert.True(inbox.HasMail);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Clients_that_take_all_they_can_leave_room_for_another(int clients)
    {
        using var inbox = new Inbox(100, 1000);
        ClientShare[] flood = [.. Enumerable.Range(1, clients).Select(number => new ClientShare(number))];
        int[] taken = new int[clients];
        for (int i = 0; i < 1000; i++)
            taken[i % clients] += inbox.TryReserve(flood[i % clients], 1, 1) ? 1 : 0;
        // Each holds four times what is left, so all of them together n times that.
        Assert.InRange(100 - inbox.Choices, 100 / (1 + (clients * Inbox.ShareOfFree)) - 1, 100 / (1 + (clients * Inbox.ShareOfFree)) + 1);
        Assert.InRange(taken.Max() - taken.Min(), 0, 1);
        var late = new ClientShare(clients + 1);
        Assert.True(inbox.TryReserve(late, 1, 1));
        Assert.False(inbox.TryReserve(flood[0], 1, 1));
        int choices = inbox.Choices;
        flood[0].Unreserve(1, 1);
        inbox.Unreserve(1, 1);
        Assert.False(inbox.TryReserve(late, 100, 1));
        Assert.Equal((choices - 1, 1, taken[0] - 1), (inbox.Choices, late.ChoicesAtDoor, flood[0].ChoicesAtDoor));
    }

    [Fact]
    public void What_a_client_may_ask_for_together_is_what_an_empty_queue_takes_of_it()
    {
        var random = new Random(6);
        int taken = 0;
        for (int i = 0; i < 2000; i++)
        {
            int client = random.Next(0, 3), bound = random.Next(1, 60);
            int[] parts = [.. Enumerable.Range(0, random.Next(2, 8)).Select(_ => random.Next(1, 16))];
            using var choices = new Inbox(bound, 1000);
            using var tokens = new Inbox(1000, bound);
            (ClientShare ofChoices, ClientShare ofTokens) = (new ClientShare(client), new ClientShare(client));
            bool fits = parts.Sum() <= Inbox.MostTogether(client, bound, parts[^1]);
            Assert.Equal(fits, Array.TrueForAll(parts, part => choices.TryReserve(ofChoices, part, 1)));
            Assert.Equal(fits, Array.TrueForAll(parts, part => tokens.TryReserve(ofTokens, 1, part)));
            taken += fits ? 1 : 0;
        }

        Assert.InRange(taken, 200, 1800);
    }

    [Fact]
    public void However_often_a_request_is_cancelled_it_is_queued_once_until_it_is_looked_at()
    {
        using var inbox = new Inbox(10, 10);
        Generation generation = NewGeneration(inbox);
        for (int i = 0; i < 5; i++)
            generation.CancelChoice(0);
        generation.Cancel();
        Assert.True(inbox.TryTakeCancellation(out Generation? taken));
        Assert.Same(generation, taken);
        Assert.False(inbox.TryTakeCancellation(out _));
        generation.TakeCancel();
        generation.Cancel();
        Assert.True(inbox.TryTakeCancellation(out _));
    }

    [Fact]
    public void A_closed_inbox_refuses_and_still_holds_what_it_accepted()
    {
        using var inbox = new Inbox(10, 10);
        Generation generation = NewGeneration(inbox);
        Assert.True(inbox.TryEnqueue(generation));
        inbox.Close();
        Assert.False(inbox.TryEnqueue(NewGeneration(inbox)));
        Assert.True(inbox.HasMail);
        Assert.True(inbox.TryTakeArrival(out Generation? taken));
        Assert.Same(generation, taken);
        Assert.False(inbox.HasMail);
    }

    [Fact]
    public async Task A_parked_reader_wakes_for_every_kind_of_mail()
    {
        using var inbox = new Inbox(10, 10);
        Generation generation = NewGeneration(inbox);
        foreach (Action mail in (Action[])[() => inbox.TryEnqueue(generation), generation.Cancel, inbox.Wake])
        {
            inbox.PrepareToPark();
            Task parked = Task.Factory.StartNew(
                () => inbox.Park(Timeout.InfiniteTimeSpan), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            mail();
            await parked;
        }
    }
}
