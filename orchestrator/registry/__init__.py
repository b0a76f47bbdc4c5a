"""The HTTP interface of a registry: login, manifests with their raw bytes, blobs, deadlines and limits.

One `client.Registry` talks to one repository. Depends on `engine` (how a check is told), `reference`,
`process` and `errors`; does not depend on what the layers of an image hold.
"""
