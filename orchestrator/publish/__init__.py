"""Indexes and tags: what was built is checked, staged by digest everywhere, recorded, and only then named by tags.

Registries have no transactions and no conditional write (measured: `If-Match` with a wrong digest is answered with
201), so all or nothing is made of an order: `check`, `stage`, `record`, `moves` in ranks, and a way back. Depends on
`runs` (content keys, journal), `image` (verification) and `registry`; does not depend on how anything is shown.
"""
