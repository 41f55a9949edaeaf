using System.Runtime.InteropServices;
using InferenceService.Compute;
using InferenceService.Engine.Scheduling;
using InferenceService.Models;

namespace InferenceService.Engine.Sampling;

/// <summary>Turns logits into one token for every sequence whose known tokens are all computed.</summary>
/// <remarks>
/// Order: raw logits (log-probabilities are reported from here unless asked otherwise), allowed tokens, bad words, minimum length,
/// bias, repetition, frequency and presence, temperature, min-p, top-k, top-p, draw. A row is looked at alone: nothing depends on
/// the batch. Allocates only the log-probabilities that a request asks for. Engine thread only.
/// </remarks>
internal sealed class Sampler
{
    private readonly IBackend _backend;
    private readonly ILogitsProcessor[] _processors;
    private readonly StopRule _stop;
    private readonly Candidates _candidates;
    private readonly TopK _topK;
    private readonly TopP _topP;
    private readonly DeviceSampler? _device;
    private readonly float[] _row;
    private readonly float[] _work;

    /// <summary>A sampler for one model.</summary>
    public Sampler(ModelConfig config, IBackend backend)
    {
        int vocabulary = config.VocabularySize;
        var cut = new PrefixCut();
        _backend = backend;
        _processors =
        [
            new AllowedTokens(vocabulary), new BadWords(), new MinTokens(config.EosTokenIds), new TokenBias(),
            new RepetitionPenalty(), new OccurrencePenalty(),
        ];
        _stop = new StopRule(config.EosTokenIds);
        _candidates = new Candidates(vocabulary);
        (_topK, _topP) = (new TopK(cut, vocabulary), new TopP(cut, vocabulary));
        _device = backend.ChoosesTokens ? new DeviceSampler(backend) : null;
        (_row, _work) = (new float[vocabulary], new float[vocabulary]);
    }

    /// <summary>
    /// Samples for the whole batch, except for rows that are left to the device: their tokens come with <see cref="End"/>. A row that cannot
    /// be used ends its own sequence with an error and no other.
    /// </summary>
    /// <param name="batch">Packed.</param>
    /// <param name="logits">f32 [rows, vocabulary].</param>
    /// <param name="nextIds">i32 [1, rows]: gets the ids of those who go on, in the order of the batch, where all are left to the device.</param>
    /// <param name="ahead">The tokens before are not known yet: only the device can sample, and a refusal is thrown.</param>
    /// <returns>Rows left to the device.</returns>
    public int Begin(Batch batch, Tensor logits, Tensor nextIds, bool ahead = false)
    {
        _device?.Forget(); // of a step that was taken back
        int next = 0;
        foreach (ref readonly BatchItem item in batch.Items)
        {
            Sequence sequence = item.Sequence;
            if (sequence.Finish != FinishReason.None)
                continue;
            try
            {
                ReportPrompt(item, logits);
                int row = item.FirstLogit + item.LogitRows - 1;
                if (item.Samples)
                {
                    // A second choice from the same row is the host's.
                    if (_device is not null && !item.IsRider && _device.TryAdd(sequence, row, item.End, item.EndsByLength ? -1 : next++))
                        continue;
                    if (ahead)
                        throw new InvalidOperationException("A row of a step called ahead was not left to the device, and its tokens are not known here.");
                    Take(sequence, Choose(sequence, Row(logits, row)));
                }
                else if (sequence.Remaining == 0)
                    sequence.Finish = FinishReason.Length; // MaxTokens = 0: only the prompt was wanted
            }
            catch (Exception failure) when (IsItsOwn(failure))
            {
                Fail(sequence, failure);
            }
        }

        // Last, because it changes the rows that it chooses from.
        int left = _device?.Count ?? 0;
        if (left == 0)
            return 0;
        try
        {
            _device!.Start(logits, nextIds);
            return left;
        }
        catch (Exception cause) when (!ahead && DeviceException.Refuses(cause))
        {
            TakeOnHost(logits);
            return 0;
        }
    }

    /// <summary>The device refuses to sample: the host does, from the same rows and with the same outcome.</summary>
    private void TakeOnHost(Tensor logits)
    {
        for (int i = 0; i < _device!.Count; i++)
        {
            (Sequence sequence, int row) = _device.Taken(i);
            try
            {
                Take(sequence, Choose(sequence, Row(logits, row)));
            }
            catch (Exception failure) when (IsItsOwn(failure))
            {
                Fail(sequence, failure);
            }
        }

        _device.Forget();
    }

    /// <summary>The row's fault, and nobody else's.</summary>
    private static bool IsItsOwn(Exception failure) => failure is ArithmeticException or ArgumentException or IndexOutOfRangeException or OutOfMemoryException;

    private static void Fail(Sequence sequence, Exception failure) => sequence.Fail($"sampling failed: {failure.Message}");

