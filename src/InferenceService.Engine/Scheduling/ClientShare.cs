namespace InferenceService.Engine.Scheduling;

/// <summary>One of those who share the engine: what it was given so far, what of it waits for its first turn, and what it holds at the door.</summary>
/// <remarks>The counts at the door may be changed by any thread; everything else belongs to the engine thread.</remarks>
internal sealed class ClientShare(int number)
{
    /// <summary>What a generated token counts against one of a prompt: it takes a step of its own.</summary>
    public const int OutputCost = 2;

    private long _atDoor; // choices << 32 | tokens

    /// <summary>Its number; 0 = nobody tells callers apart.</summary>
    public int Number { get; } = number;

    /// <summary>How much of the engine is its due, against the weights of the others.</summary>
    public double Weight { get; set; } = 1;

    /// <summary>
    /// What it was given, over its weight: prompt tokens that were computed for it and <see cref="OutputCost"/> for each token generated.
    /// Raised to that of the others when it comes back, so that being away saves nothing up.
    /// </summary>
    public double Served { get; set; }

    /// <summary>Its sequences that were never in a batch, in their order.</summary>
    public SequenceList Waiting { get; } = new();

    /// <summary>Any thread: choices accepted and not yet admitted.</summary>
    public int ChoicesAtDoor => (int)(Volatile.Read(ref _atDoor) >> 32);

    /// <summary>It was given so much.</summary>
    public void Charge(int cost) => Served += cost / Weight;

    /// <summary>Any thread: counts choices and tokens at the door if they stay within the limits; with nothing there they always do.</summary>
    public bool TryReserve(int choices, int tokens, long mostChoices, long mostTokens)
    {
        while (true)
        {
            long before = Volatile.Read(ref _atDoor);
            long choicesAfter = (before >> 32) + choices, tokensAfter = (before & uint.MaxValue) + tokens;
            if (before != 0 && (choicesAfter > mostChoices || tokensAfter > mostTokens))
                return false;
            if (Interlocked.CompareExchange(ref _atDoor, (choicesAfter << 32) | tokensAfter, before) == before)
                return true;
        }
    }

    /// <summary>Any thread: choices and tokens that wait no longer.</summary>
    public void Unreserve(int choices, int tokens) => Interlocked.Add(ref _atDoor, -(((long)choices << 32) + tokens));
}
