using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine.Tests.Scheduling;

public sealed class WaitingQueueTests
{
    [Fact]
    public void One_client_is_priority_then_arrival_then_choice_however_they_come_and_go() => Property.Check(50, seed =>
    {
        var random = new Random(seed);
        var client = new ClientShare(random.Next(2));
        Sequence[] all = [.. Enumerable.Range(0, 30).SelectMany(i => NewGeneration(client, i, random.Next(-2, 3), 1 + random.Next(3)).Sequences)];
        Sequence[] ordered = [.. all.OrderBy(s => s.Generation.Priority).ThenBy(s => s.Arrival).ThenBy(s => s.Choice)];
        random.Shuffle(all);
        var queue = new WaitingQueue();
        foreach (Sequence sequence in all)
            queue.Insert(sequence);
        foreach (Sequence sequence in all.Take(20))
            queue.Remove(sequence);
        Assert.Equal(all.Length - 20, queue.Count);
        Assert.Equal(ordered.Except(all.Take(20)), TakeAll(queue));
        Assert.Equal(0, queue.Count);
        Assert.Throws<InvalidOperationException>(() => queue.Remove(all[0]));
    });

    [Fact]
    public void Who_was_in_a_batch_before_comes_first_in_the_order_of_entry()
    {
        var queue = new WaitingQueue();
        ClientShare one = new(1) { Served = 50 }, other = new(2);
        Sequence fresh = Single(other, 0), second = Single(one, 1), first = Single(one, 2), urgent = Single(one, 3, priority: -1);
        (first.Generation.Entry, second.Generation.Entry) = (1, 2);
        foreach (Sequence sequence in (Sequence[])[fresh, second, first, urgent])
            queue.Insert(sequence);
        Assert.Equal([urgent, first, second, fresh], [queue.Next(0), Taken(queue), Taken(queue, 1), Taken(queue, 2)]);

        Sequence? Taken(WaitingQueue from, int taken = 0)
        {
            if (taken == 0)
                from.Remove(urgent);
            return from.Next(taken);
        }
    }

    [Fact]
    public void Next_is_the_oldest_of_the_client_that_was_given_least()
    {
        var queue = new WaitingQueue();
        ClientShare heavy = new(1) { Served = 10 }, light = new(2) { Served = 4 };
        Sequence[] of = [Single(light, 3), Single(heavy, 1), Single(light, 2), Single(heavy, 0)];
        foreach (Sequence sequence in of)
            queue.Insert(sequence);
        // Its first insertion raised nobody: the other began to wait later, and was raised to the only one there.
        Assert.Equal((10, 4), (heavy.Served, light.Served));
        Assert.Same(of[2], queue.Next(0));
        light.Charge(7);
        Assert.Same(of[3], queue.Next(0));
        heavy.Weight = 2;
        heavy.Charge(4);
        Assert.Equal(12, heavy.Served);
        Assert.Same(of[2], queue.Next(0));
    }

    [Fact]
    public void Who_comes_back_is_raised_to_those_who_stayed()
    {
        var queue = new WaitingQueue();
        ClientShare stayed = new(1) { Served = 100 }, also = new(2) { Served = 90 }, back = new(3);
        queue.Insert(Single(stayed, 0));
        queue.Insert(Single(also, 1));
        Assert.Equal(100, also.Served);
        stayed.Served = 130;
        queue.Insert(Single(back, 2));
        Assert.Equal(100, back.Served);
        // Those of another priority are not waited for, so they do not count; nor does who was served last while somebody waits.
        queue.NoteServed(also);
        var other = new ClientShare(4);
        queue.Insert(Single(other, 3, priority: 7));
        Assert.Equal(also.Served, other.Served);
    }

    private static List<Sequence> TakeAll(WaitingQueue queue)
    {
        var taken = new List<Sequence>();
        while (queue.Next(0) is { } next)
        {
            queue.Remove(next);
            taken.Add(next);
        }

        return taken;
    }

    private static Sequence Single(ClientShare client, int arrival, int priority = 0) => NewGeneration(client, arrival, priority, 1).Sequences[0];

    private static Generation NewGeneration(ClientShare client, int arrival, int priority, int choices) => new(
        new GenerationRequest { PromptTokens = (int[])[1], MaxTokens = 1, Sampling = new SamplingParams(), Choices = choices, Priority = priority },
        new FullKvPolicy(), new Ticket(arrival, 0, 0, UsesPriority: true, client), 16, _ => { }, () => { });
}