    /// <summary>Waits for the rows that the oldest <see cref="Begin"/> left to the device. Whoever ended meanwhile gets none.</summary>
    public void End()
    {
        if (_device is null)
            return;
        ReadOnlySpan<int> tokens = _device.Finish(out ReadOnlySpan<Sequence> sequences);
        for (int i = 0; i < tokens.Length; i++)
        {
            Sequence sequence = sequences[i];
            if (sequence.Finish != FinishReason.None)
                continue;
            if (tokens[i] == TokenOrder.NotNumbers)
                FailOnNumbers(sequence);
            else if (tokens[i] == TokenOrder.NothingAllowed)
                FailOnMasks(sequence);
            else
                Take(sequence, tokens[i]);
        }
    }

    /// <summary>The next token of a sequence, or −1 after <see cref="Sequence.Fail"/>.</summary>
    /// <param name="sequence">Its parameters and its past.</param>
    /// <param name="raw">[vocabulary]; unchanged.</param>
    internal int Choose(Sequence sequence, ReadOnlySpan<float> raw)
    {
        SamplingParams sampling = sequence.Sampling.Params;
        if (!LogitRow.AllBelowInfinity(raw))
        {
            FailOnNumbers(sequence);
            return -1;
        }

        if (sequence.GeneratedCount < sampling.ForcedTokens.Length)
            return Force(sequence, sampling.ForcedTokens.Span[sequence.GeneratedCount], raw);
        ReadOnlySpan<float> processed = Process(sequence, raw);
        int token;
        if (sequence.Sampling.IsGreedy)
        {
            token = processed.IndexOf(LogitRow.Max(processed));
        }
        else
        {
            _candidates.Fill(processed, Math.Max(sampling.Temperature, SamplingParams.LowestTemperature));
            token = Draw(sequence);
        }

        if (token < 0 || processed[token] == float.NegativeInfinity)
        {
            FailOnMasks(sequence);
            return -1;
        }

        if (sampling.TopLogprobs >= 0)
            sequence.Logprobs = LogSoftmax.Report(Reported(sequence, raw, processed), token, sampling.TopLogprobs);
        return token;
    }

    private static int Force(Sequence sequence, int token, ReadOnlySpan<float> raw)
    {
        if (sequence.Sampling.Params.TopLogprobs >= 0)
            sequence.Logprobs = LogSoftmax.Report(raw, token, sequence.Sampling.Params.TopLogprobs);
        return token;
    }

    private static void FailOnNumbers(Sequence sequence) => sequence.Fail("the model returned logits that are not numbers");

    private static void FailOnMasks(Sequence sequence) =>
        sequence.Fail("no token may follow: every one is masked by the request's own restrictions", FinishReason.NothingAllowed);

    private void Take(Sequence sequence, int token)
    {
        if (token < 0)
            return;
        sequence.Append(token);
        sequence.Sampling.Counts?.AddGenerated(token);
        sequence.Finish = _stop.Check(sequence);
    }

    private ReadOnlySpan<float> Process(Sequence sequence, ReadOnlySpan<float> raw)
    {
        bool copied = false;
        foreach (ILogitsProcessor processor in _processors)
        {
            if (!processor.Applies(sequence))
                continue;
            if (!copied)
                raw.CopyTo(_work);
            copied = true;
            processor.Apply(sequence, _work);
        }

        return copied ? _work : raw;
    }

    private int Draw(Sequence sequence)
    {
        if (_candidates.Count == 0)
            return -1;
        SamplingParams sampling = sequence.Sampling.Params;
        MinP.Apply(_candidates, sampling.MinP);
        _topK.Apply(_candidates, sampling.TopK);
        _topP.Apply(_candidates, sampling.TopP);
        return _candidates.Draw(sequence.Sampling.Key, sequence.TokenCount);
    }

    /// <summary>Where log-probabilities come from: the raw row, or the distribution that was drawn from.</summary>
    private ReadOnlySpan<float> Reported(Sequence sequence, ReadOnlySpan<float> raw, ReadOnlySpan<float> processed)
    {
        if (!sequence.Sampling.Params.ProcessedLogprobs)
            return raw;
        return sequence.Sampling.IsGreedy ? processed : _candidates.Row();
    }

    private void ReportPrompt(in BatchItem item, Tensor logits)
    {
        Generation generation = item.Sequence.Generation;
        if (item.IsRider || !generation.NeedsPromptLogprobs)
            return;
        for (int row = 0; row < item.LogitRows; row++)
        {
            int position = item.Start + item.Count - item.LogitRows + row + 1;
            if (position == generation.PromptLogprobsDone && position < item.Sequence.PromptLength)
            {
                generation.SetPromptLogprobs(position, LogSoftmax.Report(
                    Row(logits, item.FirstLogit + row), item.Sequence.Tokens[position], item.Sequence.Sampling.Params.PromptLogprobs));
            }
        }
    }

    private ReadOnlySpan<float> Row(Tensor logits, int row) =>
        MemoryMarshal.Cast<byte, float>(_backend.Read(logits.RowRange(row, 1), MemoryMarshal.AsBytes(_row.AsSpan())));
}
