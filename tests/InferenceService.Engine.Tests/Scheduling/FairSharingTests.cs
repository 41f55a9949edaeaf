using InferenceService.Engine.Sampling;
using InferenceService.Engine.Scheduling;

namespace InferenceService.Engine.Tests.Scheduling;

/// <summary>Several clients share one engine: what each may expect, whatever the others do.</summary>
public sealed class FairSharingTests
{
    private const int Longest = 20; // prompt
    private const int MostOutput = 8;
    private const int Places = 4;

    [Fact]
    public void Without_clients_to_tell_apart_requests_enter_in_order_of_arrival() => Property.Check(10, seed =>
    {
        var random = new Random(seed);
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 80 + random.Next(60)) with { MaxNumSeqs = Places });
        int client = random.Next(2);
        GenerationStream[] streams = [.. Enumerable.Range(0, 30).Select(i => run.Submit(Request(random, client, i) with { Weight = 1 + random.Next(5) }))];
        run.Finish();
        Assert.Equal(Enumerable.Range(1, 30).Select(i => (long)i), streams.Select(EntryOf));
    });

    /// <summary>However much one client has sent before, another's request is next or next but one: it waits for its share, not for the flood.</summary>
    [Fact]
    public void A_client_that_floods_makes_nobody_else_wait_longer_than_a_turn() => Property.Check(15, seed =>
    {
        var random = new Random(seed);
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 90 + random.Next(60)) with { MaxNumSeqs = 1 + random.Next(Places), PrefixCaching = random.Next(2) == 0 });
        GenerationStream[] flood = [.. Enumerable.Range(0, 150).Select(i => run.Submit(Request(random, client: 1, i)))];
        for (int round = 0; round < 5; round++)
        {
            for (int steps = 5 + random.Next(20); steps > 0; steps--)
                run.Engine.Loop.Step();
            long entered = flood.Max(EntryOf);
            GenerationStream other = run.Submit(Request(random, client: 2 + round, 1000 + round));
            long afterwards = flood.Count(stream => EntryOf(stream) > 0);
            Assert.True(afterwards < flood.Length, "The flood is over.");
            for (int steps = 0; EntryOf(other) == 0; steps++)
            {
                Assert.InRange(steps, 0, 1000);
                run.Engine.Loop.Step();
            }

            // Entries between its arrival and its own: at most one of the flood, whose count was the same.
            Assert.InRange(flood.Count(stream => EntryOf(stream) > entered && EntryOf(stream) < EntryOf(other)), 0, 1);
        }

        run.Finish();
        run.AssertNothingOwned();
    });

    /// <summary>Sheng et al. (OSDI 2024), theorem 4.4, for any weights: the bound is that of the smaller one.</summary>
    [Theory]
    [InlineData(1, 1)]
    [InlineData(1, 3)]
    [InlineData(2, 1)]
    public void Clients_that_always_have_work_are_given_their_shares_within_a_bound(int weightOfFirst, int weightOfSecond) => Property.Check(6, seed =>
    {
        var random = new Random(seed);
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model, poolTokens: 100 + random.Next(60)) with { MaxNumSeqs = Places, PrefixCaching = false });
        int[] weights = [weightOfFirst, weightOfSecond];
        // The first has sent everything before the second says a word, and its requests are larger.
        Client[] clients = [.. weights.Select((weight, i) => new Client(run, random, number: i + 1, weight, requests: 90 * weight, smallest: i == 0 ? 10 : 1))];
        double bound = 2.0 * Math.Max(Longest, ClientShare.OutputCost * Places * MostOutput) / weights.Min();
        int steps = 0;
        while (Array.TrueForAll(clients, client => client.HasWaiting))
        {
            run.Engine.Loop.Step();
            Assert.InRange(++steps, 0, 20_000);
            Assert.InRange(clients[0].Given() - clients[1].Given(), -bound, bound);
        }

        // Far more was given than the bound, so that another order would have left it.
        Assert.True(clients.Min(client => client.Given()) > 3 * bound, $"{clients.Min(client => client.Given())} of a bound of {bound}");
        run.Finish();
    });

    [Fact]
    public void Being_away_saves_nothing_up()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxNumSeqs = 1, PrefixCaching = false });
        GenerationStream[] stayed = [.. Enumerable.Range(0, 40).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(6, i), 2) with { Client = 1 }))];
        while (EntryOf(stayed[20]) == 0)
            run.Engine.Loop.Step();
        GenerationStream[] back = [.. Enumerable.Range(0, 10).Select(i => run.Submit(EngineRun.Request(EngineRun.Prompt(6, 100 + i), 2) with { Client = 2 }))];
        run.Finish();
        // They take turns from there on, instead of the second catching up what the first was given while it was alone.
        for (int i = 1; i < back.Length; i++)
            Assert.Equal(2, EntryOf(back[i]) - EntryOf(back[i - 1]));
    }

    [Fact]
    public void An_urgent_request_goes_first_whatever_its_client_was_given()
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model) with { MaxNumSeqs = 1, Scheduling = SchedulingPolicy.Priority });
        for (int i = 0; i < 5; i++)
            run.Submit(EngineRun.Request(EngineRun.Prompt(30, i), 5) with { Client = 1 });
        run.Engine.Loop.Step();
        GenerationStream modest = run.Submit(EngineRun.Request(EngineRun.Prompt(3, 9), 2) with { Client = 2 });
        GenerationStream urgent = run.Submit(EngineRun.Request(EngineRun.Prompt(30, 8), 5) with { Client = 1, Priority = -1 });
        run.Finish();
        Assert.Equal((2, 3), (EntryOf(urgent), EntryOf(modest)));
    }

    /// <summary>
    /// Of those who run, the first is never put back, and whoever is put back enters before anybody new of its priority: so all end after no
    /// more steps than there are tokens, under any clients, weights, priorities and choices.
    /// </summary>
    [Fact]
    public void Nobody_starves_and_who_entered_first_never_gives_way_to_who_came_later() => Property.Check(15, seed =>
    {
        var random = new Random(seed);
        using var model = new TinyModel();
        EngineOptions options = EngineRun.Options(model, poolTokens: 90 + random.Next(60)) with
        {
            MaxNumSeqs = 1 + random.Next(5),
            MaxBatchTokens = 6 + random.Next(30),
            Scheduling = random.Next(2) == 0 ? SchedulingPolicy.Priority : SchedulingPolicy.Fcfs,
        };
        using var run = new EngineRun(model, options);
        var streams = new List<Generation>();
        for (int i = 0; i < 40; i++)
        {
            GenerationRequest request = EngineRun.Request(EngineRun.Prompt(1 + random.Next(50), i), 1 + random.Next(15), new SamplingParams { Seed = i });
            streams.Add((Generation)run.Submit(request with { Client = random.Next(4), Weight = 1 + random.Next(3), Priority = random.Next(3), Choices = 1 + random.Next(3) }));
            for (int steps = random.Next(3); steps > 0; steps--)
                run.Engine.Loop.Step();
        }

        int left = streams.Sum(stream => stream.Request.Choices * (stream.Request.PromptTokens.Length + stream.Request.MaxTokens + 1));
        Sequence? first = First();
        while (run.Engine.Loop.Step())
        {
            Assert.True(left-- > 0, "Steps bring nobody forward.");
            Assert.True(first?.State != SequenceState.Waiting || First()!.IsBefore(first), "Who came first gave way to somebody behind it.");
            first = First();
        }

        Assert.All(streams, stream => Assert.True(stream.HasEnded));
        run.AssertNothingOwned();

        Sequence? First() => streams.SelectMany(s => s.Sequences).Where(s => s.State == SequenceState.Running)
            .OrderBy(s => s.Generation.Priority).ThenBy(s => s.Generation.Entry).ThenBy(s => s.Choice).FirstOrDefault();
    });

    [Theory]
    [InlineData(-1, 1)]
    [InlineData(GenerationRequest.MaxClient + 1, 1)]
    [InlineData(1, 0)]
    [InlineData(1, double.NaN)]
    public void A_client_or_weight_out_of_range_is_the_callers_mistake(int client, double weight)
    {
        using var model = new TinyModel();
        using var run = new EngineRun(model, EngineRun.Options(model));
        Assert.Throws<ArgumentOutOfRangeException>(() => run.Engine.Submit(EngineRun.Request([1], 1) with { Client = client, Weight = weight }));
    }

    private static long EntryOf(GenerationStream stream) => ((Generation)stream).Entry;

    private static GenerationRequest Request(Random random, int client, int seed, int smallest = 1) =>
        EngineRun.Request(EngineRun.Prompt(random.Next(smallest, Longest + 1), seed), 1 + random.Next(MostOutput)) with { Client = client };

    /// <summary>A client with a backlog, and what it was given, counted from outside.</summary>
    private sealed class Client
    {
        private readonly GenerationStream[] _streams;
        private readonly int[] _generated;
        private readonly double _weight;

        public Client(EngineRun run, Random random, int number, int weight, int requests, int smallest)
        {
            _weight = weight;
            _streams = [.. Enumerable.Range(0, requests).Select(i => run.Submit(Request(random, number, (1000 * number) + i, smallest) with { Weight = weight }))];
            _generated = new int[requests];
        }

        public bool HasWaiting => Array.Exists(_streams, stream => EntryOf(stream) == 0);

        /// <summary>Prompt tokens of what entered and twice the tokens generated, over the weight.</summary>
        public double Given()
        {
            long given = 0;
            for (int i = 0; i < _streams.Length; i++)
            {
                while (_streams[i].TryRead(out GeneratedToken token))
                    _generated[i] += token.TokenId >= 0 ? 1 : 0;
                given += EntryOf(_streams[i]) > 0 ? ((Generation)_streams[i]).Request.PromptTokens.Length : 0;
                given += ClientShare.OutputCost * _generated[i];
            }

            return given / _weight;
        }
    }
}
