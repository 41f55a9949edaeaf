// The stand-in driver, like a real one, knows one context; injected errors must meet the test that asked for them.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
