"""Encoders: raw typed columns to what a network reads.

Each kind of column has one module with two classes. The fitter sees the training rows once, batch by batch; what it
returns is the fitted encoder, a frozen document that is written to encoder.json and transforms rows of any split.
`tasks.encoders.table` puts the columns together.
"""
