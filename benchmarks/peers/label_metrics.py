"""scikit-learn, scipy and seqeval, in the peers' interpreter."""

import warnings

import scipy.stats
import sklearn.metrics
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

warnings.filterwarnings("ignore")  # of entities that never occur


def labels(predicted, expected):
    """Accuracy, F1 in two averages, Matthews' correlation."""
    f1 = {average: sklearn.metrics.f1_score(expected, predicted, average=average) for average in ("macro", "micro")}
    both = expected, predicted
    return {
        "accuracy": sklearn.metrics.accuracy_score(*both),
        "matthews": sklearn.metrics.matthews_corrcoef(*both),
        **f1,
    }


def entity_scores(predicted, expected, strict):
    """seqeval's precision, recall and F1."""
    options = {"mode": "strict", "scheme": IOB2} if strict else {}
    measures = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
    return {name: float(m(expected, predicted, zero_division=0, **options)) for name, m in measures.items()}


def correlations(a, b):
    """Pearson's and Spearman's."""
    return [float(scipy.stats.pearsonr(a, b)[0]), float(scipy.stats.spearmanr(a, b)[0])]
