"""The RFC 6962 tree, its proofs, and the tiles that it is served as."""
