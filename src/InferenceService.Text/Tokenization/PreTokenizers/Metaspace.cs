namespace InferenceService.Text.Tokenization.PreTokenizers;

/// <summary>The settings that "Metaspace" has as a pre-tokenizer and as a decoder.</summary>
/// <param name="Replacement">One character, usually U+2581.</param>
internal sealed record Metaspace(string Replacement, PrependScheme Scheme, bool Split)
{
    public static Metaspace Read(JsonPart part)
    {
        string replacement = part.Optional("replacement")?.Character() ?? "\u2581";
        PrependScheme? scheme = null;
        if (part.Optional("prepend_scheme") is { } field)
        {
            string name = field.String();
            scheme = name switch
            {
                "always" => PrependScheme.Always,
                "first" => PrependScheme.First,
                "never" => PrependScheme.Never,
                _ => throw field.Error($"is {JsonPart.Quote(name)}; it must be always, first or never"),
            };
        }

        // Files from before prepend_scheme say it with add_prefix_space; one that says both must not contradict itself.
        if (!part.Bool("add_prefix_space", true))
        {
            if (scheme is not (null or PrependScheme.Never))
                throw part.Error("has add_prefix_space false, which contradicts its prepend_scheme");
            scheme = PrependScheme.Never;
        }

        return new Metaspace(replacement, scheme ?? PrependScheme.Always, part.Bool("split", true));
    }
}
