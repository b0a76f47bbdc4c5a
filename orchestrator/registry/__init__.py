"""The registry's HTTP interface: login, manifests with their raw bytes, blobs, deadlines and limits."""
