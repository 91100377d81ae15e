"""The language, on which everything else stands: expressions, tensors, definitions, and integer reasoning about
indices.
"""
