using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;

namespace InferenceService.Engine.Tests;

public sealed class InboxTests
{
    private static Generation NewGeneration(Inbox inbox) => new(
        new GenerationRequest { PromptTokens = (int[])[1, 2], MaxTokens = 1, Sampling = new SamplingParams(), Choices = 2 },
        new FullKvPolicy(), new Ticket(1, 0, 0, false), 16, inbox.EnqueueCancellation, inbox.Wake);

    [Fact]
    public void Counts_are_bounded_and_given_back()
    {
        using var inbox = new Inbox(3, 10);
        Assert.True(inbox.TryReserve(2, 4));
        Assert.False(inbox.TryReserve(2, 1));
        Assert.False(inbox.TryReserve(1, 7));
        Assert.True(inbox.TryReserve(1, 6));
        inbox.Unreserve(3, 10);
        Assert.True(inbox.TryReserve(5, 50));
        Assert.False(inbox.TryReserve(1, 1));
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
