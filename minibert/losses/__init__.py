"""What training minimises. Each loss has its backward directly below, and a source."""

from minibert.losses.contrastive import diagonal_cross_entropy as diagonal_cross_entropy
from minibert.losses.contrastive import diagonal_cross_entropy_backward as diagonal_cross_entropy_backward
from minibert.losses.contrastive import in_batch_cross_entropy as in_batch_cross_entropy
from minibert.losses.contrastive import in_batch_cross_entropy_backward as in_batch_cross_entropy_backward
from minibert.losses.contrastive import in_batch_margin_contrastive as in_batch_margin_contrastive
from minibert.losses.contrastive import in_batch_margin_contrastive_backward as in_batch_margin_contrastive_backward
from minibert.losses.contrastive import margin_contrastive as margin_contrastive
from minibert.losses.contrastive import margin_contrastive_backward as margin_contrastive_backward
from minibert.losses.distillation import kl_distillation as kl_distillation
from minibert.losses.distillation import kl_distillation_backward as kl_distillation_backward
from minibert.losses.distillation import margin_mse as margin_mse
from minibert.losses.distillation import margin_mse_backward as margin_mse_backward
from minibert.losses.matryoshka import matryoshka as matryoshka
from minibert.losses.matryoshka import matryoshka_backward as matryoshka_backward
from minibert.losses.pairs import cosent as cosent
from minibert.losses.pairs import cosent_backward as cosent_backward
from minibert.losses.pairs import cosine_mse as cosine_mse
from minibert.losses.pairs import cosine_mse_backward as cosine_mse_backward
from minibert.losses.pairs import softmax_nli as softmax_nli
from minibert.losses.pairs import softmax_nli_backward as softmax_nli_backward
from minibert.losses.pairs import triplet as triplet
from minibert.losses.pairs import triplet_backward as triplet_backward
