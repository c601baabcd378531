"""Networks: plain functional Keras models, built from the spec and the encoder's slots. Imports TensorFlow."""
