"""What a user loads and calls; each file says in its first lines how it differs from the others.

The history of sentence embeddings as small differences, in the order of reading:

    bert               words in context, learned from text alone                                       2018
    use                one vector a sentence, from several tasks at once, without BERT                 2018
    sbert              BERT in that place: one network reads both sentences                            2019
    dual_encoder, dpr  two networks, for what asks and what answers; negatives from BM25               2020
    colbert            a vector for every token, compared one by one                                   2020
    sentence_t5        T5's encoder; first much and noisy, then little and clean                       2021
    e5                 a prefix for each side; pairs nobody labelled, then a cross-encoder's scores    2022
    dragon             no labels: several retrievers teach, the simple ones first                      2023
"""
