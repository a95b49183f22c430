"""The HTTP face of the daemon: who calls, what they may ask, and the answers. It judges nothing by itself."""
