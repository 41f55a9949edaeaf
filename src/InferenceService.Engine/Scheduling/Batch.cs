namespace InferenceService.Engine.Scheduling;

/// <summary>Who runs this step, and which token range of each: the scheduler's only output. Reused from step to step.</summary>
internal sealed class Batch(int maxSequences)
{
    private readonly BatchItem[] _items = new BatchItem[maxSequences];
    private int _count;

    /// <summary>Sequences of the step; one that shares another's prompt stands right behind it.</summary>
    public Span<BatchItem> Items => _items.AsSpan(0, _count);

    /// <summary>Tokens of the step.</summary>
    public int Tokens { get; private set; }

    /// <summary>What the step costs of the token budget: <see cref="Tokens"/>, those that go several times through some layers counted as often.</summary>
    public int Cost { get; private set; }

    /// <summary>Ranges of more than one token.</summary>
    public int Chunks { get; private set; }

    /// <summary>Logit rows of the step.</summary>
    public int LogitRows { get; private set; }

    /// <summary>Free blocks that compression after the step may take before it frees any; nobody else may have them.</summary>
    public int Reserved { get; set; }

    /// <summary>Nobody runs.</summary>
    public bool IsEmpty => _count == 0;

    /// <summary>Number of the step it is for.</summary>
    public long Step { get; set; }

    /// <summary>The sequence was put into this step, though it may have been taken out again.</summary>
    public bool Saw(Sequence sequence) => sequence.ScheduledStep == Step;

    /// <summary>Empties the batch.</summary>
    public void Clear()
    {
        Items.Clear();
        (_count, Tokens, Cost, Chunks, LogitRows, Reserved) = (0, 0, 0, 0, 0, 0);
    }

    /// <summary>Adds the next <paramref name="count"/> tokens of a sequence.</summary>
    public void Add(Sequence sequence, int count, int cost, int logitRows, bool samples)
    {
        _items[_count++] = new BatchItem { Sequence = sequence, Start = sequence.Computed, Count = count, Cost = cost, LogitRows = logitRows, Samples = samples };
        Tokens += count;
        Cost += cost;
        Chunks += count > 1 ? 1 : 0;
        LogitRows += logitRows;
    }

    /// <summary>Adds a choice that computes nothing and samples from the last row of the sequence added before it.</summary>
    public void AddRider(Sequence rider, bool samples) => _items[_count++] = new BatchItem { Sequence = rider, Samples = samples };

    /// <summary>Counts the tokens that will be sampled against those who asked for them.</summary>
    public void ChargeTokens() => Charge(ClientShare.OutputCost);

    /// <summary>Takes back what <see cref="ChargeTokens"/> counted: they will not be sampled.</summary>
    public void RefundTokens() => Charge(-ClientShare.OutputCost);

    /// <summary>Tokens of a sequence in this step; 0 = none.</summary>
    public int TokensOf(Sequence sequence)
    {
        foreach (ref readonly BatchItem item in Items)
            if (item.Sequence == sequence)
                return item.Count;
        return 0;
    }

    private void Charge(int cost)
    {
        foreach (ref readonly BatchItem item in Items)
            if (item.Samples)
                item.Sequence.Generation.Client.Charge(cost);
    }

    /// <summary>Takes a sequence out again; false when it is not there.</summary>
    public bool Remove(Sequence sequence)
    {
        for (int i = 0; i < _count; i++)
        {
            if (_items[i].Sequence != sequence)
                continue;
            Tokens -= _items[i].Count;
            Cost -= _items[i].Cost;
            Chunks -= _items[i].Count > 1 ? 1 : 0;
            LogitRows -= _items[i].LogitRows;
            Items[(i + 1)..].CopyTo(_items.AsSpan(i));
            _items[--_count] = default;
            return true;
        }

        return false;
    }
}

/// <summary>One sequence of a step.</summary>
internal struct BatchItem
{
    /// <summary>Whose tokens.</summary>
    public Sequence Sequence;

    /// <summary>First token of the range, which is also its position.</summary>
    public int Start;

    /// <summary>Tokens of the range; 0 = a rider, which shares the blocks and the last row of the item before it.</summary>
    public int Count;

    /// <summary>What the range costs of the token budget.</summary>
    public int Cost;

    /// <summary>Last rows of the range whose logits are wanted.</summary>
    public int LogitRows;

    /// <summary>Row in the step's logits of the first of them; set when the batch is packed.</summary>
    public int FirstLogit;

    /// <summary>A token is sampled from the last row.</summary>
    public bool Samples;

    /// <summary>Position behind the range: where a token sampled from its last row stands.</summary>
    public readonly int End => Start + Count;

    /// <summary>The token sampled is the last that its request allows.</summary>
    public readonly bool EndsByLength => Samples && End + 1 - Sequence.PromptLength >= Sequence.Request.MaxTokens;

    /// <summary>Computes nothing itself.</summary>
    public readonly bool IsRider => Count == 0;
}
