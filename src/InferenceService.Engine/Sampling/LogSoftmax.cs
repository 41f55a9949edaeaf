using System.Numerics;

namespace InferenceService.Engine.Sampling;

/// <summary>Log-probabilities of a row of logits, and its most likely tokens.</summary>
internal static class LogSoftmax
{
    /// <summary>What stands for a log-probability that is not finite.</summary>
    public const float NotFinite = -9999f;

    /// <summary>Log-probability of one token and the <paramref name="top"/> most likely ones.</summary>
    /// <param name="logits">[vocabulary]; −∞ = impossible.</param>
    /// <param name="chosen">Token to report.</param>
    /// <param name="top">How many alternatives; at most the vocabulary.</param>
    public static TokenLogprobs Report(ReadOnlySpan<float> logits, int chosen, int top)
    {
        top = Math.Min(top, logits.Length);
        double normaliser = LogSumExp(logits);
        int[] ids = new int[top];
        float[] values = new float[top];
        Select(logits, ids, values);
        for (int i = 0; i < top; i++)
            values[i] = Finite(values[i] - normaliser);
        return new TokenLogprobs(Finite(logits[chosen] - normaliser), ids, values);
    }

    /// <summary>ln Σ exp(logit); exact to float rounding, summed in double.</summary>
    public static double LogSumExp(ReadOnlySpan<float> logits)
    {
        float max = LogitRow.Max(logits);
        if (!float.IsFinite(max))
            return max;
        Vector<double> sums = Vector<double>.Zero;
        int i = 0;
        for (; i <= logits.Length - Vector<float>.Count; i += Vector<float>.Count)
        {
            Vector.Widen(Vector.Exp(new Vector<float>(logits[i..]) - new Vector<float>(max)), out Vector<double> low, out Vector<double> high);
            sums += low + high;
        }

        double sum = Vector.Sum(sums);
        for (; i < logits.Length; i++)
            sum += Math.Exp(logits[i] - max);
        return max + Math.Log(sum);
    }

    /// <summary>The highest logits, highest first, ties by lower id: a sorted window for a few, a full sort for many.</summary>
    private static void Select(ReadOnlySpan<float> logits, int[] ids, float[] values)
    {
        const int few = 128;
        if (ids.Length > few)
        {
            float[] negated = new float[logits.Length];
            int[] all = new int[logits.Length];
            for (int id = 0; id < logits.Length; id++)
                (negated[id], all[id]) = (-logits[id], id);
            Array.Sort(all, (a, b) => negated[a] != negated[b] ? negated[a].CompareTo(negated[b]) : a.CompareTo(b));
            for (int i = 0; i < ids.Length; i++)
                (ids[i], values[i]) = (all[i], logits[all[i]]);
            return;
        }

        int count = 0;
        for (int id = 0; id < logits.Length; id++)
        {
            if (count == ids.Length && count > 0 && id % Vector<float>.Count == 0)
            {
                // The window is full: whole vectors that hold nothing higher than its lowest are passed over.
                while (id <= logits.Length - Vector<float>.Count && Vector.LessThanOrEqualAll(new Vector<float>(logits[id..]), new Vector<float>(values[count - 1])))
                    id += Vector<float>.Count;
                if (id == logits.Length)
                    break;
            }

            float logit = logits[id];
            if (count == ids.Length && (count == 0 || !(logit > values[count - 1])))
                continue;
            int place = count < ids.Length ? count++ : count - 1;
            for (; place > 0 && logit > values[place - 1]; place--)
                (ids[place], values[place]) = (ids[place - 1], values[place - 1]);
            (ids[place], values[place]) = (id, logit);
        }
    }

    private static float Finite(double logprob) => double.IsFinite(logprob) ? (float)logprob : NotFinite;
}
