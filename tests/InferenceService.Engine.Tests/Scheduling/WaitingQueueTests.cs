using InferenceService.Engine.Cache.Policies;
using InferenceService.Engine.Sampling;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine.Tests.Scheduling;

public sealed class WaitingQueueTests
{
    [Fact]
    public void Order_is_priority_then_arrival_then_choice_however_they_come_and_go() => Property.Check(50, seed =>
    {
        var random = new Random(seed);
        Sequence[] all = [.. Enumerable.Range(0, 30).SelectMany(i => NewGeneration(i, random.Next(-2, 3), 1 + random.Next(3)).Sequences)];
        Sequence[] ordered = [.. all.OrderBy(s => s.Generation.Priority).ThenBy(s => s.Arrival).ThenBy(s => s.Choice)];
        random.Shuffle(all);
        var queue = new WaitingQueue();
        foreach (Sequence sequence in all)
            queue.Insert(sequence);
        foreach (Sequence sequence in all.Take(20))
            queue.Remove(sequence);
        Assert.Equal(ordered.Except(all.Take(20)), Enumerable.Range(0, queue.Count).Select(place => queue[place]));
        Assert.Throws<InvalidOperationException>(() => queue.Remove(all[0]));
    });

    private static Generation NewGeneration(int arrival, int priority, int choices) => new(
        new GenerationRequest { PromptTokens = (int[])[1], MaxTokens = 1, Sampling = new SamplingParams(), Choices = choices, Priority = priority },
        new FullKvPolicy(), new Ticket(arrival, 0, 0, UsesPriority: true), 16, _ => { }, () => { });
}
