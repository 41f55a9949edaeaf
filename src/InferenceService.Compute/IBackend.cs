namespace InferenceService.Compute;

/// <summary>The arithmetic of a decoder on one device. Inputs first, output last.</summary>
/// <remarks>
/// Operations allocate nothing, run in the order of the calls, and take no decision that depends on tensor contents, so that a
/// decode step can be recorded once and replayed. Only <see cref="Download"/>, <see cref="Read"/> and a <see cref="Readback"/> wait. One thread at a time.
/// Activations are f32 on the CPU. A row's result never depends on which other rows are in the call: the CPU backend is
/// bit-identical for any batch.
/// All operations throw <see cref="ShapeException"/> when shapes or types do not fit.
/// </remarks>
public interface IBackend : IDisposable
{
    /// <summary>Name for logs and metrics: "cpu", "cuda".</summary>
    string Name { get; }

    /// <summary>The calling thread will call the verbs from now on; what a backend wants of it, it does here.</summary>
    void BeginThread()
    {
    }

    /// <summary>Zeroed memory that lives until the backend is disposed.</summary>
    Tensor Allocate(DType type, int rows, int columns);

    /// <summary>
    /// Zeroed memory for what goes into products with weights of a format and nowhere else: f32, or the form to which such a product rounds x anyway.
    /// <see cref="RmsNorm"/>, <see cref="AddRmsNorm"/> (one run a row) and <see cref="SiluMultiply"/> may write it, <see cref="MatMul(Tensor, in Weight, Tensor)"/>
    /// reads it, and the product has the bits that it has of the same x in f32.
    /// </summary>
    /// <param name="format">Of the weights; int8 and int4 take each other's.</param>
    Tensor AllocateOperand(WeightFormat format, int rows, int columns) => Allocate(DType.F32, rows, columns);

    /// <summary>Makes a host tensor (mapped file or host memory) readable by the other verbs: itself on the CPU, a copy on a device.</summary>
    Tensor Place(Tensor host);

    /// <summary>True when matrices of so many columns can be held in the format here; <see cref="WeightFormat.Stored"/> always can.</summary>
    bool Supports(WeightFormat format, int columns) => format == WeightFormat.Stored;

    /// <summary>
    /// Names the order of packed bytes where it is the same in every process: then bytes of a packed weight may be downloaded, kept in a
    /// file and uploaded into another weight of the same shape. Null = packed bytes are good for this process alone.
    /// </summary>
    string? PackedLayout => null;

    /// <summary>Memory for a packed matrix, all rows zero, that lives until the backend is disposed.</summary>
    /// <exception cref="ShapeException">The format is <see cref="WeightFormat.Stored"/> or is not supported for so many columns.</exception>
    Weight AllocateWeight(WeightFormat format, int rows, int columns) =>
        throw new ShapeException($"Backend {Name} holds no {format} weights.");

    /// <summary>Packs the rows of a host matrix into rows [<paramref name="firstRow"/>, firstRow + host.Rows) of a packed weight.</summary>
    /// <remarks>
    /// A row's packed bits depend on that row alone, so the parts of a stacked matrix (q/k/v, gate/up) may come in any order and
    /// division. A NaN or infinity makes its run (its group in <see cref="WeightFormat.Int4"/>) NaN.
    /// </remarks>
    /// <param name="host">[rows, columns], f32, f16 or bf16; host memory or a mapped file.</param>
    /// <param name="target">A packed weight with as many columns, made by <see cref="AllocateWeight"/>.</param>
    /// <returns>What rounding lost.</returns>
    WeightError Pack(Tensor host, in Weight target, int firstRow) =>
        throw new ShapeException($"Backend {Name} holds no {target.Format} weights.");

    /// <summary>Copies to the device; <paramref name="host"/> may be reused on return. Shorter data fills the first bytes of a dense tensor.</summary>
    void Upload(ReadOnlySpan<byte> host, Tensor device);

    /// <summary>Waits for all operations, then copies to the host.</summary>
    void Download(Tensor device, Span<byte> host);

    /// <summary>Host and device share memory, so that <see cref="Read"/> needs no staging.</summary>
    bool ReadsInPlace => false;

