using InferenceService.Text.Templates.Values;

namespace InferenceService.Text.Templates.Builtins;

/// <summary>Filters that apply a filter, test or attribute to every item. They work item by item, as they are asked.</summary>
internal static class SelectFilters
{
    public static Value Attribute(Interpreter interpreter, Value input, Arguments arguments)
    {
        StringValue name = StringMethods.Text(arguments.Bind("attr", 1, "name")[0]!, "attr name");
        if (input is UndefinedValue undefined)
            throw undefined.Error();
        return Access.PythonAttribute(input, name.Text)
            ?? new UndefinedValue($"'{input.TypeName} object' has no attribute {PythonText.Quote(name.Text)}");
    }

    public static Value Map(Interpreter interpreter, Value input, Arguments arguments)
    {
        return new IteratorValue(Mapped());

        IEnumerator<Value> Mapped()
        {
            if (!input.IsTrue)
                yield break;
            Func<Value, Value> function = MapFunction(interpreter, arguments);
            IEnumerator<Value> items = Iteration.Iterate(input, interpreter.Budget);
            while (items.MoveNext())
                yield return function(items.Current);
        }
    }

    /// <param name="keep">Keep the items that pass, or those that do not.</param>
    /// <param name="byAttribute">Ask an attribute of the item, or the item itself.</param>
    public static Value Select(Interpreter interpreter, Value input, Arguments arguments, bool keep, bool byAttribute)
    {
        return new IteratorValue(Selected());

        IEnumerator<Value> Selected()
        {
            if (!input.IsTrue)
                yield break;
            Func<Value, bool> test = SelectTest(interpreter, arguments, byAttribute);
            IEnumerator<Value> items = Iteration.Iterate(input, interpreter.Budget);
            while (items.MoveNext())
            {
                if (test(items.Current) == keep)
                    yield return items.Current;
            }
        }
    }

    private static Func<Value, Value> MapFunction(Interpreter interpreter, Arguments arguments)
    {
        if (arguments.Positional.Length == 0)
        {
            Value attribute = arguments.Find("attribute") ?? throw new TemplateException("map requires a filter argument");
            Value?[] bound = arguments.Bind("map", 1, "attribute", "default");
            AttributePath path = new(attribute, fallback: bound[1]);
            return item => path.Read(item, interpreter.Budget);
        }
        string name = arguments.Positional[0] is StringValue text ? text.Text : Repr.ToText(arguments.Positional[0], interpreter.Budget);
        Filter filter = FilterTable.Find(name) ?? throw new TemplateException(FilterTable.Unknown(name));
        Arguments rest = new(arguments.Positional[1..], arguments.Named);
        return item => filter(interpreter, item, rest);
    }

    private static Func<Value, bool> SelectTest(Interpreter interpreter, Arguments arguments, bool byAttribute)
    {
        if (byAttribute && arguments.Positional.Length == 0)
            throw new TemplateException("Missing parameter for attribute name");
        AttributePath? path = byAttribute ? new AttributePath(arguments.Positional[0]) : null;
        int name = byAttribute ? 1 : 0;
        if (arguments.Positional.Length <= name)
            return item => Of(item).IsTrue;
        string testName = arguments.Positional[name] is StringValue text ? text.Text : Repr.ToText(arguments.Positional[name], interpreter.Budget);
        Test test = TestTable.Find(testName) ?? throw new TemplateException(TestTable.Unknown(testName));
        Arguments rest = new(arguments.Positional[(name + 1)..], arguments.Named);
        return item => test(interpreter, Of(item), rest);

        Value Of(Value item) => path is null ? item : path.Read(item, interpreter.Budget);
    }
}
