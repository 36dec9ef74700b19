"""Operations on rows: `y, cache = op(x, …)`, and directly below it `dx, … = op_backward(dy, cache)`.

The cache holds what the backward pass needs and nothing else; it is returned, never stored, so the same forward may be
called twice (a Siamese network) and the gradients of both calls add up. Every op works in float32 and in float64.
"""

from minibert.ops.activations import gelu as gelu
from minibert.ops.activations import gelu_backward as gelu_backward
from minibert.ops.activations import gelu_tanh as gelu_tanh
from minibert.ops.activations import gelu_tanh_backward as gelu_tanh_backward
from minibert.ops.activations import relu as relu
from minibert.ops.activations import relu_backward as relu_backward
from minibert.ops.activations import tanh as tanh
from minibert.ops.activations import tanh_backward as tanh_backward
from minibert.ops.attention import attention as attention
from minibert.ops.attention import attention_backward as attention_backward
from minibert.ops.binary_cross_entropy import binary_cross_entropy as binary_cross_entropy
from minibert.ops.binary_cross_entropy import binary_cross_entropy_backward as binary_cross_entropy_backward
from minibert.ops.binary_cross_entropy import sigmoid as sigmoid
from minibert.ops.cross_attention import cross_attention as cross_attention
from minibert.ops.cross_attention import cross_attention_backward as cross_attention_backward
from minibert.ops.cross_entropy import cross_entropy as cross_entropy
from minibert.ops.cross_entropy import cross_entropy_backward as cross_entropy_backward
from minibert.ops.dropout import dropout as dropout
from minibert.ops.dropout import dropout_backward as dropout_backward
from minibert.ops.embedding import embedding as embedding
from minibert.ops.embedding import embedding_backward as embedding_backward
from minibert.ops.l2_norm import l2_normalize as l2_normalize
from minibert.ops.l2_norm import l2_normalize_backward as l2_normalize_backward
from minibert.ops.layer_norm import layer_norm as layer_norm
from minibert.ops.layer_norm import layer_norm_backward as layer_norm_backward
from minibert.ops.linear import linear as linear
from minibert.ops.linear import linear_backward as linear_backward
from minibert.ops.max_sim import max_sim as max_sim
from minibert.ops.max_sim import max_sim_backward as max_sim_backward
from minibert.ops.pooling import cls_pooling as cls_pooling
from minibert.ops.pooling import cls_pooling_backward as cls_pooling_backward
from minibert.ops.pooling import last_pooling as last_pooling
from minibert.ops.pooling import last_pooling_backward as last_pooling_backward
from minibert.ops.pooling import max_pooling as max_pooling
from minibert.ops.pooling import max_pooling_backward as max_pooling_backward
from minibert.ops.pooling import mean_pooling as mean_pooling
from minibert.ops.pooling import mean_pooling_backward as mean_pooling_backward
from minibert.ops.pooling import sqrt_mean_pooling as sqrt_mean_pooling
from minibert.ops.pooling import sqrt_mean_pooling_backward as sqrt_mean_pooling_backward
from minibert.ops.pooling import weighted_mean_pooling as weighted_mean_pooling
from minibert.ops.pooling import weighted_mean_pooling_backward as weighted_mean_pooling_backward
from minibert.ops.positions import sinusoids as sinusoids
from minibert.ops.projected_cross_entropy import projected_cross_entropy as projected_cross_entropy
from minibert.ops.projected_cross_entropy import projected_cross_entropy_backward as projected_cross_entropy_backward
from minibert.ops.relative_bias import relative_bias as relative_bias
from minibert.ops.relative_bias import relative_bias_backward as relative_bias_backward
from minibert.ops.rms_norm import rms_norm as rms_norm
from minibert.ops.rms_norm import rms_norm_backward as rms_norm_backward
from minibert.ops.similarity import row_cosines as row_cosines
from minibert.ops.similarity import row_cosines_backward as row_cosines_backward
from minibert.ops.similarity import similarity as similarity
from minibert.ops.similarity import similarity_backward as similarity_backward
from minibert.ops.softmax import softmax as softmax
from minibert.ops.softmax import softmax_backward as softmax_backward
from minibert.ops.span_cross_entropy import span_cross_entropy as span_cross_entropy
from minibert.ops.span_cross_entropy import span_cross_entropy_backward as span_cross_entropy_backward
