using System.Buffers;
using System.Net;
using System.Text;
using InferenceService.Server.Api.Requests;

namespace InferenceService.Server.Tests.Api.Requests;

public sealed class BodyMemoryTests
{
    private const int Most = 4 << 20;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void All_bodies_together_stay_within_the_bound_whatever_they_announce(int seed)
    {
        var random = new Random(seed);
        using var memory = new BodyMemory(Most);
        var bodies = new List<BodyBytes>();
        for (int step = 0; step < 2000; step++)
        {
            int which = random.Next(bodies.Count + 1), length = random.Next(1 << random.Next(1, 20));
            if (which == bodies.Count)
                bodies.Add(new BodyBytes(memory, random.NextInt64(1L << 40)));
            else if (random.Next(8) == 0)
            {
                bodies[which].Dispose();
                bodies[which].Dispose(); // gives back once
                bodies.RemoveAt(which);
            }
            else
            {
                int before = bodies[which].Written.Length;
                byte[] more = new byte[length];
                random.NextBytes(more);
                bool taken = bodies[which].TryAppend(new ReadOnlySequence<byte>(more));
                Assert.Equal(taken ? before + length : before, bodies[which].Written.Length);
                if (taken)
                    Assert.True(bodies[which].Written.Span[before..].SequenceEqual(more));
                else
                    Assert.True(bodies.Count > 1 && before + length > BodyMemory.FreeBytes);
            }

            long written = bodies.Sum(body => (long)Math.Max(0, body.Written.Length - BodyMemory.FreeBytes));
            Assert.True(memory.Held >= written);
            Assert.True(memory.Held <= Most || bodies.Count(body => body.Written.Length > BodyMemory.FreeBytes) == 1, $"{memory.Held} bytes are held.");
        }

        bodies.ForEach(body => body.Dispose());
        Assert.Equal(0, memory.Held);
    }

    [Fact]
    public void A_body_that_is_larger_than_the_bound_is_taken_while_it_is_alone()
    {
        using var memory = new BodyMemory(Most);
        using (var alone = new BodyBytes(memory, 0))
        {
            Assert.True(alone.TryAppend(new ReadOnlySequence<byte>(new byte[2 * Most])));
            using var other = new BodyBytes(memory, 0);
            Assert.True(other.TryAppend(new ReadOnlySequence<byte>(new byte[BodyMemory.FreeBytes])));
            Assert.False(other.TryAppend(new ReadOnlySequence<byte>(new byte[1])));
        }

        Assert.Equal(0, memory.Held);
    }

    [Fact]
    public async Task Many_large_bodies_at_once_are_refused_as_overload_and_small_ones_are_answered()
    {
        await using TestServer server = await TestServer.StartAsync("Limits:MaxPendingRequestBytes=1048576");
        BodyMemory memory = server.Service<BodyReader>().Memory;
        using var rest = new SemaphoreSlim(0);
        using var slow = new HalfBody(Body(900_000), rest);
        Task<HttpResponseMessage> first = server.Client.PostAsync(new Uri("/tokenize", UriKind.Relative), slow);
        await Eventually.TrueAsync(() => memory.Held > 400_000); // its first half is there
        using (HttpResponseMessage refused = await PostAsync(server, 900_000))
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
            Assert.NotNull(refused.Headers.RetryAfter);
            Assert.Contains("server_overloaded", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        using (HttpResponseMessage small = await PostAsync(server, 10_000))
            Assert.Equal(HttpStatusCode.OK, small.StatusCode);
        rest.Release();
        using (HttpResponseMessage answered = await first)
            Assert.Equal(HttpStatusCode.OK, answered.StatusCode);
        using (HttpResponseMessage later = await PostAsync(server, 900_000))
            Assert.Equal(HttpStatusCode.OK, later.StatusCode);
        Assert.Equal(0, memory.Held);
    }

    private static async Task<HttpResponseMessage> PostAsync(TestServer server, int length)
    {
        using HttpRequestMessage request = ApiClient.Request("/tokenize", Encoding.UTF8.GetString(Body(length)));
        return await server.Client.SendAsync(request);
    }

    private static byte[] Body(int length) => Encoding.UTF8.GetBytes($"{{\"prompt\":\"{new string(' ', length)}a\"}}");

    /// <summary>A body whose second half waits.</summary>
    private sealed class HalfBody : HttpContent
    {
        private readonly byte[] _bytes;
        private readonly SemaphoreSlim _rest;

        public HalfBody(byte[] bytes, SemaphoreSlim rest)
        {
            (_bytes, _rest) = (bytes, rest);
            Headers.ContentType = new("application/json");
        }

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            await stream.WriteAsync(_bytes.AsMemory(0, _bytes.Length / 2));
            await stream.FlushAsync();
            await _rest.WaitAsync();
            await stream.WriteAsync(_bytes.AsMemory(_bytes.Length / 2));
        }

        protected override bool TryComputeLength(out long length)
        {
            length = _bytes.Length;
            return true;
        }
    }
}
