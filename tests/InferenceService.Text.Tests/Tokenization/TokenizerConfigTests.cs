using System.Text;
using InferenceService.Text.Tokenization;

namespace InferenceService.Text.Tests.Tokenization;

public sealed class TokenizerConfigTests : IDisposable
{
    private const string Tiny = """
        {"added_tokens":[{"id":3,"content":"<s>","special":true},{"id":4,"content":"</s>","special":true},{"id":5,"content":"<tool>"}],
         "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
            "special_tokens":{"<s>":{"id":"<s>","ids":[3],"tokens":["<s>"]}}},
         "model":{"type":"BPE","vocab":{"a":0,"b":1,"<pad>":2},"merges":[]}}
        """;

    private readonly string _folder = Directory.CreateTempSubdirectory("tokenizer-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Roles_are_strings_or_objects()
    {
        Tokenizer tokenizer = Read("""
            {"bos_token":"<s>","eos_token":{"__type":"AddedToken","content":"</s>","lstrip":false,"special":true},"pad_token":null,"unk_token":"nowhere",
             "model_max_length":4096}
            """);
        Assert.Equal("<s>", tokenizer.BosToken);
        Assert.Equal(3, tokenizer.BosId);
        Assert.Equal("</s>", tokenizer.EosToken);
        Assert.Equal(4, tokenizer.EosId);
        Assert.Null(tokenizer.PadToken);
        Assert.Null(tokenizer.PadId);
        Assert.Equal("nowhere", tokenizer.UnkToken);
        Assert.Null(tokenizer.UnkId);
        Assert.Equal(4096, tokenizer.ModelMaxLength);
    }

    [Fact]
    public void Without_a_configuration_there_are_no_roles()
    {
        Tokenizer tokenizer = Tokenizer.FromJson(Encoding.UTF8.GetBytes(Tiny));
        Assert.Null(tokenizer.BosId);
        Assert.Null(tokenizer.EosToken);
        Assert.Null(tokenizer.ChatTemplate);
        Assert.Empty(tokenizer.NamedChatTemplates);
        Assert.Null(tokenizer.ModelMaxLength);
    }

    [Fact]
    public void A_length_that_means_no_limit_is_none()
    {
        Assert.Null(Read("""{"model_max_length":1000000000000000019884624838656}""").ModelMaxLength);
    }

    [Theory]
    [InlineData("{}", "3 0")]
    [InlineData("""{"bos_token":"<s>","add_bos_token":true}""", "3 0")]
    [InlineData("""{"bos_token":"<s>","add_bos_token":false}""", "0")]
    [InlineData("""{"bos_token":"<s>","eos_token":"</s>","add_bos_token":true,"add_eos_token":true}""", "3 0 4")]
    [InlineData("""{"bos_token":"<s>","eos_token":"</s>","add_eos_token":true}""", "0 4")]
    [InlineData("""{"bos_token":"<s>","eos_token":"</s>","add_eos_token":true,"tokenizer_class":"LlamaTokenizerFast"}""", "3 0 4")]
    [InlineData("""{"bos_token":"</s>","tokenizer_class":"GemmaTokenizer"}""", "4 0")]
    [InlineData("""{"add_bos_token":true}""", "0")]
    public void Add_bos_and_eos_replace_the_post_processor_when_they_are_set(string config, string expected)
    {
        Tokenizer tokenizer = Read(config);
        Assert.Equal(expected, string.Join(' ', tokenizer.Encode("a", addSpecialTokens: true)));
        Assert.Equal([0], tokenizer.Encode("a", addSpecialTokens: false));
    }

    [Fact]
    public void Its_added_tokens_come_on_top_and_their_flags_win()
    {
        Tokenizer tokenizer = Read("""
            {"added_tokens_decoder":{"5":{"content":"<tool>","rstrip":true,"special":true},"6":{"content":"<new>","special":true}},"pad_token":"<pad>"}
            """);
        Assert.Equal([5, 0], tokenizer.Encode("<tool>  a", false));
        Assert.True(tokenizer.IsSpecial(5));
        Assert.Equal([6], tokenizer.Encode("<new>", false));
        Assert.Equal(7, tokenizer.VocabularySize);

        // A role makes a control token of what was only in the vocabulary.
        Assert.Equal([0, 2, 1], tokenizer.Encode("a<pad>b", false));
        Assert.True(tokenizer.IsSpecial(2));
    }

    [Fact]
    public void Chat_templates_have_one_name_or_many()
    {
        Assert.Equal("T", Read("""{"chat_template":"T"}""").ChatTemplate);
        Tokenizer named = Read("""{"chat_template":[{"name":"tool_use","template":"U"},{"name":"default","template":"D"}]}""");
        Assert.Equal("D", named.ChatTemplate);
        Assert.Equal("U", named.NamedChatTemplates["tool_use"]);
        Assert.Equal("only", Read("""{"chat_template":[{"name":"rag","template":"only"}]}""").ChatTemplate);
    }

    [Fact]
    public void A_folder_is_read_with_its_template_files()
    {
        Write("tokenizer.json", Tiny);
        Assert.Null(Tokenizer.Load(_folder).ChatTemplate);
        Write("chat_template.json", """{"chat_template":"from json"}""");
        Assert.Equal("from json", Tokenizer.Load(_folder).ChatTemplate);
        Write("tokenizer_config.json", """{"chat_template":"from config","bos_token":"<s>"}""");
        Assert.Equal("from config", Tokenizer.Load(_folder).ChatTemplate);
        Write("chat_template.jinja", "\uFEFFfrom jinja\n");
        Directory.CreateDirectory(Path.Combine(_folder, "additional_chat_templates"));
        Write("additional_chat_templates/tool_use.jinja", "tools");
        Write("special_tokens_map.json", """{"bos_token":"</s>","eos_token":"</s>"}""");
        Tokenizer tokenizer = Tokenizer.Load(_folder);
        Assert.Equal("from jinja\n", tokenizer.ChatTemplate);
        Assert.Equal("tools", tokenizer.NamedChatTemplates["tool_use"]);
        Assert.Equal("<s>", tokenizer.BosToken);
        Assert.Equal("</s>", tokenizer.EosToken);
    }

    [Fact]
    public void A_folder_without_a_tokenizer_is_named()
    {
        TokenizerException e = Assert.Throws<TokenizerException>(() => Tokenizer.Load(_folder));
        Assert.Contains("no tokenizer.json", e.Message, StringComparison.Ordinal);
        Assert.Throws<TokenizerException>(() => Tokenizer.Load(Path.Combine(_folder, "nowhere")));
    }

    [Theory]
    [InlineData("", "is not valid JSON")]
    [InlineData("[1]", "must be an object")]
    [InlineData("""{"bos_token":7}""", "bos_token must be a string")]
    [InlineData("""{"bos_token":{"text":"x"}}""", "bos_token has no content")]
    [InlineData("""{"add_bos_token":"yes"}""", "add_bos_token must be true or false")]
    [InlineData("""{"model_max_length":"long"}""", "model_max_length must be a number")]
    [InlineData("""{"chat_template":7}""", "chat_template must be an array")]
    [InlineData("""{"chat_template":[{"name":"x"}]}""", "chat_template[0] has no template")]
    [InlineData("""{"added_tokens_decoder":[]}""", "added_tokens_decoder must be an object")]
    [InlineData("""{"added_tokens_decoder":{"x":{"content":"y"}}}""", "has the id \"x\"")]
    [InlineData("""{"added_tokens_decoder":{"99999999":{"content":"y"}}}""", "from 0 to")]
    [InlineData("""{"additional_special_tokens":"x"}""", "additional_special_tokens must be an array")]
    public void A_damaged_configuration_names_its_field(string config, string expected)
    {
        Write("tokenizer.json", Tiny);
        Write("tokenizer_config.json", config);
        TokenizerException e = Assert.Throws<TokenizerException>(() => Tokenizer.Load(_folder));
        Assert.Contains("tokenizer_config.json", e.Message, StringComparison.Ordinal);
        Assert.Contains(expected, e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', e.Message);
    }

    private static Tokenizer Read(string config) => Tokenizer.FromJson(Encoding.UTF8.GetBytes(Tiny), Encoding.UTF8.GetBytes(config));

    private void Write(string name, string text) => File.WriteAllText(Path.Combine(_folder, name), text);
}
