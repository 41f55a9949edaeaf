namespace InferenceService.Server.Security;

/// <summary>So much a minute, given back steadily: a minute's worth may be used at once, and the next as fast as it comes back. Any thread.</summary>
/// <remarks>
/// A token bucket. The one in System.Threading.RateLimiting can neither take back nor add what a request turned out to use after its lease, nor
/// tell when it is full again, nor be given a clock.
/// </remarks>
internal sealed class MinuteBudget(int perMinute, TimeProvider time)
{
    // Refilling is in fractions; less than that is missing to nobody.
    private const double Nothing = 1e-6;

    private readonly Lock _lock = new();
    private double _left = perMinute; // below zero when requests used more than they had asked for
    private long _at = time.GetTimestamp();

    /// <summary>What a minute gives, and the most that can be left.</summary>
    public int PerMinute => perMinute;

    /// <summary>What is left, and how long until all is there again.</summary>
    public (int Left, TimeSpan UntilFull) State
    {
        get
        {
            lock (_lock)
            {
                Refill();
                return ((int)Math.Clamp(Math.Floor(_left + Nothing), 0, perMinute), TimeToGain(perMinute - _left));
            }
        }
    }

    /// <summary>Takes an amount; who asks for more than a minute gives needs all of a minute's.</summary>
    /// <param name="amount">At least 0.</param>
    /// <param name="taken">What was taken.</param>
    /// <param name="wait">When false: time after which it succeeds if nobody else takes any.</param>
    public bool TryTake(long amount, out int taken, out TimeSpan wait)
    {
        int wanted = (int)Math.Min(amount, perMinute);
        lock (_lock)
        {
            Refill();
            bool enough = _left + Nothing >= wanted;
            taken = enough ? wanted : 0;
            _left -= taken;
            wait = enough ? TimeSpan.Zero : TimeToGain(wanted - _left);
            return enough;
        }
    }

    /// <summary>Gives back what was taken too much; below zero takes what was taken too little.</summary>
    public void Correct(long surplus)
    {
        lock (_lock)
        {
            Refill();
            _left = Math.Min(perMinute, _left + surplus);
        }
    }

    private void Refill()
    {
        long now = time.GetTimestamp();
        _left = Math.Min(perMinute, _left + (time.GetElapsedTime(_at, now).TotalMinutes * perMinute));
        _at = now;
    }

    private TimeSpan TimeToGain(double amount) => amount <= Nothing ? TimeSpan.Zero : TimeSpan.FromMinutes(amount / perMinute);
}
