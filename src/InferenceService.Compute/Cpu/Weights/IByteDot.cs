namespace InferenceService.Compute.Cpu.Weights;

/// <summary>The vector operations of the compiled tile kernels; one implementation an instruction set, all with the same results.</summary>
/// <typeparam name="I">Vector of 32-bit words.</typeparam>
/// <typeparam name="F">Vector of as many floats.</typeparam>
internal unsafe interface IByteDot<I, F> where I : struct where F : struct
{
    /// <summary>Words in a vector.</summary>
    static abstract int Lanes { get; }

    static abstract I Load(byte* source);

    static abstract I Broadcast(int word);

    /// <summary>Adds to every lane the sum of its four products of unsigned weights with signed bytes of x; exact.</summary>
    static abstract I Dot(I sum, I weights, I x);

    /// <summary>The same for weights of at most 15.</summary>
    static abstract I DotNibbles(I sum, I weights, I x);

    static abstract I LowNibbles(I bytes);

    static abstract I HighNibbles(I bytes);

    static abstract F ToFloat(I value);

    static abstract F Splat(float value);

    static abstract F LoadFloats(float* source);

    /// <summary>Widens binary16: exact.</summary>
    static abstract F LoadHalves(ushort* source);

    static abstract F Multiply(F a, F b);

    /// <summary>a · b + c, rounded once.</summary>
    static abstract F MultiplyAdd(F a, F b, F c);

    static abstract void Store(float* target, F value);

    /// <summary>The low bfloat16 of every word, widened.</summary>
    static abstract F Low(I pairs);

    /// <summary>The high bfloat16 of every word, widened.</summary>
    static abstract F High(I pairs);
}