    /// <summary>Waits, then returns the contents of a dense tensor: the memory itself where host and device share it, else <paramref name="staging"/>.</summary>
    ReadOnlySpan<byte> Read(Tensor device, Span<byte> staging)
    {
        Download(device, staging);
        return staging[..checked((int)device.ByteLength)];
    }

    /// <summary>Room for copies of up to so many bytes to the host that are waited for later; lives until the backend is disposed.</summary>
    Readback AllocateReadback(int bytes) => new WaitingReadback(this, bytes);

    /// <summary>output[i] = table[ids[i]], widened. Also gathers rows of activations.</summary>
    /// <param name="table">[entries, n], f32, f16 or bf16.</param>
    /// <param name="ids">i32 [1, rows]; every id lies inside the table (checked by the caller).</param>
    /// <param name="output">[rows, n].</param>
    void Embed(Tensor table, Tensor ids, Tensor output);

    /// <summary>Root-mean-square norm (arXiv:1910.07467) of every run of <c>weight.Columns</c> columns.</summary>
    /// <param name="x">[rows, k·n]; k = 1 for a layer norm, k = heads for a per-head norm.</param>
    /// <param name="weight">[1, n].</param>
    /// <param name="output">[rows, k·n]; may be <paramref name="x"/>.</param>
    void RmsNorm(Tensor x, Tensor weight, float epsilon, Tensor output);

    /// <summary>residual += x; output = RmsNorm(residual).</summary>
    void AddRmsNorm(Tensor x, Tensor residual, Tensor weight, float epsilon, Tensor output)
    {
        Add(x, residual);
        RmsNorm(residual, weight, epsilon, output);
    }

    /// <summary>output = x · weightᵀ.</summary>
    /// <param name="x">[rows, in] f32.</param>
    /// <param name="weight">[out, in], f32, f16 or bf16 as stored; widened in registers, accumulated in f32.</param>
    /// <param name="output">[rows, out] f32; must not overlap <paramref name="x"/>.</param>
    void MatMul(Tensor x, Tensor weight, Tensor output);

    /// <summary>output = x · weightᵀ for a weight in any format; a stored one gives exactly the bits of the verb above.</summary>
    /// <remarks>A packed weight also rounds x: see <see cref="WeightFormat"/>. A NaN or infinity in a row of x leaves no finite number in that row of the output.</remarks>
    /// <param name="x">[rows, in] f32.</param>
    /// <param name="weight">[out, in].</param>
    /// <param name="output">[rows, out] f32; must not overlap <paramref name="x"/>.</param>
    void MatMul(Tensor x, in Weight weight, Tensor output)
    {
        VerbShapes.MatMul(x, weight, output);
        if (weight.Format != WeightFormat.Stored)
            throw new ShapeException($"Backend {Name} multiplies no {weight.Format} weights.");
        MatMul(x, weight.Memory, output);
    }

    /// <summary>x[r] += bias for every row.</summary>
    /// <param name="bias">[1, n], f32, f16 or bf16.</param>
    void AddBias(Tensor x, Tensor bias);

    /// <summary>Rotates the first <c>cosSin.Columns</c> elements of every head in place; pairs are (i, i + half), as Hugging Face stores weights (arXiv:2104.09864).</summary>
    /// <param name="x">[rows, heads·headDim].</param>
    /// <param name="cosSin">f32 [rows, rotaryDim]: first half cosines, second half sines, any attention factor already in them.</param>
    /// <param name="headDim">Elements a head; rotaryDim ≤ headDim.</param>
    void Rope(Tensor x, Tensor cosSin, int headDim);

    /// <summary>output = gate · σ(gate) · up (arXiv:2002.05202). Output may be either input.</summary>
    void SiluMultiply(Tensor gate, Tensor up, Tensor output);

    /// <summary>residual += x.</summary>
    void Add(Tensor x, Tensor residual);

    /// <summary>Writes K and V of this step's rows into their slots (length + row) of every lane of the layer.</summary>
    /// <param name="k">[rows, kvHeads·headDim], rotated; read only.</param>
    /// <param name="v">Same shape.</param>
    void WriteKv(Tensor k, Tensor v, in PagedKv cache);

