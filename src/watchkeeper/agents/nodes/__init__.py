"""The nodes of the graph, one module a phase. Each reads recorded steps, takes its own once, and names the next."""
