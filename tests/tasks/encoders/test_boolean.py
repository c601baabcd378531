"""Booleans as 0 and 1."""


def test_true_is_1_and_false_is_0(column):
    flags = column("boolean")
    encoder = flags.fitted([True, False])
    assert encoder.outputs == ("x",)
    assert encoder.transform(flags.array([True, False])).tolist() == [[1], [0]]


def test_missing_is_0_and_marked(column):
    flags = column("boolean")
    encoder = flags.fitted([True, None])
    assert encoder.outputs == ("x", "x=missing")
    assert encoder.transform(flags.array([None, False, True])).tolist() == [[0, 1], [0, 0], [1, 0]]


def test_missing_that_training_did_not_have_is_0(column):
    flags = column("boolean")
    assert flags.fitted([True]).transform(flags.array([None])).tolist() == [[0]]


def test_slice_is_encoded_as_its_rows_are(column):
    flags = column("boolean")
    values = flags.array([True, None, False, True, True, False, None, False, True, False])
    encoder = flags.fitted([True, False, None])
    assert encoder.transform(values.slice(3, 6)).tolist() == encoder.transform(values)[3:9].tolist()