    /// <summary>Rotates queries and keys in place, then writes K and V: <see cref="Rope"/> of both and <see cref="WriteKv"/>.</summary>
    /// <param name="q">[rows, heads·headDim].</param>
    /// <param name="k">[rows, kvHeads·headDim].</param>
    /// <param name="v">Same shape.</param>
    /// <param name="cosSin">f32 [rows, rotaryDim].</param>
    void RopeWriteKv(Tensor q, Tensor k, Tensor v, Tensor cosSin, in PagedKv cache)
    {
        VerbShapes.RopeWriteKv(q, k, v, cosSin, cache);
        Rope(q, cosSin, cache.Batch.Format.HeadDim);
        Rope(k, cosSin, cache.Batch.Format.HeadDim);
        WriteKv(k, v, cache);
    }

    /// <summary>Softmax attention of every row over the slots it sees; a row that sees none gives zeros, never NaN.</summary>
    /// <param name="q">[rows, heads·headDim], rotated; heads is a multiple of the layer's KV heads.</param>
    /// <param name="probe">Sums to accumulate on the way.</param>
    /// <param name="output">[rows, heads·headDim].</param>
    void Attention(Tensor q, in PagedKv cache, in AttentionProbe probe, Tensor output);

    /// <summary><see cref="Choose"/> is there, so that logits need not come to the host.</summary>
    bool ChoosesTokens => false;

    /// <summary>Chooses the next token of some rows of logits, each by its order.</summary>
    /// <remarks>Equal logits give equal tokens on every backend and in every batch, but where two sums of score and noise agree to 2^-45.</remarks>
    /// <param name="logits">f32 [rows, vocabulary]; the rows that are chosen from are changed.</param>
    /// <param name="orders">u8 [orders, 64], each a <see cref="TokenOrder"/>.</param>
    /// <param name="changes">i32 [changes, 3], each a <see cref="LogitChange"/>.</param>
    /// <param name="tokens">i32 [orders, 1]: ids, or one of <see cref="TokenOrder"/>'s words for none.</param>
    /// <param name="next">i32 [1, rows]: the ids once more, each where its order says, 0 instead of a word for none; what no order names is unchanged.</param>
    void Choose(Tensor logits, Tensor orders, Tensor changes, Tensor tokens, Tensor next) => throw new ShapeException($"Backend {Name} chooses no tokens.");

    /// <summary>Copies slots (all lanes of the block) inside the pool, in order.</summary>
    /// <param name="pool">u8 [blocks, blockBytes].</param>
    void MoveSlots(ReadOnlySpan<SlotMove> moves, Tensor pool, KvBlockFormat format);

    /// <summary>Quantises full blocks into packed children (<see cref="KvBlockFormat"/>), whose codes depend on the block's content alone.</summary>
    /// <remarks>
    /// A group whose elements are all equal gets code 0 and the smallest scale. The error of an element is at most half a scale, plus what
    /// rounding scale and min to binary16 costs. A NaN or infinity makes its group meaningless: pack no block with a slot that holds nothing.
    /// </remarks>
    /// <param name="packs">Blocks and children, in any order.</param>
    /// <param name="pool">u8 [blocks, blockBytes].</param>
    void PackBlocks(ReadOnlySpan<BlockPack> packs, Tensor pool, KvBlockFormat format);

    /// <summary>Operations can be recorded here, and repeating them costs less than calling them.</summary>
    bool CanRecord => false;

    /// <summary>Records the operations that <paramref name="step"/> calls, without running them.</summary>
    /// <remarks>
    /// The step has been taken once with the same shapes. The recording holds the addresses of its tensors: what changes from time to time
    /// (ids, lengths, tables) is uploaded into them between replays. <see cref="KvBatch.MaxRows"/> is recorded as it is.
    /// </remarks>
    /// <exception cref="InvalidOperationException">The step copies between host and device, or wants memory that is not there yet.</exception>
    RecordedStep Record(Action step) => throw new InvalidOperationException($"Backend {Name} records nothing.");
}
