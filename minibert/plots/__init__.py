"""What a model sees and how it learned, as pictures: a file for each kind.

matplotlib draws them, the extra `plot`; nothing else of this package needs it. No window is opened and no global state
is touched: each function gives a Figure, and the same numbers give the same bytes.
"""

from minibert.plots.attention import attention_map as attention_map
from minibert.plots.curve import read_records as read_records
from minibert.plots.curve import training_curve as training_curve
from minibert.plots.figure import FORMATS as FORMATS
from minibert.plots.figure import save as save
from minibert.plots.hnsw import hnsw_walks as hnsw_walks
from minibert.plots.merges import merge_rows as merge_rows
from minibert.plots.merges import merges as merges
from minibert.plots.projection import principal_plane as principal_plane
from minibert.plots.projection import projection as projection
from minibert.plots.similarity import similarity_map as similarity_map
from minibert.plots.stages import stage_ranks as stage_ranks
