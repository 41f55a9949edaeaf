"""Training of the embedded storyteller: data, tokenizer, model, training, export, goldens."""
