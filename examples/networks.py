"""Networks of one's own, as a spec names them: `network: {kind: custom, builder: examples.networks:cnn, filters: 16}`.

A builder gets the inputs by name and returns features; the output layer of the problem comes after it.
"""

from collections.abc import Mapping

import keras
import numpy as np
from keras import KerasTensor, layers


def cnn(inputs: Mapping[str, KerasTensor], column: str = "image", filters: int = 16) -> KerasTensor:
    """Return features of images, a tensor column of shape [height, width] or [height, width, channels]."""
    image = inputs[column]
    if len(image.shape) == 3:
        image = layers.Reshape((*image.shape[1:], 1))(image)
    for index in (1, 2):
        image = layers.Conv2D(filters * index, 3, padding="same", activation="relu", name=f"convolution_{index}")(image)
        image = layers.MaxPooling2D(name=f"pooling_{index}")(image)
    return layers.Dropout(0.2)(layers.Flatten()(image))


def recurrent(
    inputs: Mapping[str, KerasTensor], column: str = "sequence", units: int = 16, cell: str = "gru"
) -> KerasTensor:
    """Return features of sequences, a tensor column of shape [steps] or [steps, values]; the cell is gru or lstm."""
    sequence = inputs[column]
    if len(sequence.shape) == 2:
        sequence = layers.Reshape((*sequence.shape[1:], 1))(sequence)
    return {"gru": layers.GRU, "lstm": layers.LSTM}[cell](units, name=cell)(sequence)


def autoencoder(
    inputs: Mapping[str, KerasTensor], rows: Mapping[str, np.ndarray], code: int = 8, epochs: int = 10
) -> KerasTensor:
    """Return the code of plain numbers, learned beforehand by telling the rows themselves from it, labels unseen."""
    numbers = inputs["numbers"]
    hidden = layers.Dense(2 * code, activation="relu", name="encoder_1")(numbers)
    encoded = layers.Dense(code, activation="relu", name="encoder_2")(hidden)
    decoded = layers.Dense(2 * code, activation="relu", name="decoder_1")(encoded)
    decoded = layers.Dense(numbers.shape[-1], name="decoder_2")(decoded)
    network = keras.Model(numbers, decoded)
    network.compile(optimizer="adam", loss="mean_squared_error")
    network.fit(rows["numbers"], rows["numbers"], batch_size=64, epochs=epochs, verbose=0)
    return encoded
