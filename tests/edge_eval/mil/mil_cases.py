"""The table of cases."""

import mil_cases_elementwise
import mil_cases_indexing
import mil_cases_layers
import mil_cases_layout
import mil_cases_quantized
import mil_cases_resizing
from mil_case import Case

CASES: tuple[Case, ...] = (
    *mil_cases_elementwise.CASES,
    *mil_cases_layers.CASES,
    *mil_cases_layout.CASES,
    *mil_cases_indexing.CASES,
    *mil_cases_resizing.CASES,
    *mil_cases_quantized.CASES,
)
