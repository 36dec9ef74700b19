"""trec_eval's own code, through pytrec_eval."""

import pytrec_eval


def evaluate(judgements, run, cuts):
    """{query: {measure: value}} of the queries that are judged and in the run."""
    names = {f"{name}.{','.join(map(str, cuts))}" for name in ("P", "recall", "map_cut", "ndcg_cut")}
    return pytrec_eval.RelevanceEvaluator(judgements, names | {"recip_rank"}).evaluate(run)
