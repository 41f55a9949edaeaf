// Each backend under test spins on its own threads; several at once would only take the cores from each other.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
