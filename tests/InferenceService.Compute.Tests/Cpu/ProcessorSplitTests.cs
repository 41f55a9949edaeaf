using System.Globalization;
using InferenceService.Compute.Cpu;

namespace InferenceService.Compute.Tests.Cpu;

public sealed class ProcessorSplitTests
{
    private static readonly Func<int, string> OneEach = processor => $"{processor}";
    private static readonly Func<int, string> PairsOfFour = processor => $"{processor % 4}";

    [Theory]
    [InlineData(1, "1", "0")]
    [InlineData(2, "", "")]
    [InlineData(3, "", "")]
    public void Two_cores(int threads, string compute, string others) => Check(ProcessorSplit.Of(threads, [0, 1], OneEach), compute, others);

    [Theory]
    [InlineData(1, "3", "0-2,4-6")]
    [InlineData(3, "1-3", "0,4")]
    [InlineData(4, "0-3", "4-7")] // no core is left whole: the others get the siblings
    [InlineData(6, "0-3,6-7", "4-5")]
    [InlineData(8, "", "")]
    public void Four_cores_of_two_processors(int threads, string compute, string others) =>
        Check(ProcessorSplit.Of(threads, [0, 1, 2, 3, 4, 5, 6, 7], PairsOfFour), compute, others);

    [Fact]
    public void Both_sides_together_never_exceed_what_is_allowed_and_never_meet()
    {
        int[] allowed = [1, 2, 5, 6, 8, 64, 65];
        for (int threads = 1; threads < allowed.Length; threads++)
        {
            ProcessorSplit split = ProcessorSplit.Of(threads, allowed, PairsOfFour)!;
            Assert.Equal(threads, split.Compute.Count);
            Assert.NotEmpty(split.Others);
            Assert.Empty(split.Compute.Intersect(split.Others));
            Assert.Empty(split.Compute.Concat(split.Others).Except(allowed));
        }
    }

    [Fact]
    public void A_system_that_tells_no_processors_is_not_split() => Assert.Null(ProcessorSplit.Of(1, [], OneEach));

    [Theory]
    [InlineData("0-3", "0-7", double.PositiveInfinity, true)]
    [InlineData("0-3", "0-7", 4, true)]
    [InlineData("0-3", "0-7", 3.5, false)] // stopped for a while in every period, whichever it uses
    [InlineData("0-7", "0-7", double.PositiveInfinity, false)] // everybody's
    [InlineData("0-7", "0-7", 4, false)]
    [InlineData("", "0-7", double.PositiveInfinity, false)]
    [InlineData("0-3", "", double.PositiveInfinity, false)]
    public void Processors_are_own_when_they_were_dealt_out(string allowed, string online, double quota, bool own) =>
        Assert.Equal(own, ProcessorSplit.IsOwn(UsableCores.ParseList(allowed), UsableCores.ParseList(online), quota));

    [Fact]
    public void A_thread_is_kept_where_it_is_told()
    {
        int last = UsableCores.Allowed.Count > 0 ? UsableCores.Allowed[^1] : -1;
        bool kept = false;
        string where = "";
        var thread = new Thread(() =>
        {
            kept = last >= 0 && ThreadPlacement.TryKeepThread([last]);
            where = kept ? File.ReadAllText("/proc/thread-self/status") : "";
        });
        thread.Start();
        thread.Join();
        Assert.Equal(OperatingSystem.IsLinux(), kept);
        if (kept)
            Assert.Equal([last], UsableCores.AllowedProcessors(where));
    }

    [Fact]
    public void A_processor_that_does_not_exist_is_refused() => Assert.False(ThreadPlacement.TryKeepThread([1000]));

    private static void Check(ProcessorSplit? split, string compute, string others)
    {
        Assert.Equal(compute, split is null ? "" : ProcessorSplit.Text(split.Compute));
        Assert.Equal(others, split is null ? "" : ProcessorSplit.Text(split.Others));
        if (split is not null)
            Assert.Equal(split.Compute, UsableCores.ParseList(string.Create(CultureInfo.InvariantCulture, $"{ProcessorSplit.Text(split.Compute)}")));
    }
}
