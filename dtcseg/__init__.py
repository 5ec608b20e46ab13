"""dtcseg: disseminated tumour cells in bone marrow cytospins, counted. Research use only."""

__version__ = "0.1.0"
