"""The counterparts of the adapters of gateways and AI systems.

Real: Phoenix, Envoy, Portkey's open-source gateway, the LangGraph server and Chroma (`install.py` builds them once per
machine). Our own fakes, after the documents that each names: Langfuse, LangSmith, Cloudflare's AI Gateway, Portkey's
control plane, Qdrant. Each has a judge: `fields`, `write`, `effects`.
"""
