"""Converters from the folded or quantized network to TFLite and Core ML files."""
