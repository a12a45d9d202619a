"""The parts of fold-bn: the layers in front of a BatchNormalization and behind it."""
