"""Note, while a training goes on, what its weights, batches and generators are."""
