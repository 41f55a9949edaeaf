using InferenceService.Server.Configuration;
using InferenceService.Server.Hub;

namespace InferenceService.Server.Tests.Hub;

/// <summary>Addresses that a hub, or whoever answers in its place, leads to.</summary>
public sealed class HubAddressTests
{
    // Too long in ASCII: Uri takes it, and throws when its name is asked for.
    private static readonly string Nameless = "https://\u00E9" + string.Concat(Enumerable.Repeat(".example", 40)) + "/x";
    private static readonly Uri Here = new("https://hub.example/api/");

    [Theory]
    [InlineData("next", "https://hub.example/api/next")]
    [InlineData("/x", "https://hub.example/x")]
    [InlineData("//cdn.example/x", "https://cdn.example/x")]
    [InlineData("http://\u00E9t\u00E9.example/", "http://\u00E9t\u00E9.example/")]
    [InlineData("ftp://hub.example/x", null)]
    [InlineData("file:///etc/passwd", null)]
    [InlineData("https://", null)]
    [InlineData(null, null)]
    public void What_can_be_asked_is_followed(string? location, string? expected) => Assert.Equal(expected, HubAddress.Follow(Here, location)?.OriginalString);

    [Fact]
    public void A_host_is_not_longer_than_names_are()
    {
        string most = $"https://{new string('a', 61)}.{new string('b', 63)}.{new string('c', 63)}.{new string('d', 63)}/";
        Assert.NotNull(HubAddress.Follow(Here, most));
        Assert.Null(HubAddress.Follow(Here, most.Replace("//", "//a", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_host_without_a_name_in_ASCII_leads_nowhere()
    {
        Assert.True(Uri.TryCreate(Nameless, UriKind.Absolute, out Uri? address));
        Assert.Throws<UriFormatException>(() => address.IdnHost);
        Assert.Null(HubAddress.Follow(Here, Nameless));
        var problems = new List<string>();
        HubSettings.Check(new HubOptions { Endpoint = Nameless }, new ProcessEnvironment { Variables = new Dictionary<string, string>() }, problems, key => key);
        Assert.EndsWith("is not an address such as https://huggingface.co", Assert.Single(problems), StringComparison.Ordinal);
    }
}
