"""Export a results store to other tools: CSV files, TensorBoard, MLflow, Weights & Biases.

Each module has one function that takes the `Trial` records of a study. To export again replaces what changed and
repeats nothing: a trial is known by its key, its content by a hash.
"""
