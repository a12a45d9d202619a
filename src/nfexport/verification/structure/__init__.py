"""Whether the graph of a file is the one that its recipe gives: a proof, where numbers on images are samples."""
