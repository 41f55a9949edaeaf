using InferenceService.Fuzz.Coverage;

namespace InferenceService.Fuzz.Loop;

/// <summary>One input through one target, held to all that must be true of it.</summary>
internal sealed class Trial(FuzzTarget target)
{
    private long _number, _running = -1;

    /// <summary>Reads the input.</summary>
    /// <param name="accepted">It was not refused.</param>
    /// <returns>What is wrong; null = nothing.</returns>
    public Exception? Run(byte[] input, out bool accepted)
    {
        Exception? fault = RunOnce(input, out accepted);
        // What the first input of a kind pays for all, tables and code, the second time does not pay.
        return fault is BudgetException ? RunOnce(input, out accepted) : fault;
    }

    /// <summary>Which input is running, counted from 1; negative between inputs. Any thread.</summary>
    public long Running => Volatile.Read(ref _running);

    /// <summary>Blocks that the last input ran.</summary>
    public long Work { get; private set; }

    /// <summary>The largest share of what it was allowed that an input has allocated, and run.</summary>
    public (double Memory, double Work) Most { get; private set; }

    /// <summary>Where a fault happened: equal faults are reported once.</summary>
    public static string Place(Exception fault)
    {
        string? frame = fault.StackTrace?.Split('\n').FirstOrDefault(line => line.Contains("InferenceService.", StringComparison.Ordinal));
        string what = fault is OracleException or BudgetException ? string.Concat(fault.Message.Where(c => !char.IsDigit(c)).Take(60)) : "";
        return $"{fault.GetType().Name} {frame?.Trim() ?? "nowhere"} {what}".Trim();
    }

    private Exception? RunOnce(byte[] input, out bool accepted)
    {
        accepted = false;
        long before = GC.GetAllocatedBytesForCurrentThread(), work = BlockCounts.Work;
        Volatile.Write(ref _running, ++_number);
        try
        {
            accepted = target.Run(input);
        }
        catch (Exception fault)
        {
            return fault;
        }
        finally
        {
            Volatile.Write(ref _running, -1);
        }

        Work = BlockCounts.Work - work;
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        double memory = (double)allocated / target.MaxAllocated(input.Length), share = (double)Work / target.MaxWork(input.Length);
        if (memory <= 1 && share <= 1)
            Most = (Math.Max(Most.Memory, memory), Math.Max(Most.Work, share));
        if (allocated > target.MaxAllocated(input.Length))
            return new BudgetException($"{input.Length} bytes made it allocate {allocated} (allowed: {target.MaxAllocated(input.Length)})");
        return Work > target.MaxWork(input.Length) ? new BudgetException($"{input.Length} bytes made it run {Work} blocks (allowed: {target.MaxWork(input.Length)})") : null;
    }

    private sealed class BudgetException(string message) : Exception(message);
}
