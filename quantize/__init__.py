"""INT8 quantization of SPAN: recipes, calibration, post-training and quantization-aware methods."""
