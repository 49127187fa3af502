"""Registration of pairs of radiographs by gradient descent on the pair at hand; nothing is trained."""
