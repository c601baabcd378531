"""Training: losses and optimisers by name, weights, and the epoch loop. Imports TensorFlow."""
