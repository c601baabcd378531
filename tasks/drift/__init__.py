"""Whether data is still what a model was trained on: marginals of columns, and tests that compare two of them."""
